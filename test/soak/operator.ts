// An operator at a terminal who may do anything at any moment: every command, raw signals and updates, cancel, terminate, and workers that are killed.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import type { Status } from '../../core/state.ts';
import { phases } from '../../core/story.ts';
import type { World } from '../support/world.ts';
import { startWorker } from './chaos.ts';

/** What must be answered soon, in every state. */
const prompt = new Set(['status', 'abort', 'rollback']);
const promisedMs = 5000;
/** What a process of the command takes to begin on a quiet machine, ms. */
const quietStartMs = 500;
/** A command that waits for a worker, or follows something long, is ended then, ms. */
const patienceMs = 60_000;

export interface Timing {
  calls: number;
  maxMs: number;
  /** Against what an idle process of the command took just then. */
  maxShare: number;
}

export interface Account {
  rounds: number;
  orders: number;
  readonly timings: Map<string, Timing>;
  readonly coverage: Map<string, number>;
  readonly findings: string[];
}

const junk: readonly unknown[] = ['x', 7, null, [], { percentage: 250 }, { gate: 1 }, { to: 'lunch' }, { stage: 'x' }];
const names = [
  'setCutoverPercentage',
  'approve',
  'rollback',
  'abort',
  'reportIncident',
  'progress',
  'stageProgress',
  'captureProgress',
  'restored',
  'nobodyKnowsThis',
];
const places = [
  ...phases,
  'copy/token_usage',
  'copy/users',
  'data/validation',
  'cutover/first',
  'cutover/writes',
  'rollback',
  'checkpoint/data',
  'capture',
  'reverse',
  'verify',
];

export class Operator {
  readonly #world: World;
  readonly #random: () => number;
  readonly #account: Account;
  readonly #config: string;
  readonly #say: (what: string) => void;
  readonly #pending = new Set<Promise<unknown>>();
  #worker: ChildProcess | undefined;
  #seen = 'nothing';

  constructor(world: World, random: () => number, account: Account, config: string, say: (what: string) => void) {
    this.#world = world;
    this.#random = random;
    this.#account = account;
    this.#config = config;
    this.#say = say;
  }

  async ensureWorker(): Promise<void> {
    if (this.#worker && this.#worker.exitCode === null && this.#worker.signalCode === null) return;
    this.#worker = await startWorker(this.#world);
  }

  async killWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    if (!worker || worker.exitCode !== null || worker.signalCode !== null) return;
    worker.kill('SIGKILL');
    await once(worker, 'exit');
  }

