// A migration as its users run it, whose workers reach stores, Temporal and disk through weather: storms in which calls fail at random, and calm between.
import type { ChildProcess } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { failures, isFailureType, type FailureType } from '../../core/failures.ts';
import type { Status } from '../../core/state.ts';
import { checkout } from '../../stack/home.ts';
import { checkEqual } from '../support/checker.ts';
import { FaultyLine, faults, loudFaults, type Fault } from '../support/faulty-line.ts';
import { RoutedWriter } from '../support/routed-writer.ts';
import type { World } from '../support/world.ts';

const lined = {
  SOURCE_MONGODB_URL: 'mongodb',
  TARGET_POSTGRES_URL: 'postgres',
  TARGET_MONGODB_URL: 'mongodb',
  TARGET_REDIS_URL: 'redis',
  TEMPORAL_ADDRESS: 'temporal',
} as const;
type Name = keyof typeof lined;
const names = Object.keys(lined) as Name[];

/** What a mere outage may make of a step. */
const passing = new Set<FailureType>([
  'StoreUnreachable',
  'StoreBusy',
  'DiskFull',
  'DiskUnusable',
  'SpoolLost',
  'SwitchRefused',
  'GateShut',
  'ChunksFailed',
  'StageFailed',
]);
const stages = [{ name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 3600 }];
const stormMs = 6000;
const calmMs = 6000;
/** How long faults being over may take to lead on. */
const leadsOnMs = 150_000;
const mostMegabytes = 900;

export interface Storm {
  readonly world: World;
  readonly random: () => number;
  /** Share of calls that go wrong in a storm. */
  readonly share: number;
  readonly find: (what: string) => void;
}

export class Weather {
  readonly lines = {} as Record<Name, FaultyLine>;
  readonly #random: () => number;
  readonly #share: number;
  #over = false;
  #isStorm = false;
  #running: Promise<void> = Promise.resolve();
  calls = 0;
  readonly done = new Map<string, number>();

  private constructor({ random, share }: Storm) {
    this.#random = random;
    this.#share = share;
  }

