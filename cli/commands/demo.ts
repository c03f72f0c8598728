// causeway demo: the whole migration on made-up data, from nothing to the last stage, with a report at the end.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Command } from 'commander';
import { MongoClient } from 'mongodb';
import { seedSource } from '../../seed/index.ts';
import { down, environment as stackEnvironment, reset, status as stackStatus, up } from '../../stack/index.ts';
import { checkout } from '../../stack/home.ts';
import { rootId, type MigrationInput } from '../../workflows/contract.ts';
import type { migration } from '../../workflows/migration.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { readSettings, type Settings } from '../../core/settings.ts';
import type { Status } from '../../core/state.ts';
import type { rollback } from '../../workflows/children/rollback.ts';
import { namedAfter } from '../attributes.ts';
import { home, withTemporal, type TemporalSession } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
import { follow } from '../follow.ts';
import { print } from '../output.ts';
import { finalReport } from '../report.ts';
import { withTraffic } from '../demo/traffic.ts';
import { makeReport } from './report.ts';

interface Options {
  readonly documents: string;
  readonly dirty: string;
  readonly seed: string;
  readonly soak: string;
  readonly rate: string;
  readonly keep?: boolean;
  readonly andBack?: boolean;
}

export const demo = (): Command =>
  new Command('demo')
    .description(
      'start the embedded stack, seed a source, migrate it through all four phases, report, and leave nothing running',
    )
    .option('--documents <n>', 'documents to seed', '20000')
    .option('--dirty <share>', 'share of dirty documents', '0.02')
    .option('--seed <n>', 'what the documents are derived from', '1')
    .option('--soak <seconds>', 'how long each cutover stage is watched', '2')
    .option('--rate <n>', 'writes per second of the old application, and as many operations of the new one', '40')
    .option('--and-back', 'at the end take reads and writes back to the old system, as an operator would in trouble')
    .option('--keep', 'leave stack and data as they are at the end, to look around')
    .action((options: Options) => run(options));

async function run(options: Options): Promise<void> {
  const [documents, dirty, seed, soak, rate] = [
    options.documents,
    options.dirty,
    options.seed,
    options.soak,
    options.rate,
  ].map(Number) as [number, number, number, number, number];
  if (
    !Number.isInteger(documents) ||
    documents < 100 ||
    !(dirty >= 0 && dirty <= 1) ||
    !Number.isInteger(seed) ||
    !(soak >= 0) ||
    !(rate > 0)
  ) {
    throw new UsageError(
      '--documents is a whole number from 100, --dirty a share from 0 to 1, --seed a whole number, --soak a number of seconds, --rate a number.',
    );
  }
  print('Causeway demo: MongoDB -> PostgreSQL, optimised MongoDB, Redis');
  const wasUp = (await stackStatus()).some((service) => service.state === 'running');
  print('1. The embedded stack');
  // What the last demo left is removed before the servers start, not after.
  if (!wasUp && existsSync(join(home(), 'demo-planted.jsonl'))) await reset();
  const servers = await up((message) => print(`  ${message}`));
  print(`  Temporal web UI: ${servers.TEMPORAL_UI_URL}`);
  const stopping = stopOnSignal(wasUp || options.keep === true);
  try {
    await clearEarlierDemo(servers.SOURCE_MONGODB_URL);
    print(`2. Seeding ${documents} documents, ${dirty * 100} % of them dirty`);
    const summary = await seedSource({
      url: (await stackEnvironment()).SOURCE_MONGODB_URL!,
      documents,
      dirty,
      seed,
      plantedFile: join(home(), 'demo-planted.jsonl'),
    });
    print(`  ${Object.keys(summary.collections).length} collections in ${summary.seconds.toFixed(1)} s`);
    print(
      `3. The migration, while the old application writes ${rate} times a second and the new one reads and writes as often`,
    );
    const worker = await startWorkerProcess();
    try {
      await withTraffic(rate, () => migrate(soak, options.andBack === true));
    } finally {
      worker.kill('SIGTERM');
      if (worker.exitCode === null) await once(worker, 'exit');
    }
  } finally {
    stopping.release();
    if (options.keep || wasUp)
      print(
        '\nThe stack stays up. `causeway worker` carries on, `causeway status` asks, `causeway stack down` stops it.',
      );
    else await down();
  }
}

