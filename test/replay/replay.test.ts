// Recorded histories follow today's workflow code: every situation that record.ts has recorded, every workflow of its tree.
import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { beforeAll, expect, test } from 'vitest';
import { workflowBundle } from '../../workers/bundle.ts';

const histories = fileURLToPath(new URL('./histories/', import.meta.url));
let bundle: string;
beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  bundle = await workflowBundle(await mkdtemp(join(tmpdir(), 'causeway-bundle-')));
}, 120_000);

interface Recorded {
  readonly events: { readonly workflowExecutionStartedEventAttributes?: { readonly workflowId?: string } }[];
}

const read = async (path: string) => JSON.parse(await readFile(join(histories, path), 'utf8')) as Recorded;
const replay = (recorded: Recorded) =>
  Worker.runReplayHistory(
    { workflowBundle: { codePath: bundle } },
    historyFromJSON(recorded),
    recorded.events[0]!.workflowExecutionStartedEventAttributes!.workflowId!,
  );

const situations = (await readdir(histories).catch(() => [])).sort();
const filesOf = async (situation: string) =>
  (await readdir(join(histories, situation))).sort().map((file) => `${situation}/${file}`);
const files = (await Promise.all(situations.map(filesOf))).flat();
const named = (part: string) => files.filter((file) => file.includes(part));

test('a migration that completed, went back and one that was undone were recorded, each with its whole tree', () => {
  expect(situations, 'record them: node --import tsx test/replay/record.ts').toEqual(
    expect.arrayContaining(['completed', 'undone']),
  );
  for (const situation of ['completed', 'undone'])
    for (const place of ['root', 'preparation', 'schema', 'data', 'capture', 'rollback'])
      expect(files).toContain(`${situation}/${place}.json`);
  expect(named('completed/copy.').length).toBeGreaterThan(2);
  expect(named('completed/reverse')).not.toEqual([]);
  // The first history of the stage, and those it went on in.
  expect(named('completed/cutover.phase_1_reads').length).toBeGreaterThan(2);
});

if (files.length > 0) {
  test.each(files)('%s replays', async (file) => {
    await replay(await read(file));
  });

  test('a history that the code does not follow is noticed', async () => {
    const text = JSON.stringify(await read(named('/schema.json')[0]!)).replaceAll('makePostgres', 'makeSomethingElse');
    await expect(replay(JSON.parse(text) as Recorded)).rejects.toThrow();
  });
}
