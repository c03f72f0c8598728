// Recorded histories follow today's workflow code: completed migrations, and such that failed, were compensated and aborted; with and without capture.
import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { beforeAll, describe, expect, test } from 'vitest';
import { workflowBundle } from '../../workers/bundle.ts';

const here = fileURLToPath(new URL('./', import.meta.url));
let bundle: string;
beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  bundle = await workflowBundle(await mkdtemp(join(tmpdir(), 'causeway-bundle-')));
}, 120_000);

interface Recorded {
  readonly events: {
    readonly eventType?: string;
    readonly workflowExecutionStartedEventAttributes?: { readonly workflowId?: string };
    readonly workflowTaskStartedEventAttributes?: object;
    activityTaskScheduledEventAttributes?: { activityType?: { name?: string } };
  }[];
}

const read = async (situation: string, file: string) =>
  JSON.parse(await readFile(join(here, situation, file), 'utf8')) as Recorded;

describe.each(['completed', 'compensated', 'live', 'live-undone', 'gated', 'gated-undone', 'proven', 'steady'])(
  '%s',
  async (situation) => {
    const files = (await readdir(join(here, situation))).sort();

    test('the whole tree was recorded', () => {
      expect(files).toContain('root.json');
      expect(files.filter((file) => file.startsWith('copy.')).length).toBeGreaterThan(2);
      if (/^(live|gated|proven|steady)/.test(situation)) expect(files).toContain('capture.json');
      if (situation === 'gated') expect(files).toEqual(expect.arrayContaining(['reverse.json', 'rollback.json']));
      if (situation === 'proven')
        expect(files).toEqual(
          expect.arrayContaining([
            'decommission.json',
            'quarantine.retry.json',
            'restore.json',
            'snapshot.first.json',
            'verify.json',
          ]),
        );
      // The first history of the stage, and those it went on in.
      if (situation === 'steady')
        expect(files.filter((file) => file.startsWith('cutover.phase_1_reads')).length).toBeGreaterThan(2);
      expect(
        files.some((file) =>
          file.startsWith(
            ['completed', 'live', 'gated', 'proven', 'steady'].includes(situation) ? 'cutover.' : 'rollback',
          ),
        ),
      ).toBe(true);
    });

    test.each(files)('%s replays', async (file) => {
      const recorded = await read(situation, file);
      const workflowId = recorded.events[0]!.workflowExecutionStartedEventAttributes!.workflowId!;
      await Worker.runReplayHistory({ workflowBundle: { codePath: bundle } }, historyFromJSON(recorded), workflowId);
    });
  },
);

test('a stage from before stages began their histories anew does not, though Temporal had suggested it', async () => {
  const recorded = await read('gated', 'cutover.phase_1_reads.json');
  let suggested = 0;
  for (const { workflowTaskStartedEventAttributes: started } of recorded.events)
    if (started) suggested = Object.assign(started, { suggestContinueAsNew: true }) && suggested + 1;
  expect(suggested).toBeGreaterThan(3);
  const workflowId = recorded.events[0]!.workflowExecutionStartedEventAttributes!.workflowId!;
  await Worker.runReplayHistory({ workflowBundle: { codePath: bundle } }, historyFromJSON(recorded), workflowId);
});

test('a history that the code does not follow is noticed', async () => {
  const recorded = await read('completed', 'schema.json');
  const text = JSON.stringify(recorded).replaceAll('makePostgres', 'makeSomethingElse');
  const workflowId = recorded.events[0]!.workflowExecutionStartedEventAttributes!.workflowId!;
  await expect(
    Worker.runReplayHistory({ workflowBundle: { codePath: bundle } }, historyFromJSON(JSON.parse(text)), workflowId),
  ).rejects.toThrow();
});
