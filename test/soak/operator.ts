// An operator at a terminal who may do anything at any moment: every command, raw signals and updates, cancel, terminate, and workers that are killed.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Status } from '../../core/state.ts';
import { phases } from '../../core/story.ts';
import { bare, junk, placesOf, signalNames, updateNames } from '../support/names.ts';
import { promisedMs } from '../support/prompt.ts';
import { Terminal, type Timed, type Timing } from '../support/terminal.ts';
import type { World } from '../support/world.ts';
import { startWorker } from './chaos.ts';

/** What must be answered soon, in every state. */
const prompt = new Set(['status', 'abort', 'rollback']);
const grouped = new Set(['cutover', 'checkpoint', 'quarantine', 'capture', 'reverse', 'timescale', 'decommission']);
/** A command that waits for a worker, or follows something long, is ended then, ms. */
const patienceMs = 15_000;

export interface Account {
  rounds: number;
  orders: number;
  readonly timings: Map<string, Timing>;
  readonly coverage: Map<string, number>;
  readonly findings: string[];
}

export const conditions = ['nothing', 'no worker', 'cancel', 'terminate'] as const;
export type Condition = (typeof conditions)[number];

const stages = ['first', 'writes'];
const places = placesOf(['token_usage', 'users'], stages);

type Seen = Status & { readonly restore?: { readonly checkpoint: string } };

export interface Means {
  readonly world: World;
  readonly random: () => number;
  readonly account: Account;
  /** File of the settings. */
  readonly config: string;
  readonly say: (what: string) => void;
}

export class Operator {
  readonly #world: World;
  readonly #random: () => number;
  readonly #account: Account;
  readonly #config: string;
  readonly #say: (what: string) => void;
  readonly #terminal: Terminal;
  readonly #pending = new Set<Promise<unknown>>();
  #worker: ChildProcess | undefined;
  #starting: Promise<ChildProcess> | undefined;
  #seen = 'nothing';

  constructor({ world, random, account, config, say }: Means) {
    this.#world = world;
    this.#random = random;
    this.#account = account;
    this.#config = config;
    this.#say = say;
    this.#terminal = new Terminal(world, account.timings);
  }

