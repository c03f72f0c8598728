// An operator who may do anything at any moment, to workflows that run without stores: orders good and bad, cancel, terminate, start again, mishaps.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import type { FailureType } from '../../core/failures.ts';
import { counts, type Standing } from '../../core/lifecycle.ts';
import { isOver, type Status } from '../../core/state.ts';
import { phases, type Phase } from '../../core/story.ts';
import { readSettings } from '../../core/settings.ts';
import { statusQuery } from '../../workflows/contract.ts';
import { randomFrom } from '../soak/random.ts';
import { bare, junk, placesOf, signalNames, updateNames } from './names.ts';
import { inCutover } from './standing.ts';
import { StubStores, type Mishap } from './stub-stores.ts';
import type { WorkflowTest } from './workflow-env.ts';

const week = 7 * 24 * 3600;
const stages = [
  { name: 'first', percentage: 10, soakSeconds: week },
  { name: 'half', percentage: 50, soakSeconds: 0, approve: true },
  { name: 'writes', percentage: 100, writes: 'new_system' as const, soakSeconds: week },
  { name: 'last', percentage: 100, writes: 'new_system' as const, soakSeconds: 0 },
];
const collections = ['token_usage', 'sessions'];

const places = placesOf(
  collections,
  stages.map((stage) => stage.name),
);
const failing: readonly FailureType[] = [
  'StoreUnreachable',
  'StoreBusy',
  'PermissionDenied',
  'AuthenticationFailed',
  'TargetConflict',
  'ValidationFailed',
  'PreflightFailed',
  'ConfigurationInvalid',
  'SwitchRefused',
  'GateShut',
  'CompensationFailed',
  'Defect',
];
const loops = new Set(['readChanges', 'applyLane', 'tendTargets', 'readReverseChanges', 'applyReverse']);

export interface Account {
  rounds: number;
  orders: number;
  /** Order and where it hit, with how often. */
  readonly coverage: Map<string, number>;
  /** Each with what led to it. */
  readonly findings: string[];
}

export const newAccount = (): Account => ({ rounds: 0, orders: 0, coverage: new Map(), findings: [] });

/** One round: from a state that chance chooses, through `orders` random orders, to an end that the documented orders lead to. */
export class Round {
  readonly #run: WorkflowTest;
  readonly #random: () => number;
  readonly #chance: () => number;
  readonly #stores = new StubStores();
  readonly #account: Account;
  readonly #said: string[];
  readonly #pending = new Set<Promise<void>>();
  #seen = 'nothing';

  /** The number repeats what is ordered; mishaps have chances of their own, because activities run when they run. */
  constructor(run: WorkflowTest, number: number, account: Account, said: string[]) {
    this.#run = run;
    this.#random = randomFrom(number);
    this.#chance = randomFrom(number + 1_000_000);
    this.#account = account;
    this.#said = said;
  }

