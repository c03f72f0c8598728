// Workers killed at every named point of the cutover, of the reverse sync and of the way back, under the writes of an application.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { cutoverKillPoints, type KillPoint } from '../../activities/kill-points.ts';
import { checkEqual } from '../support/checker.ts';
import { RoutedWriter } from '../support/routed-writer.ts';
import { World } from '../support/world.ts';
import { startWorker } from './chaos.ts';
import { seeds, size } from './options.ts';
import { randomFrom } from './random.ts';

const stages = [{ name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 3600 }];

let world: World;
let writer: RoutedWriter;

async function open(seed: number): Promise<void> {
  world = await World.open('back');
  await world.seed(1500, 0.02, undefined, seed);
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({
      stages,
      sampleSeconds: 2,
      quarantineBudget: 0.9,
      fenceMs: 4000,
      // What a killed worker leaves slow for a while is no reason to go back here.
      policy: { queryTime: { floorMs: 60_000 }, errorRate: { increase: 1 }, throughput: { minimumReads: 1_000_000 } },
      configurationDirectory: join(world.home, 'configuration'),
    }),
  );
  const worker = await startWorker(world);
  expect(
    (await world.causeway(['start', '--until', 'data', '--wait', '--config', join(world.home, 'settings.json')])).code,
  ).toBe(0);
  writer = await RoutedWriter.start(world, 40, randomFrom(seed));
  worker.kill('SIGKILL');
}
afterEach(async () => {
  await writer?.stop();
  await world?.close();
});

const modes = async () =>
  (
    await world.rows<{ write_mode: string }>('select distinct write_mode from migration_control.routing order by 1')
  ).map((row) => row.write_mode);
const until = (mode: string) =>
  vi.waitFor(async () => expect(await modes()).toEqual([mode]), { timeout: 90_000, interval: 100 });

/** What a way back must leave alone when there is nothing left to bring back. */
async function standing(): Promise<unknown> {
  const documents = new Map<string, string>();
  for (const { name } of await world.source.listCollections({}, { nameOnly: true }).toArray())
    for await (const raw of world.source.collection(name).find({}, { raw: true }) as unknown as AsyncIterable<Buffer>)
      documents.set(`${name} ${documents.size}`, raw.toString('base64'));
  const routes = await world.rows('select * from migration_control.routing order by 1');
  return { documents: [...documents].sort(), routes };
}

async function whereItStands(): Promise<string> {
  const { state, lastError } = await world.query();
  const audit = await world.rows(
    'select at, action, detail from migration_control.audit_log order by at desc limit 12',
  );
  const { events } = await world.temporal.workflow.getHandle(`migration/${world.name}`).fetchHistory();
  const history = events!.slice(-40).map((event) => {
    const [kind, attributes] = Object.entries(event).find(([key]) => key.endsWith('EventAttributes')) ?? ['', {}];
    const { seconds, nanos } = event.eventTime!;
    const named = JSON.stringify(attributes).match(/"(?:name|signalName|updateId|cause|timeoutType)":"?[^",}]*/g);
    return `${String(event.eventId)} ${String(seconds)}.${String(nanos).padStart(9, '0').slice(0, 3)} ${kind.replace('EventAttributes', '')} ${named?.join(' ') ?? ''}`;
  });
  return JSON.stringify({ state, lastError, audit, history }, null, 1);
}

/** A worker that dies at the point; returns when it has, and a whole one has been started in its place. */
async function dies(point: KillPoint, order?: readonly string[]): Promise<void> {
  const doomed = await startWorker(world, { CAUSEWAY_KILL_AT: point });
  const ended = once(doomed, 'exit') as Promise<[number | null, string | null]>;
  try {
    if (order) {
      const { code, stdout, stderr } = await world.causeway(order);
      expect(code, code === 0 ? '' : `${stdout}${stderr}${await whereItStands()}`).toBe(0);
    }
    const how = await Promise.race([
      ended.then(([, signal]) => signal),
      new Promise((resolve) => setTimeout(resolve, 240_000, 'not reached')),
    ]);
    expect([point, how], how === 'SIGKILL' ? '' : await whereItStands()).toEqual([point, 'SIGKILL']);
  } finally {
    doomed.kill('SIGKILL');
  }
}

const cycles: readonly { forward: KillPoint; meanwhile: KillPoint; back: KillPoint }[] = [
  { forward: 'switch.after-fence', meanwhile: 'reverse.after-read', back: 'back.after-fence' },
  { forward: 'switch.after-close', meanwhile: 'reverse.after-write', back: 'back.before-flip' },
  { forward: 'switch.before-flip', meanwhile: 'reverse.before-commit', back: 'back.after-flip' },
  { forward: 'switch.after-flip', meanwhile: 'reverse.after-write', back: 'rollback.before-validation' },
];

test('each point of the cutover is in a cycle', () => {
  expect(new Set(cycles.flatMap((cycle) => Object.values(cycle)))).toEqual(new Set(cutoverKillPoints));
});

const rounds = cycles.slice(0, size.cycles);

test.each(seeds)(
  'there and back, killed at every point: the old system has what the application wrote (seed %i)',
  { timeout: 900_000 },
  async (seed) => {
    await open(seed);
    for (const [n, { forward, meanwhile, back }] of rounds.entries()) {
      // `start` goes on to the cutover the first time, later on it is `retry` that begins it again.
      await dies(forward, n === 0 ? ['start', '--config', join(world.home, 'settings.json')] : ['retry']);
      const worker = await startWorker(world);
      await until('new_system');
      worker.kill('SIGKILL');
      await dies(meanwhile);
      await dies(back, ['rollback', '--to', 'old', '--reason', 'chaos']);
      const whole = await startWorker(world);
      await until('old');
      await world.until((status) => status.state === 'parked', 90_000);
      whole.kill('SIGKILL');
    }
    await writer.stop();
    process.stdout.write(
      `  ${writer.counts.old} writes to the old system, ${writer.counts.new} to the new, ${writer.counts.errors} errors (${[...writer.errors].map(([kind, n]) => `${n} ${kind}`).join(', ')}); longest wait ${Math.round(writer.longestWaitMs)} ms\n`,
    );
    const pauses = await world.rows<{ ms: number; steps: Record<string, number> }>(
      `select (detail ->> 'pauseMs')::int as ms, detail -> 'steps' as steps from migration_control.audit_log where action = 'writes moved' order by 1`,
    );
    const sorted = pauses.map((row) => row.ms);
    process.stdout.write(
      `  pauses of writes: p50 ${sorted[sorted.length >> 1]} ms, max ${sorted.at(-1)} ms (${JSON.stringify(pauses.at(-1)!.steps)}) of ${sorted.join(', ')}\n`,
    );
    expect(writer.counts.new).toBeGreaterThan(25 * rounds.length);
    const differences = await writer.differences(world.source);
    for (const one of differences) process.stdout.write(`  ${one}\n`);
    expect(differences).toEqual([]);
    const worker = await startWorker(world);
    const before = await standing();
    const again = await world.causeway(['rollback', '--to', 'old', '--reason', 'once more']);
    expect(again.code, again.stdout + again.stderr).toBe(0);
    await vi.waitFor(async () => expect((await world.query()).state).toBe('parked'), { timeout: 60_000 });
    expect(await standing()).toEqual(before);
    await vi.waitFor(async () => expect(await checkEqual(world.environment as never)).toEqual([]), {
      timeout: 60_000,
      interval: 1000,
    });
    worker.kill('SIGKILL');
  },
);