  /** One order, chosen by chance; what comes next may meet it under way. */
  async order(): Promise<void> {
    const dice = this.#random();
    if (dice < 0.06) return this.#dies();
    if (dice < 0.1) return this.#outside('cancel', undefined);
    if (dice < 0.14) return this.#outside('terminate', undefined);
    if (dice < 0.22) return this.#outside(this.#random() < 0.5 ? 'cancel' : 'terminate', this.#pick(places));
    if (dice < 0.32) return this.#raw();
    const args = this.#pick(this.#commands());
    const asked = this.command(args);
    await Promise.race([asked, sleep(this.#random() < 0.4 ? 700 : 6000)]);
  }

  /** Until nothing that was asked is under way any more. */
  async settled(): Promise<void> {
    await Promise.race([Promise.all(this.#pending), sleep(patienceMs)]);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }

  #commands(): readonly (readonly string[])[] {
    const share = String(this.#pick([0, 0, 5, 10, 50, 100]));
    const reason = ['--reason', 'by chance'];
    const start = ['start', '--config', this.#config];
    return [
      ['status'],
      ['status', '--json'],
      ['report', '--json'],
      ['decisions'],
      ['capture', 'status'],
      ['reverse', 'status'],
      ['quarantine', 'list'],
      ['explain', 'users', '000000000000000000000000'],
      ['timescale', 'arm'],
      ['validate'],
      ['verify'],
      ['repair'],
      ['repair', '--dry-run'],
      ['quarantine', 'retry'],
      ['checkpoint', 'create'],
      start,
      start,
      start,
      [...start, '--until', this.#pick(phases)],
      ['pause'],
      ['resume'],
      ['resume'],
      ['retry'],
      ['retry'],
      ['retry'],
      ['approve', 'writes'],
      ['approve', 'writes'],
      ['approve', 'rollback'],
      ['cutover', 'set', share],
      ['cutover', 'set', share, '--collection', this.#pick(['users', 'token_usage', 'toString'])],
      ['cutover', 'advance'],
      ['cutover', 'advance'],
      ['incident', 'data_corruption'],
      ['rollback', '--to', 'old', ...reason],
      ['rollback', '--to', 'old', ...reason],
      ['rollback', '--to', 'old', ...reason],
      ['rollback', '--to', this.#pick(['first', 'writes', 'data', 'schema', 'preparation', 'lunch']), ...reason],
      ['rollback', ...reason],
      ['abort', ...reason],
    ];
  }

  /** Runs the command, measures it, and judges what it says. */
  async command(args: readonly string[], most = patienceMs): Promise<{ code: number | null; stdout: string }> {
    const name = ['cutover', 'checkpoint', 'quarantine', 'capture', 'reverse', 'timescale'].includes(args[0]!)
      ? `${args[0]!} ${args[1]!}`
      : args[0]!;
    const asked = this.#asked(`causeway ${args.filter((one) => one !== this.#config).join(' ')}`, name, async () => {
      const idle = prompt.has(name) ? await this.#idle() : quietStartMs;
      const ran = await this.#run([...args, '--migration', this.#world.name], most);
      this.#judge(args, name, ran, idle);
      return ran;
    });
    return (await asked) ?? { code: null, stdout: '' };
  }

  /** What the same process takes to do nothing, now, ms. */
  async #idle(): Promise<number> {
    const { ms } = await this.#run(['--version'], patienceMs);
    this.#time('--version', ms, quietStartMs);
    return ms;
  }

  async #run(args: readonly string[], most: number) {
    const began = performance.now();
    const child = spawn(process.execPath, [inject('command'), ...args], {
      env: { ...process.env, ...this.#world.environment },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
    const timer = setTimeout(() => child.kill('SIGKILL'), most);
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(timer);
    return { code, stdout, stderr, ms: performance.now() - began };
  }

  #time(name: string, ms: number, idle: number): number {
    const share = ms / Math.max(1, idle / quietStartMs);
    const timing = this.#account.timings.get(name) ?? { calls: 0, maxMs: 0, maxShare: 0 };
    this.#account.timings.set(name, {
      calls: timing.calls + 1,
      maxMs: Math.max(timing.maxMs, ms),
      maxShare: Math.max(timing.maxShare, share),
    });
    return share;
  }

  #judge(
    args: readonly string[],
    name: string,
    { code, stdout, stderr, ms }: { code: number | null; stdout: string; stderr: string; ms: number },
    idle: number,
  ): void {
    const { findings } = this.#account;
    const share = this.#time(name, ms, idle);
    const told = `causeway ${args.join(' ')} (${this.#seen}) ended with ${String(code)} after ${Math.round(ms)} ms`;
    if (prompt.has(name) && !args.includes('--wait') && share > promisedMs)
      findings.push(`${told}, while one that does nothing took ${Math.round(idle)} ms: ${stdout}${stderr}`);
    const said = stdout + stderr;
    if (
      /\n\s+at .+:\d+:\d+\)?\n|TypeError|ReferenceError|Task in failed state|\[object Object\]|\bundefined\b/.test(said)
    )
      findings.push(`${told}: ${said.slice(-1500)}`);
    // null: ended by this test, because it waits.
    if (code !== 0 && code !== null && said.trim().length < 10) findings.push(`${told}, and said "${said}"`);
    if (code !== null && code > 3) findings.push(`${told}: ${said.slice(-1500)}`);
  }

  async #dies(): Promise<void> {
    const away = this.#random() * 6000;
    await this.#asked(`the worker is killed for ${Math.round(away)} ms`, 'kill', async () => {
      await this.killWorker();
      await sleep(away);
      await this.ensureWorker();
    });
  }

  async #outside(what: 'cancel' | 'terminate', place: string | undefined): Promise<void> {
    await this.#asked(`${what} ${place ?? 'the root'}`, what, async () => {
      const id = place === undefined ? `migration/${this.#world.name}` : `migration/${this.#world.name}/${place}`;
      const handle = this.#world.temporal.workflow.getHandle(id);
      await (what === 'cancel' ? handle.cancel() : handle.terminate('by an operator')).catch(() => undefined);
    });
  }

  async #raw(): Promise<void> {
    const name = this.#pick(names);
    const args = Array.from({ length: 1 + Math.floor(this.#random() * 2) }, () => this.#pick(junk));
    // Without a payload it is an order to undo everything.
    if (name === 'rollback' && args[0] === null) return;
    const asUpdate = this.#random() < 0.5;
    await this.#asked(`${asUpdate ? 'update' : 'signal'} ${name} ${JSON.stringify(args)}`, 'raw', async () => {
      const handle = this.#world.temporal.workflow.getHandle(`migration/${this.#world.name}`);
      if (!asUpdate) return handle.signal(name, ...args).catch(() => undefined);
      const answer = await this.#world.temporal
        .withDeadline(Date.now() + 10_000, () => handle.executeUpdate(name, { args: args as [] }))
        .then(
          () => '',
          (error: { cause?: { message?: string } }) => error.cause?.message ?? '',
        );
      if (/TypeError|Cannot read|failed state/.test(answer))
        this.#account.findings.push(`update ${name} ${JSON.stringify(args)} was answered with: ${answer}`);
    });
  }

  #asked<T>(what: string, name: string, work: () => Promise<T>): Promise<T | undefined> {
    this.#say(`${what}   (${this.#seen})`);
    this.#account.orders++;
    const where = `${name} @ ${this.#seen}`;
    this.#account.coverage.set(where, (this.#account.coverage.get(where) ?? 0) + 1);
    const asked = work().catch((error: unknown) => {
      this.#account.findings.push(`${what}: ${String(error)}`);
      return undefined;
    });
    this.#pending.add(asked);
    void asked.finally(() => this.#pending.delete(asked));
    return asked;
  }

  /** As the workflow or, where none runs, the command tells it. */
  async look(): Promise<Status | undefined> {
    const { stdout } = await this.command(['status', '--json']);
    try {
      const status = JSON.parse(stdout) as Status;
      const modes = [...new Set(Object.values(status.routing).map((one) => `${one.percentage} % ${one.writeMode}`))];
      this.#seen = `${status.phase} ${status.state} ${modes.join(' ')}`.trim();
      return status;
    } catch {
      return undefined;
    }
  }

  /** Where it is, without a command. */
  async watch(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await sleep(700)) {
      const status = await this.#world.temporal
        .withDeadline(Date.now() + 3000, () => this.#world.query())
        .catch(() => undefined);
      if (status)
        this.#seen =
          `${status.phase} ${status.state} ${[...new Set(Object.values(status.routing).map((one) => one.writeMode))].join(' ')}`.trim();
    }
  }

  /** What `status` advises, until it is completed or nothing is left. */
  async leadOut(way: 'forward' | 'back', limitMs: number): Promise<'completed' | 'undone' | 'nowhere'> {
    this.#say(`from here ${way}`);
    const until = Date.now() + limitMs;
    const start = ['start', '--config', this.#config];
    let before = '';
    let same = 0;
    for (; Date.now() < until; await sleep(1000)) {
      const status = await this.look();
      if (!status) {
        // Nothing stands: begun again on the way forward, done on the way back.
        if (way === 'back') return 'undone';
        await this.command(start);
        continue;
      }
      const { state, waitingFor, phase } = status;
      if (state === 'completed' && phase === 'cutover' && way === 'forward') return 'completed';
      if (state === 'aborted' || state === 'rolled-back') {
        if (way === 'back') return 'undone';
        await this.command(start);
        continue;
      }
      const at = JSON.stringify([state, waitingFor, phase, status.stage, status.collections]);
      same = at === before ? same + 1 : 0;
      before = at;
      if (status.capture.gap) await this.command(['repair']);
      if (state === 'completed' || state === 'stopped')
        await this.command(way === 'forward' ? start : ['rollback', '--reason', 'the way out', '--wait'], limitMs);
      else if (state === 'parked' && (waitingFor === 'retry' || way === 'forward')) await this.command(['retry']);
      else if (way === 'back' && state !== 'compensating') await this.command(['abort', '--reason', 'the way out']);
      else if (state === 'paused') await this.command(['resume']);
      else if (state === 'running' && waitingFor?.startsWith('approve'))
        await this.command(['approve', /"gate": "(\w+)"/.exec(waitingFor)?.[1] ?? 'writes']);
      else if (state === 'running' && phase === 'cutover' && same > 1) await this.command(['cutover', 'advance']);
      // What was ended beside the migration is begun again by its phase.
      if (state === 'running' && same > 0 && same % 20 === 0) {
        await this.command(['pause']);
        await this.command(['resume']);
      }
    }
    return 'nowhere';
  }
}