  async play(orders: number): Promise<void> {
    Object.assign(this.#run.stubs, this.#stores.stubs());
    this.#begin();
    this.#stores.mishap = (activity) => this.#mishap(activity);
    const watching = new AbortController();
    const watch = this.#watch(watching.signal);
    await this.#start();
    for (let n = 0; n < orders; n++) {
      await this.#order();
      await sleep(this.#random() < 0.2 ? 100 + this.#random() * 500 : this.#random() * 20);
    }
    this.#stores.mishap = () => undefined;
    this.#say('the mishaps end');
    await Promise.race([Promise.all(this.#pending), sleep(5000)]);
    await this.#leadOut(this.#random() < 0.6 ? 'forward' : 'back');
    watching.abort();
    await watch;
    this.#account.findings.push(...this.#stores.violations);
    await this.#judgeWorkflows();
    this.#account.rounds++;
  }

  #say(what: string): void {
    this.#said.push(what);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }

  /** Deep states too: a cutover that has begun, writes that have moved, a way back that was cut off. */
  #begin(): void {
    const stores = this.#stores;
    const where = this.#pick([
      'nothing',
      'nothing',
      'data',
      'reads',
      'reads',
      'moved',
      'moved',
      'completed',
      'undoing',
    ]);
    this.#say(`it begins with: ${where}`);
    if (where === 'nothing') return;
    const loaded = { source: 10, loaded: 9, quarantined: 1, skipped: 0, chunksDone: 1, chunksTotal: 1 };
    const stage = { data: 0, reads: 1, moved: 3, completed: 4, undoing: 3 }[where]!;
    const standing: Standing = {
      ...inCutover,
      stage,
      collections: { token_usage: loaded, sessions: loaded },
      settings: { stages },
      completed: where === 'completed',
      ...(where === 'undoing' && {
        undoing: {
          steps: [...inCutover.undo].reverse(),
          then: this.#pick(['aborted', 'rolled-back', 'parked'] as const),
        },
      }),
      ...(where === 'data' && { phase: 'data' as const, undo: inCutover.undo.slice(0, 3) }),
    };
    const checkpoints = phases
      .slice(0, where === 'data' ? 2 : where === 'completed' ? 4 : 3)
      .map((phase) => ({ name: phase, phase, at: new Date().toISOString() }));
    Object.assign(stores, { schema: true, tables: true, data: true, capture: true, standing, checkpoints });
    if (where === 'data') return;
    const moved = stage > 2;
    for (const name of collections)
      stores.routes[name] = moved
        ? { percentage: 100, writeMode: 'new_system', epoch: 5 }
        : { percentage: 10, writeMode: 'dual_write', epoch: 2 };
    if (moved) Object.assign(stores, { armed: true, closed: collections });
  }

  #mishap(activity: string): Mishap | undefined {
    const dice = this.#chance();
    if (loops.has(activity)) return dice < 0.02 ? { is: 'fails', type: 'StoreUnreachable', after: false } : undefined;
    if (dice < 0.03)
      return { is: 'fails', type: failing[Math.floor(this.#chance() * failing.length)]!, after: this.#chance() < 0.5 };
    if (dice < 0.035) return { is: 'throws' };
    return dice < 0.25 ? { is: 'takes', ms: this.#chance() * 400 } : undefined;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const status = await this.#status();
      if (status) this.#seen = `${status.phase} ${status.state}`;
      await sleep(150);
    }
  }

  #status(): Promise<Status | undefined> {
    return this.#run.client
      .withDeadline(Date.now() + 20_000, () => this.#run.handle().query(statusQuery))
      .catch(() => undefined);
  }

  async #order(): Promise<void> {
    const dice = this.#random();
    if (dice < 0.07) return this.#start();
    if (dice < 0.11) return this.#outside('cancel', undefined);
    if (dice < 0.14) return this.#outside('terminate', undefined);
    if (dice < 0.22) return this.#outside(this.#random() < 0.6 ? 'cancel' : 'terminate', this.#pick(places));
    if (dice < 0.34) return this.#junk();
    if (dice < 0.37) return this.#gap();
    return this.#sensible();
  }

  async #start(): Promise<void> {
    const until = this.#random() < 0.8 ? 'cutover' : this.#pick(phases);
    await this.#send(`start --until ${until}`, () => this.#begins(until));
  }

  async #begins(until: Phase): Promise<void> {
    await this.#run.start({ until, settings: { stages } }).catch((error: unknown) => {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    });
  }

  async #outside(what: 'cancel' | 'terminate', place: string | undefined): Promise<void> {
    await this.#send(`${what} ${place ?? 'the root'}`, () =>
      what === 'cancel' ? this.#run.handle(place).cancel() : this.#run.handle(place).terminate('by an operator'),
    );
  }

  async #junk(): Promise<void> {
    const args = Array.from({ length: Math.floor(this.#random() * 3) }, () => this.#pick(junk));
    const told = JSON.stringify(args).slice(0, 120);
    if (this.#random() < 0.6) {
      const name = this.#pick(signalNames);
      // Without a payload some of them are orders.
      if (!bare.has(name) && args.length > 0)
        await this.#send(`signal ${name} ${told}`, () => this.#run.signal(name, ...args));
      return;
    }
    const name = this.#pick(updateNames);
    if (name === 'pause' || (name === 'rollback' && (args[0] ?? undefined) === undefined)) return;
    await this.#send(`update ${name} ${told}`, () => this.#run.order(name, ...args));
  }

  async #gap(): Promise<void> {
    if (!this.#stores.capture) return;
    this.#say('capture has a gap');
    this.#stores.gap = { kind: 'history_lost', detail: 'by chance', collection: null, openedAt: '1.1' };
    await this.#tellCapture();
  }

  /** As change capture would. */
  #tellCapture(): Promise<void> {
    const { kind, detail } = this.#stores.gap ?? {};
    const gap = kind === undefined ? null : { kind, detail };
    return this.#run.signal('captureProgress', { position: '1.1', lagMs: 0, gap }).catch(() => undefined);
  }

  async #sensible(): Promise<void> {
    const percentage = this.#pick([0, 0, 5, 10, 50, 100]);
    const to = this.#pick(['old', 'old', 'preparation', 'schema', 'data', 'first', 'half', 'writes', undefined]);
    const waits = (await this.#status())?.waitingFor?.match(/"gate": "(\w+)"/)?.[1];
    const [name, payload] = this.#pick<readonly [string, unknown?]>([
      ['pause'],
      ['resume'],
      ['resume'],
      ['retry'],
      ['retry'],
      ['retry'],
      ['approve', { gate: waits ?? this.#pick(['half', 'rollback']) }],
      ['approve', { gate: waits ?? 'half' }],
      ['advanceStage'],
      ['advanceStage'],
      ['advanceStage'],
      ['setCutoverPercentage', { percentage }],
      ['setCutoverPercentage', { percentage, collection: this.#pick(collections) }],
      ['rollback', { ...(to !== undefined && { to }), reason: 'by chance' }],
      ['rollback', { to: 'old', reason: 'by chance' }],
      ['abort', { reason: 'by chance' }],
      ['reportIncident', { kind: 'data_corruption', detail: '' }],
    ]);
    const told = payload === undefined ? '' : ` ${JSON.stringify(payload)}`;
    const args = payload === undefined ? [] : [payload];
    const asUpdate = this.#random() < 0.6;
    await this.#send(`${asUpdate ? 'update' : 'signal'} ${name}${told}`, () =>
      asUpdate ? this.#run.order(name, ...args) : this.#run.signal(name, ...args),
    );
  }

  /** Sent, and not waited for longer than a moment: what comes next may meet it under way. */
  async #send(what: string, order: () => Promise<unknown>): Promise<void> {
    this.#say(`${what}   (${this.#seen})`);
    this.#account.orders++;
    const where = `${what.split(' ').slice(0, 2).join(' ')} @ ${this.#seen}`;
    this.#account.coverage.set(where, (this.#account.coverage.get(where) ?? 0) + 1);
    const sent = order().then(
      () => undefined,
      (error: unknown) => this.#judgeAnswer(what, error),
    );
    this.#pending.add(sent);
    void sent.finally(() => this.#pending.delete(sent));
    await Promise.race([sent, sleep(this.#random() < 0.8 ? 30 : 700)]);
  }

  #judgeAnswer(what: string, error: unknown): void {
    const text = answerOf(error);
    if (text === undefined) return;
    this.#account.findings.push(`${what} was answered with: ${text}`);
  }

  /** What `status` advises leads to the end, or back to the old system. */
  async #leadOut(way: 'forward' | 'back'): Promise<void> {
    this.#say(`from here ${way}`);
    const until = Date.now() + 90_000;
    let seen = '';
    while (Date.now() < until) {
      const done = await this.#step(way);
      if (done) return;
      seen = this.#said.at(-1) ?? '';
      await sleep(150);
    }
    const status = await this.#status();
    this.#account.findings.push(
      `no order led ${way} within 90 s: ${JSON.stringify({ ...status, collections: undefined, refused: status?.refused.slice(-2) })}; ${JSON.stringify(this.#stores.known)}; last ${seen}`,
    );
  }

  async #step(way: 'forward' | 'back'): Promise<boolean> {
    const stores = this.#stores;
    const description = await this.#run
      .handle()
      .describe()
      .catch(() => undefined);
    const tell = async (what: string, order: () => Promise<unknown>) => {
      this.#say(`  ${what}   (${this.#seen})`);
      await Promise.race([order().catch((error: unknown) => this.#judgeAnswer(what, error)), sleep(8000)]);
    };
    if (description?.status.name !== 'RUNNING') {
      if (stores.isClean) return true;
      if (
        stores.standing?.completed &&
        !stores.standing.undoing &&
        way === 'forward' &&
        stores.standing.phase === 'cutover'
      )
        return true;
      if (stores.standing?.completed && counts(stores.authority)) {
        // As `causeway rollback` does where no root runs.
        await tell('rollback without a root', () => this.#undoEnded());
        return stores.isClean;
      }
      await tell('start', () => this.#begins('cutover'));
      return false;
    }
    if (stores.gap) {
      stores.gap = null;
      this.#say('  repair');
    }
    await this.#tellCapture();
    const status = await this.#status();
    if (!status || isOver(status.state)) return false;
    const { state, waitingFor } = status;
    if (state === 'parked' && (waitingFor === 'retry' || way === 'forward'))
      await tell('retry', () => this.#run.order('retry'));
    else if (way === 'back' && state !== 'compensating')
      await tell('abort', () => this.#run.order('abort', { reason: 'the way out' }));
    else if (state === 'paused') await tell('resume', () => this.#run.order('resume'));
    else if (way === 'forward' && state === 'running') {
      const gate = waitingFor?.match(/"gate": "(\w+)"/)?.[1];
      if (gate !== undefined) await tell(`approve ${gate}`, () => this.#run.order('approve', { gate }));
      else if (status.phase === 'cutover') await tell('advanceStage', () => this.#run.order('advanceStage'));
    }
    return false;
  }

  async #undoEnded(): Promise<void> {
    const read = readSettings({ stages });
    const { settings } = read as Exclude<typeof read, { problems: unknown }>;
    const steps = [...(this.#stores.standing?.undo ?? [])].reverse();
    await this.#run.client.workflow.execute('rollback', {
      workflowId: `${this.#run.handle().workflowId}/rollback`,
      taskQueue: this.#run.queue,
      args: [this.#run.name, steps, settings],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
  }

  /** Nothing has failed but what must not be begun; what failed failed for a reason, and not by a defect. */
  async #judgeWorkflows(): Promise<void> {
    const { findings } = this.#account;
    for (const { workflowId, runId, status } of await this.#run.executions()) {
      if (status !== 'FAILED') continue;
      const reason = await this.#run.client.workflow
        .getHandle(workflowId, runId)
        .result()
        .then(
          () => ({ type: '', message: '' }),
          (error: unknown) => ({
            type: String((error as { cause?: { type?: unknown } }).cause?.type ?? ''),
            message: error instanceof WorkflowFailedError ? (error.cause?.message ?? '') : String(error),
          }),
        );
      const isRoot = workflowId === this.#run.handle().workflowId;
      const defect = /TypeError|ReferenceError|RangeError|Nondeterminism|IllegalState/.test(reason.type);
      const byChance = /by chance|undefined is not a function/.test(reason.message);
      if ((isRoot && reason.type !== 'StartRefused') || (defect && !byChance))
        findings.push(`${workflowId} failed with ${reason.type}: ${reason.message}`);
    }
  }

  /** Nothing runs on into the next round. */
  async end(): Promise<void> {
    await this.#run.end();
    await Promise.race([Promise.all(this.#pending), sleep(2000)]);
  }
}

/** undefined: an answer that says what is the matter. */
function answerOf(error: unknown): string | undefined {
  if (error instanceof WorkflowNotFoundError) return undefined;
  if (error instanceof WorkflowUpdateFailedError) {
    const { message = '', type = '' } = (error.cause ?? {}) as { message?: string; type?: string };
    if (type === 'OrderRefused' && message.length > 10 && message.length < 1500) return undefined;
    if (/No registered handler for update/.test(message)) return undefined;
    // The root ended, or was terminated, before the order was carried out.
    if (type === 'AcceptedUpdateCompletedWorkflow') return undefined;
    return `${type}: ${message}`;
  }
  const text = `${(error as Error).name}: ${(error as Error).message} ${String((error as { cause?: { details?: string } }).cause?.details ?? '')}`;
  return /closed|already completed|NOT_FOUND|not found|terminated|deadline|CANCELLED|cancelled/i.test(text)
    ? undefined
    : text;
}