async function migrate(soak: number, andBack: boolean): Promise<Status> {
  const stages = [
    { name: 'phase_1_reads', percentage: 10, soakSeconds: soak },
    { name: 'phase_2_reads', percentage: 50, soakSeconds: soak },
    { name: 'phase_3_reads', percentage: 90, soakSeconds: soak },
    { name: 'phase_4_writes', percentage: 100, writes: 'new_system', soakSeconds: soak },
  ];
  // Seconds where the strategy has weeks; and both systems share one small machine, so that slow is only what is very slow.
  const policy = { queryTime: { floorMs: 1000 }, throughput: { minimumReads: 1_000_000 } };
  const read = readSettings({ stages, sampleSeconds: 1, gateSeconds: 60, policy });
  if ('problems' in read) throw new UsageError(read.problems.join('; '));
  const started = Date.now();
  return withTemporal(async (session) => {
    const input: MigrationInput = { name: 'default', settings: read.settings, until: 'cutover' };
    await session.client.workflow.start<typeof migration>('migration', {
      workflowId: rootId('default'),
      taskQueue: await queueFor(session, 'default'),
      args: [input],
      ...(await namedAfter(session, 'default')),
      staticSummary: 'migration default',
    });
    const status = await follow(session, 'default');
    print(await finalReport(status, Date.now() - started));
    if (andBack && status.state === 'completed') await goBack(session, read.settings);
    print(`\nThe same as a page, with charts: ${await makeReport('default')}`);
    return status;
  });
}

/** Everything to the old system; what was copied stays. Exit code 1 where it does not come to its end. */
async function goBack(session: TemporalSession, settings: Settings): Promise<void> {
  print('4. Back: reads and writes to the old system again, with everything that was written meanwhile');
  // The application writes to the new system alone for a moment, so that there is something to bring back.
  await sleep(3000);
  const started = Date.now();
  const { failed } = await session.client.workflow.execute<typeof rollback>('rollback', {
    workflowId: `${rootId('default')}/rollback`,
    taskQueue: await queueFor(session, 'default'),
    ...(await namedAfter(session, 'default')),
    args: ['default', [{ undo: 'cutover' }], settings],
  });
  if (failed) process.exitCode = 1;
  print(
    failed
      ? `  The way back stopped: ${failed.reason.message}`
      : `  Everything is back with the old system after ${((Date.now() - started) / 1000).toFixed(1)} s.`,
  );
}

/** Only what an earlier demo or seed left in the embedded stack is removed; a source outside it is never touched. */
async function clearEarlierDemo(url: string): Promise<void> {
  const outside = [
    'SOURCE_MONGODB_URL',
    'TARGET_POSTGRES_URL',
    'TARGET_MONGODB_URL',
    'TARGET_REDIS_URL',
    'TEMPORAL_ADDRESS',
  ].filter((name) => process.env[name]);
  if (outside.length > 0)
    throw new UsageError(`The demo uses the embedded stack only; unset ${outside.join(', ')} first.`);
  const client = new MongoClient(url);
  const holds = await client
    .db()
    .listCollections({}, { nameOnly: true })
    .toArray()
    .finally(() => client.close());
  if (holds.length === 0) return;
  if (!existsSync(join(home(), 'demo-planted.jsonl')))
    throw new UsageError(
      'The embedded source holds data that the demo did not make. Run `causeway stack reset --yes`, then try again.',
    );
  print('  removing what the last demo left');
  await reset();
  await rm(join(home(), 'demo-planted.jsonl'), { force: true });
  await up();
}

/** The worker is a process of its own, as it would be in earnest. */
async function startWorkerProcess() {
  const worker = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), 'worker'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    let said = '';
    worker.stderr.on('data', (part: Buffer) => {
      said = (said + part.toString('utf8')).slice(-2000);
      if (said.includes('polling')) resolve();
    });
    worker.once('exit', (code) => reject(new Error(`the worker ended with exit code ${code}: ${said.trim()}`)));
  });
  return worker;
}

/** Ctrl-C stops what the demo started. */
function stopOnSignal(stays: boolean): { release(): void } {
  const stop = () => void (stays ? Promise.resolve() : down()).finally(() => process.exit(130));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  return {
    release() {
      process.removeListener('SIGINT', stop);
      process.removeListener('SIGTERM', stop);
    },
  };
}