  static async open(storm: Storm): Promise<Weather> {
    const weather = new Weather(storm);
    for (const name of names) weather.lines[name] = await FaultyLine.open(lined[name], storm.world.environment[name]!);
    for (const line of Object.values(weather.lines)) line.watch(() => weather.#next());
    return weather;
  }

  /** The addresses of those who live in this weather. */
  get environment(): Record<Name, string> {
    return Object.fromEntries(names.map((name) => [name, this.lines[name].url])) as Record<Name, string>;
  }

  begin(): void {
    this.#over = false;
    this.#running = (async () => {
      while (!this.#over) {
        this.#isStorm = true;
        await sleep(stormMs / 2 + this.#random() * stormMs);
        this.#isStorm = false;
        for (const line of Object.values(this.lines)) line.release();
        await sleep(calmMs / 2 + this.#random() * calmMs);
      }
    })();
  }

  async clear(): Promise<void> {
    this.#over = true;
    await this.#running;
  }

  async close(): Promise<void> {
    this.#over = true;
    for (const line of Object.values(this.lines)) await line.close();
  }

  #next(): Fault | undefined {
    this.calls++;
    if (!this.#isStorm || this.#random() >= this.#share) return undefined;
    const some = this.#random() < 0.1 ? faults : loudFaults;
    const fault = some[Math.floor(this.#random() * some.length)]!;
    this.done.set(fault, (this.done.get(fault) ?? 0) + 1);
    return fault;
  }
}

/** As a worker's threads can import it, which know no TypeScript. Returns the path. */
async function builtDisk(): Promise<string> {
  const outfile = join(checkout, '.causeway', 'faulty-disk.mjs');
  const entry = join(checkout, 'test', 'support', 'faulty-disk.ts');
  await build({ entryPoints: [entry], outfile, format: 'esm', platform: 'node', logLevel: 'warning' });
  return outfile;
}

/** Data, writes to the new system, back to the old one, and there again; returns what was done. */
export async function stormyMigration(storm: Storm): Promise<string> {
  const { world, random, find } = storm;
  const config = join(world.home, 'settings.json');
  await writeFile(
    config,
    JSON.stringify({
      stages,
      sampleSeconds: 2,
      quarantineBudget: 0.9,
      fenceMs: 5000,
      segmentDocuments: 100,
      policy: { queryTime: { floorMs: 60_000 }, errorRate: { increase: 1 }, throughput: { minimumReads: 1_000_000 } },
      configurationDirectory: join(world.home, 'configuration'),
    }),
  );
  const disk = await builtDisk();
  const weather = await Weather.open(storm);
  const workers: ChildProcess[] = [];
  let writer: RoutedWriter | undefined;
  const parked: string[] = [];
  const said: string[] = [];
  try {
    for (const n of [1, 2])
      workers.push(
        await world.worker({
          ...weather.environment,
          NODE_OPTIONS: `--import ${disk}`,
          FAULTY_DISK: JSON.stringify({
            folder: join(world.home, 'spool'),
            seed: Math.floor(random() * 1e9) + n,
            share: storm.share / 2,
            until: Date.now() + 90_000,
          }),
        }),
      );
    for (const [n, worker] of workers.entries()) {
      worker.stderr!.on('data', (part: Buffer) => (said[n] = ((said[n] ?? '') + part.toString('utf8')).slice(-4000)));
      worker.once('exit', (code, signal) => {
        if (signal !== 'SIGKILL') find(`worker ${n} ended with ${code ?? signal}: ${said[n]}`);
      });
    }
    // A Redis that nobody has marked yet is known by its address: who starts has the workers'.
    const started = await world.causeway(['start', '--until', 'data', '--config', config], {
      TARGET_REDIS_URL: weather.environment.TARGET_REDIS_URL,
    });
    weather.begin();
    if (started.code !== 0) find(`start: ${started.stdout}${started.stderr}`);
    await leadsOn(storm, weather, parked, 'data', (status) => status.state === 'completed');
    writer = await RoutedWriter.start(world, 30, random);
    for (const round of [1, 2]) {
      weather.begin();
      if (round === 1) await order(storm, ['start', '--config', config]);
      else await order(storm, ['retry']);
      await leadsOn(storm, weather, parked, `writes to the new system, round ${round}`, moved(world, 'new_system'));
      weather.begin();
      await sleep(4000);
      await order(storm, ['rollback', '--to', 'old', '--reason', 'storm']);
      await leadsOn(storm, weather, parked, `back, round ${round}`, moved(world, 'old'));
    }
    await writer.stop();
    for (const one of (await writer.differences(world.source)).slice(0, 5)) find(`acknowledged and lost: ${one}`);
    let different = await checkEqual(world.environment as never);
    for (const until = Date.now() + 60_000; different.length > 0 && Date.now() < until; await sleep(1000))
      different = await checkEqual(world.environment as never);
    for (const one of different.slice(0, 5)) find(`differs: ${JSON.stringify(one)}`);
    const troubles = await world.rows(
      `select who, type, message from migration_control.capture_troubles where at > clock_timestamp() - interval '5 s'`,
    );
    for (const one of troubles) find(`fails still: ${JSON.stringify(one)}`);
    for (const one of await defectsIn(world)) find(one);
    for (const worker of workers) {
      const megabytes = await residentOf(worker.pid!);
      if (megabytes > mostMegabytes) find(`a worker has grown to ${megabytes} MB`);
    }
  } catch (error) {
    for (const [n, text] of said.entries()) process.stdout.write(`  worker ${n} said at last:\n${text}\n`);
    throw error;
  } finally {
    await writer?.stop();
    for (const worker of workers) worker.kill('SIGKILL');
    await weather.close();
  }
  const kinds = [...weather.done].map(([fault, times]) => `${times} ${fault}`).join(', ');
  return `${weather.calls} calls, ${[...weather.done.values()].reduce((a, b) => a + b, 0)} faulted (${kinds}); ${writer.counts.old} writes to the old system, ${writer.counts.new} to the new, ${writer.counts.errors} refused or failed; parked ${parked.length} times${parked.length > 0 ? ` (${parked.join('; ')})` : ''}`;
}

const moved = (world: World, mode: string) => async () =>
  (await world.rows<{ write_mode: string }>('select distinct write_mode from migration_control.routing')).every(
    (row) => row.write_mode === mode,
  ) &&
  (mode === 'new_system' || (await world.query()).state === 'parked');

/** Stormy for a while, then calm: by itself, or parked with a cause and led on by the command that is advised. */
async function leadsOn(
  storm: Storm,
  weather: Weather,
  parked: string[],
  what: string,
  isThere: (status: Status) => boolean | Promise<boolean>,
): Promise<void> {
  const { world, find } = storm;
  const stormyUntil = Date.now() + 20_000;
  let isClear = false;
  let until = Infinity;
  let refusal = '';
  for (;;) {
    const status = await world.query().catch((error: unknown) => void (refusal = String(error)));
    if (status && (await Promise.resolve(isThere(status)).catch(() => false))) break;
    if (!isClear && Date.now() > stormyUntil) {
      await weather.clear();
      isClear = true;
      until = Date.now() + leadsOnMs;
    }
    if (Date.now() > until) {
      find(
        `${what}: not ${leadsOnMs / 1000} s after the faults were over: ${status ? JSON.stringify(status).slice(0, 900) : refusal}; ${await pendingOf(world)}`,
      );
      throw new Error(`${what} does not come about`);
    }
    const cause = status?.state === 'parked' ? status.lastError : undefined;
    if (cause && isClear) {
      parked.push(`${what}: ${cause.type}`);
      if (!passing.has(cause.type as FailureType)) find(`${what}: parked with ${cause.type}: ${cause.message}`);
      if (cause.advice === '') find(`${what}: parked without advice`);
      await order(storm, ['retry']);
      await sleep(2000);
    }
    await sleep(300);
  }
  if (!isClear) await weather.clear();
}

/** What Temporal waits for, in the whole tree. */
async function pendingOf(world: World): Promise<string> {
  const lines: string[] = [];
  for await (const { workflowId, runId, status } of world.temporal.workflow.list({
    query: `WorkflowId STARTS_WITH "migration/${world.name}" and ExecutionStatus = "Running"`,
  })) {
    const { raw } = await world.temporal.workflow.getHandle(workflowId, runId).describe();
    const task = raw.pendingWorkflowTask;
    const activities = (raw.pendingActivities ?? []).map(
      ({ activityType, state, attempt, lastFailure }) =>
        `${activityType?.name} state ${state} attempt ${attempt} ${lastFailure?.message ?? ''}`,
    );
    lines.push(
      `${workflowId} ${status.name}: ${task ? `workflow task ${task.state}, attempt ${task.attempt}` : 'no workflow task'}; ${activities.join(', ')}`,
    );
  }
  return lines.join('\n    ');
}

/** Given again where it is refused: a root that is busy, or has just been taken over, may say so for a moment. */
async function order({ world, find }: Storm, args: readonly string[]): Promise<void> {
  let said = '';
  for (let n = 0; n < 10; n++) {
    const { code, stdout, stderr } = await world.causeway(args);
    if (code === 0) return;
    said = `${stdout}${stderr}`;
    if (/is running already|Nothing is parked|nothing to/i.test(said)) return;
    await sleep(2000);
  }
  find(`causeway ${args.join(' ')} is refused: ${said.slice(-600)}`);
}

interface Failed {
  readonly message?: string | null;
  readonly cause?: Failed | null;
  readonly applicationFailureInfo?: { readonly type?: string | null; readonly nonRetryable?: boolean | null } | null;
}

/** Failures of attempts, as the histories of all workflows have them: a defect, or one that nobody would try again, is none of an outage's making. */
async function defectsIn(world: World): Promise<string[]> {
  const found: string[] = [];
  for await (const { workflowId, runId } of world.temporal.workflow.list({
    query: `WorkflowId STARTS_WITH "migration/${world.name}"`,
  })) {
    const { events } = await world.temporal.workflow.getHandle(workflowId, runId).fetchHistory();
    for (const event of events ?? []) {
      const failure = (event.activityTaskStartedEventAttributes?.lastFailure ??
        event.activityTaskFailedEventAttributes?.failure) as Failed | null | undefined;
      for (let at: Failed | null | undefined = failure; at; at = at.cause) {
        const type = at.applicationFailureInfo?.type;
        if (type === 'Defect' || (isFailureType(type) && !passing.has(type) && !failures[type].retryable))
          found.push(`${workflowId} event ${String(event.eventId)}: ${type}: ${at.message ?? ''}`);
      }
    }
  }
  return [...new Set(found)];
}

async function residentOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}
