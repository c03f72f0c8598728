// A migration under load with servers and workers killed at random: what was killed, how long the lag took to come back, and what differs at the end.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { captureStatus } from '../../control/capture.ts';
import { randomFrom } from './random.ts';
import { checkout } from '../../stack/home.ts';
import { startService, stopService, type ServiceName } from '../../stack/index.ts';
import { checkEqual, type Difference } from '../support/checker.ts';
import { command } from '../support/command.ts';

export type Victim = 'worker' | ServiceName;
export const victims: readonly Victim[] = [
  'worker',
  'postgres',
  'worker',
  'source-mongodb',
  'worker',
  'target-mongodb',
  'redis',
  'temporal',
];

export interface ChaosOptions {
  /** Store addresses, CAUSEWAY_HOME of the workers. */
  readonly environment: Record<string, string>;
  /** CAUSEWAY_HOME of the stack that is to be killed. */
  readonly stackHome: string;
  readonly migration: string;
  readonly rate: number;
  readonly seconds: number;
  readonly seed: number;
  /** What dies, in this order, spread over the time. */
  readonly kills: readonly Victim[];
  readonly say: (line: string) => void;
}

export interface ChaosResult {
  readonly writes: Record<string, unknown>;
  readonly kills: readonly { readonly victim: Victim; readonly backMs: number }[];
  readonly lag: { readonly p50: number | null; readonly p99: number | null };
  readonly events: number;
  readonly differences: readonly Explained[];
  readonly end: End;
}

/** How a migration stands when it no longer runs; for one that did not complete, why. */
export interface End {
  readonly state: string;
  readonly lastError: unknown;
  /** Of the checks that failed, what they found. */
  readonly failed?: readonly FailedCheck[];
}

interface FailedCheck {
  readonly collection: string;
  readonly check: string;
  readonly result: unknown;
}

export const completed: End = { state: 'completed', lastError: null };

/** A difference, what the ledger has of the document, and whether it was still there when capture had had more time. */
export type Explained = Difference & { readonly ledger: unknown; readonly stays: boolean };

const values = (options: ChaosOptions) => ({
  CAUSEWAY_HOME: options.stackHome,
  CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools'),
});

/** The source is seeded and empty targets are there; leaves no process of its own behind. */
export async function chaos(options: ChaosOptions): Promise<ChaosResult> {
  const random = randomFrom(options.seed);
  const watch = new Watch(options.environment);
  const workers = [
    await startWorker({ ...options, name: options.migration }),
    await startWorker({ ...options, name: options.migration }),
  ];
  const writer = startWriter(options);
  try {
    await sleep(1000);
    await causeway(options, ['start', '--until', 'data', '--migration', options.migration]);
    const kills: { victim: Victim; backMs: number }[] = [];
    const until = Date.now() + options.seconds * 1000;
    const pause = (options.seconds * 1000) / (options.kills.length + 1);
    for (const [n, victim] of options.kills.entries()) {
      const next = until - pause * (options.kills.length - n);
      await sleep(Math.max(0, next + (random() - 0.5) * pause - Date.now()));
      await kill(options, victim, workers, random);
      const killed = Date.now();
      await watch.back(150_000);
      kills.push({ victim, backMs: Date.now() - killed });
      options.say(`killed ${victim}: lag below 2 s again after ${Date.now() - killed} ms`);
    }
    await sleep(Math.max(0, until - Date.now()));
    const writes = await writer.stop();
    let end = await watch.finished(options, 180_000);
    if (
      end.state === 'parked' &&
      end.failed!.length > 0 &&
      end.failed!.every(({ check }) => check === 'performance_validation')
    ) {
      // What an engineer does whose machine was full when a query was timed; anything else that fails stays failed.
      options.say(`parked, a query was slow at full load: ${JSON.stringify(end.failed)}. The writer has ended: retry`);
      await causeway(options, ['retry', '--migration', options.migration]);
      end = await watch.finished(options, 180_000);
    }
    const { lagP50Ms, lagP99Ms, events } = (await watch.status())!;
    const differences = await watch.differences(options.environment);
    return { writes, kills, lag: { p50: lagP50Ms, p99: lagP99Ms }, events, differences, end };
  } finally {
    await writer.stop();
    await Promise.all(workers.map(endWorker));
    await watch.close();
  }
}

async function kill(
  options: ChaosOptions,
  victim: Victim,
  workers: ChildProcess[],
  random: () => number,
): Promise<void> {
  if (victim === 'worker') {
    const at = Math.floor(random() * workers.length);
    await endWorker(workers[at]!);
    workers[at] = await startWorker({ ...options, name: options.migration });
    return;
  }
  await stopService(victim, 'SIGKILL', values(options));
  await sleep(200 + random() * 800);
  await startService(victim, values(options));
}