  async ensureWorker(): Promise<void> {
    if (this.#worker && this.#worker.exitCode === null && this.#worker.signalCode === null) return;
    // Asked for twice at once, it is one.
    this.#starting ??= startWorker(this.#world).finally(() => (this.#starting = undefined));
    this.#worker = await this.#starting;
  }

  async killWorker(): Promise<void> {
    await this.#starting;
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
    await Promise.race([asked, sleep(this.#random() < 0.5 ? 500 : 3000)]);
  }

  /** What somebody from outside, or a host that is lost, does to it; then what is promised soon is asked for. */
  async meets(condition: Condition): Promise<void> {
    if (condition === 'no worker') {
      await this.killWorker();
      const away = 3000 + this.#random() * 9000;
      this.#pending.add(sleep(away).then(() => this.ensureWorker()));
    } else if (condition !== 'nothing') await this.#outside(condition, undefined);
    await this.command(
      this.#pick([['status'], ['abort', '--reason', 'at once'], ['rollback', '--to', 'old', '--reason', 'at once']]),
    );
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
      ['checkpoint', 'create', 'before'],
      ['checkpoint', 'list'],
      ['checkpoint', 'restore', 'before', '--dry-run'],
      ['checkpoint', 'restore', 'before'],
      ['decommission'],
      ['perf', '--seconds', '1', '--rate', '20'],
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
      ['rollback', '--dry-run'],
      ['abort', ...reason],
      ['abort', ...reason],
    ];
  }

  /** Runs the command, measures it, and judges what it says. */
  async command(args: readonly string[], most = patienceMs): Promise<{ code: number | null; stdout: string }> {
    const name = grouped.has(args[0]!) ? args.slice(0, 2).join(' ') : args[0]!;
    const asked = this.#asked(`causeway ${args.filter((one) => one !== this.#config).join(' ')}`, name, async () => {
      const [ran, idle] = await Promise.all([
        this.#terminal.run(args, most),
        prompt.has(name) ? this.#terminal.idle() : undefined,
      ]);
      this.#judge(args, name, ran, idle);
      return ran;
    });
    return (await asked) ?? { code: null, stdout: '' };
  }

  #judge(args: readonly string[], name: string, ran: Timed, idle: number | undefined): void {
    const { code, stdout, stderr, ms } = ran;
    const { findings } = this.#account;
    const follows = args.includes('--wait');
    const atRest = this.#terminal.time(follows ? `${name} --wait` : name, ms, idle);
    const told = `causeway ${args.join(' ')} (${this.#seen}) ended with ${String(code)} after ${Math.round(ms)} ms`;
    if (prompt.has(name) && !follows && atRest > promisedMs)
      findings.push(`${told}, while one that asks nobody took ${Math.round(idle ?? 0)} ms: ${stdout}${stderr}`);
    const said = stdout + stderr;
    if (
      /\n\s+at .+:\d+:\d+\)?\n|TypeError|ReferenceError|Task in failed state|\[object Object\]|\bundefined\b/.test(said)
    )
      findings.push(`${told}: ${said.slice(-1500)}`);
    // null: ended by this test, because it waits.
    if (code !== 0 && said.trim().length < 10) findings.push(`${told}, and said "${said}"`);
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
      const handle = this.#handle(place);
      await (what === 'cancel' ? handle.cancel() : handle.terminate('by an operator')).catch(() => undefined);
    });
  }

  /** To the root or, as a signal, to anything of the tree. */
  async #raw(): Promise<void> {
    const asUpdate = this.#random() < 0.4;
    const name = this.#pick(asUpdate ? updateNames : signalNames);
    const args = Array.from({ length: 1 + Math.floor(this.#random() * 2) }, () => this.#pick(junk));
    // These are orders whatever comes with them; without a payload so is a rollback, of everything.
    if (bare.has(name) || /^(stop|keep)/.test(name) || (name === 'rollback' && (args[0] ?? null) === null)) return;
    const place = asUpdate || this.#random() < 0.6 ? undefined : this.#pick(places);
    const told = JSON.stringify(args).slice(0, 120);
    await this.#asked(
      `${asUpdate ? 'update' : 'signal'} ${name} ${told} to ${place ?? 'the root'}`,
      'raw',
      async () => {
        const handle = this.#handle(place);
        if (!asUpdate) return handle.signal(name, ...args).catch(() => undefined);
        const answer = await this.#world.temporal
          .withDeadline(Date.now() + 10_000, () => handle.executeUpdate(name, { args: args as [] }))
          .then(
            () => '',
            (error: { cause?: { message?: string } }) => error.cause?.message ?? '',
          );
        if (/TypeError|Cannot read|failed state/.test(answer))
          this.#account.findings.push(`update ${name} ${told} was answered with: ${answer}`);
      },
    );
  }

  #handle(place: string | undefined) {
    const root = `migration/${this.#world.name}`;
    return this.#world.temporal.workflow.getHandle(place === undefined ? root : `${root}/${place}`);
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

  /** As the workflow tells it or, where none runs, the command. */
  async look(): Promise<Seen | undefined> {
    const running = await this.#world.temporal
      .withDeadline(Date.now() + 4000, async () =>
        (await this.#handle(undefined).describe()).status.name === 'RUNNING' ? this.#world.query() : undefined,
      )
      .catch(() => undefined);
    if (running) return this.#saw(running);
    return this.#told();
  }

  async #told(): Promise<Seen | undefined> {
    const { stdout } = await this.command(['status', '--json']);
    try {
      return this.#saw(JSON.parse(stdout) as Seen);
    } catch {
      return undefined;
    }
  }

  #saw<S extends Status>(status: S): S {
    const modes = [...new Set(Object.values(status.routing).map((one) => one.writeMode))];
    this.#seen = `${status.phase} ${status.state} ${modes.join(' ')}`.trim();
    return status;
  }

  /** Where it is, without a command. */
  async watch(signal: AbortSignal): Promise<void> {
    for (; !signal.aborted; await sleep(700)) {
      const status = await this.#world.temporal
        .withDeadline(Date.now() + 3000, () => this.#world.query())
        .catch(() => undefined);
      if (status) this.#saw(status);
    }
  }

  /** What `status` advises, until it is completed or nothing is left; `retired`: the old system was taken out of use, and nothing leads back. */
  async leadOut(way: 'forward' | 'back', limitMs: number): Promise<'completed' | 'undone' | 'retired' | 'nowhere'> {
    this.#say(`from here ${way}`);
    const until = Date.now() + limitMs;
    const start = ['start', '--config', this.#config];
    let before = '';
    let same = 0;
    for (; Date.now() < until; await sleep(700)) {
      const retiring = await this.#retiring();
      if (retiring === 'done') return 'retired';
      if (retiring === 'begun') {
        await this.command(['decommission', '--yes'], limitMs);
        continue;
      }
      const status = await this.look();
      if (!status) {
        // Nothing stands: begun again on the way forward, done on the way back.
        if (way === 'back') return 'undone';
        await this.command(start);
        continue;
      }
      if (status.restore) {
        await this.command(['checkpoint', 'restore', status.restore.checkpoint, '--yes'], limitMs);
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
      if (status.capture.gap) await this.command(['repair'], limitMs);
      if (state === 'completed' || state === 'stopped')
        await this.command(way === 'forward' ? start : ['rollback', '--reason', 'the way out', '--wait'], limitMs);
      else if (state === 'parked' && (waitingFor === 'retry' || way === 'forward')) {
        if (/Run `causeway validate`/.test(status.lastError?.message ?? '')) await this.command(['validate'], limitMs);
        await this.#parked(same);
      } else if (way === 'back' && state !== 'compensating') await this.command(['abort', '--reason', 'the way out']);
      else if (state === 'paused') await this.command(['resume']);
      else if (state === 'running' && waitingFor?.startsWith('approve'))
        await this.command(['approve', /"gate": "(\w+)"/.exec(waitingFor)?.[1] ?? 'writes']);
      else if (state === 'running' && phase === 'cutover' && same > 0) await this.command(['cutover', 'advance']);
      // What was ended beside the migration is begun again by its phase.
      if (state === 'running' && same > 0 && same % 20 === 0) {
        await this.command(['pause']);
        await this.command(['resume']);
      }
    }
    return 'nowhere';
  }

  /** A restore that has not ended is what is parked for: the command says so, the workflow may not know. */
  async #parked(same: number): Promise<void> {
    const { restore } = (same > 0 && same % 3 === 0 && (await this.#told())) || {};
    if (restore) await this.command(['checkpoint', 'restore', restore.checkpoint, '--yes'], patienceMs * 4);
    await this.command(['retry']);
  }

  async #retiring(): Promise<'no' | 'begun' | 'done'> {
    const actions = await this.#world
      .rows<{ action: string }>(`select action from migration_control.audit_log where action like 'decommission%'`)
      .catch(() => []);
    if (actions.some((one) => one.action === 'decommissioned')) return 'done';
    return actions.some((one) => one.action === 'decommission begun') ? 'begun' : 'no';
  }
}