export async function startWorker(
  { environment, name }: Pick<ChaosOptions, 'environment'> & { readonly name: string },
  extra: Record<string, string> = {},
): Promise<ChildProcess> {
  // Temporal may be on its way up again: then the worker ends, and is started once more, as a supervisor would.
  for (let tries = 1; ; tries++) {
    const child = spawn(process.execPath, [command, 'worker', '--migration', name], {
      env: { ...process.env, ...environment, ...extra },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    const polls = await new Promise<boolean>((resolve) => {
      child.stderr.on('data', (part: Buffer) => {
        said = (said + part.toString('utf8')).slice(-2000);
        if (said.includes('polling')) resolve(true);
      });
      child.once('exit', () => resolve(false));
    });
    if (polls) return child;
    if (tries === 10) throw new Error(`the worker does not start: ${said}`);
    await sleep(1000);
  }
}

async function endWorker(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** In a process of its own: the measured one must not share its processor time with the checker. */
export function startWriter({ environment, rate, seed, seconds }: ChaosOptions) {
  const script = join(checkout, 'seed', 'legacy-writer.ts');
  const args = ['--import', 'tsx', script, '--rate', `${rate}`, '--seconds', `${seconds + 600}`, '--seed', `${seed}`];
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: checkout,
  });
  let said = '';
  child.stdout.on('data', (part: Buffer) => (said += part.toString('utf8')));
  const ended = once(child, 'close');
  return {
    async stop(): Promise<Record<string, unknown>> {
      child.kill('SIGTERM');
      await ended;
      return JSON.parse(said.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
    },
  };
}

export async function causeway(
  { environment }: Pick<ChaosOptions, 'environment'>,
  args: readonly string[],
): Promise<string> {
  const child = spawn(process.execPath, [command, ...args], {
    env: { ...process.env, ...environment },
  });
  let said = '';
  child.stdout.on('data', (part: Buffer) => (said += part.toString('utf8')));
  child.stderr.on('data', (part: Buffer) => (said += part.toString('utf8')));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`causeway ${args.join(' ')} ended with ${code}: ${said.slice(-1000)}`);
  return said;
}

/** Looks from outside how far capture has come. */
export class Watch {
  readonly #pool: pg.Pool;
  readonly #source: MongoClient;

  constructor(environment: Record<string, string>) {
    this.#pool = new pg.Pool({ connectionString: environment['TARGET_POSTGRES_URL']!, max: 2 });
    this.#pool.on('error', () => undefined);
    this.#source = new MongoClient(environment['SOURCE_MONGODB_URL']!, { serverSelectionTimeoutMS: 3000 });
  }

  status() {
    return captureStatus(this.#pool, Date.now());
  }

  /** Until the lag is below 2 s, seen twice; a store that is down counts as not yet. */
  async back(timeout: number): Promise<void> {
    const until = Date.now() + timeout;
    for (let good = 0; good < 2;) {
      const status = await this.status().catch(() => undefined);
      good = status && status.lagMs < 2000 ? good + 1 : 0;
      if (Date.now() > until)
        throw new Error(`the lag is ${status?.lagMs} ms after ${timeout} ms, ${status?.pendingEvents} events wait`);
      await sleep(100);
    }
  }

  /** Until the migration has ended, well or not, and everything written stands in the targets. */
  async finished(options: Pick<ChaosOptions, 'environment' | 'migration'>, timeout: number): Promise<End> {
    const until = Date.now() + timeout;
    for (;;) {
      const said = await causeway(options, ['status', '--json', '--migration', options.migration]).catch(() => '{}');
      const { state = '', lastError = null } = JSON.parse(said) as Partial<End>;
      if (state !== 'running' && state !== '') {
        await this.#drained(until);
        // Rows that came before those they name are looked for every second.
        await sleep(2000);
        await this.#drained(until);
        return lastError === null ? { state, lastError } : { state, lastError, failed: await this.#failedChecks() };
      }
      if (Date.now() > until) throw new Error(`the migration is still ${state}`);
      await sleep(500);
    }
  }

  /**
   * What the independent checker finds and goes on finding: a unique value that has become free is looked for among all that wait for one, a share
   * of them each second. Each with what is needed to tell a change that was lost from one that only comes late.
   */
  async differences(environment: Record<string, string>): Promise<Explained[]> {
    const look = async () => checkEqual(environment as never);
    let found = await look();
    const first = found.length;
    const began = Date.now();
    while (found.length > 0 && Date.now() < began + 45_000) {
      await sleep(3000);
      found = await look();
    }
    if (first > 0)
      process.stdout.write(
        `  ${first} different at first, ${found.length} after ${Math.round((Date.now() - began) / 1000)} s\n`,
      );
    if (found.length === 0) return [];
    await sleep(5000);
    const same = new Set((await look()).map((one) => JSON.stringify(one)));
    const { rows } = await this.#pool.query<{ source_id: string }>(
      'select source_id, collection_id, version, op_index, state, rule, deleted from migration_control.ledger where source_id = any($1)',
      [found.map((one) => one.sourceId)],
    );
    return found.map((one) => ({
      ...one,
      ledger: rows.filter((row) => row.source_id === one.sourceId),
      stays: same.has(JSON.stringify(one)),
    }));
  }

  async #failedChecks(): Promise<FailedCheck[]> {
    const { rows } = await this.#pool.query<FailedCheck>(
      `select collection, key as check, value as result from migration_control.validation_results, jsonb_each(individual_results)
       where value ->> 'status' not in ('passed', 'skipped') order by "timestamp" desc limit 6`,
    );
    return rows;
  }

  async #drained(until: number): Promise<void> {
    const { operationTime } = (await this.#source.db().command({ ping: 1 })) as unknown as {
      operationTime: { getHighBitsUnsigned(): number; getLowBitsUnsigned(): number };
    };
    const written = (BigInt(operationTime.getHighBitsUnsigned()) << 32n) | BigInt(operationTime.getLowBitsUnsigned());
    for (;;) {
      const status = await this.status();
      if (status && status.version >= written && status.pendingEvents === 0 && status.redo === 0) return;
      if (Date.now() > until)
        throw new Error(`not drained: ${status?.pendingEvents} events and ${status?.redo} documents wait`);
      await sleep(200);
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
    await this.#source.close();
  }
}
