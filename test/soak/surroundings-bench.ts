// One migration's stores, reached twice: as they are, and over lines that do something wrong with one request; and what is judged of it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Resources } from '../../activities/resources.ts';
import { openResources } from '../../activities/resources.ts';
import { asFailure } from '../../activities/failing.ts';
import { notAppliedRule, refusedRule } from '../../core/quarantine.ts';
import { checkEqual } from '../support/checker.ts';
import { FaultyDisk } from '../support/faulty-disk.ts';
import { FaultyLine } from '../support/faulty-line.ts';
import type { World } from '../support/world.ts';
import {
  places,
  planText,
  stores,
  type AnyFault,
  type Place,
  type Plans,
  type Sort,
  type Store,
} from './surroundings-plans.ts';

const variables: Record<Store, string> = {
  source: 'SOURCE_MONGODB_URL',
  postgres: 'TARGET_POSTGRES_URL',
  mongodb: 'TARGET_MONGODB_URL',
  redis: 'TARGET_REDIS_URL',
};
const protocols = { source: 'mongodb', postgres: 'postgres', mongodb: 'mongodb', redis: 'redis' } as const;

/** Longer than any time-out of the product for one request. */
const hangsAfterMs = 90_000;
/** How often a step may fail though nothing was done to it since it failed before: what went wrong may have its effect later. */
const attempts = 12;
/** A connection that owes an answer for so long is gone, ms: far less than the product has. */
const silentMs = { postgres: 400, others: 1500 };

export class Bench {
  readonly world: World;
  readonly lines: Readonly<Record<Store, FaultyLine>>;
  readonly disk: FaultyDisk;
  readonly clean: Resources;
  readonly faulty: Resources;
  readonly findings: string[] = [];
  /** What is going on, for a finding. */
  at = '';
  stepName = '';
  calls = 0;
  faulted = 0;
  /** Calls of the round that ended last. */
  asked = 0;
  #plans: Plans | undefined;
  /** Attempts that failed, by the class of their failure. */
  readonly failures = new Map<string, number>();

  private constructor(world: World, lines: Readonly<Record<Store, FaultyLine>>, clean: Resources, faulty: Resources) {
    this.world = world;
    this.lines = lines;
    this.disk = new FaultyDisk(world.home);
    this.clean = clean;
    this.faulty = faulty;
  }

  static async open(world: World): Promise<Bench> {
    const lines = {} as Record<Store, FaultyLine>;
    for (const store of stores)
      lines[store] = await FaultyLine.open(protocols[store], world.environment[variables[store]]!);
    const faulty = await openResources(
      {
        source: lines.source.url,
        postgres: lines.postgres.url,
        mongodb: lines.mongodb.url,
        redis: lines.redis.url,
      },
      world.home,
      { host: 'bench', process: 'bench', silentMs },
    );
    return new Bench(world, lines, await world.resources('bench'), faulty);
  }

  async close(): Promise<void> {
    await this.faulty.close();
    await this.clean.close();
    for (const line of Object.values(this.lines)) await line.close();
    this.disk.close();
  }

  /** From now on lines and disk do what the plans say. */
  plan(plans: Plans, sort?: Sort): void {
    this.#plans = plans;
    plans.begin(sort);
    for (const place of places)
      this.#at(place).watch((({ what }: { readonly what: string }): AnyFault | undefined =>
        plans.meet(place, what)) as never);
  }

  #at(place: Place): FaultyLine | FaultyDisk {
    return place === 'disk' ? this.disk : this.lines[place];
  }

  /** Ends what the plans began; returns how many came to their call. */
  settle(): number {
    let fired = 0;
    this.asked = 0;
    for (const line of places.map((place) => this.#at(place))) {
      this.asked += line.asked.length;
      fired += line.done.length;
      line.release();
      line.watch();
    }
    this.calls += this.asked;
    this.faulted += fired;
    return fired;
  }

  /** Faults of this round so far. */
  get provoked(): number {
    return this.#plans?.fired.length ?? 0;
  }

  /**
   * Runs a step as its activity is run: what fails is classified, and tried again if that may help. A failure that nobody would try again, a defect,
   * or a step that hangs, is a finding. `expected`: what somebody else answers to.
   */
  async step<T>(what: string, work: () => Promise<T>, expected: readonly string[] = []): Promise<T> {
    let provoked = -1;
    let alone = 0;
    for (;;) {
      try {
        return await within(hangsAfterMs, work());
      } catch (error) {
        if (error instanceof Hanging) {
          this.find(`${what} hangs`);
          throw error;
        }
        const failure = asFailure(error) as { type?: string; message: string; nonRetryable?: boolean };
        const type = failure.type ?? 'unknown';
        this.failures.set(type, (this.failures.get(type) ?? 0) + 1);
        if (failure.nonRetryable && expected.includes(type)) throw error;
        if (type === 'Defect' || failure.nonRetryable === true) {
          this.find(
            `${what} fails with ${type}: ${failure.message} ${(error as Error).stack?.split('\n').slice(1, 4).join(' | ') ?? ''}`,
          );
          throw error;
        }
        alone = this.provoked === provoked ? alone + 1 : 0;
        provoked = this.provoked;
        if (alone === attempts) {
          this.find(`${what} still fails at attempt ${alone} after the last fault: ${type}: ${failure.message}`);
          throw error;
        }
        await sleep(Math.min(100 * (alone + 1), 1000));
      }
    }
  }

  find(what: string): void {
    const fired = this.#plans?.fired ?? [];
    const line = `${this.at}: ${what}`;
    this.findings.push(line);
    process.stdout.write(
      `  FOUND ${line}\n${fired.map((plan) => `    ${planText(plan)}  ${this.#plans!.describe(plan.kind)}\n`).join('')}    again: --plan '${this.stepName}=${fired.map(planText).join(',')}'\n`,
    );
  }

  /** Documents that stand aside though nothing is wrong with them: those of a step that took a fault of the surroundings for one of theirs. */
  async aside(): Promise<void> {
    const rows = await this.world.rows<{ source_id: string; rule: string }>(
      'select source_id, rule from migration_control.ledger where rule = any($1) and not deleted',
      [[notAppliedRule, refusedRule]],
    );
    for (const { source_id: id, rule } of rows) this.find(`${id} stands aside by the rule ${rule}`);
  }

  /** Documents that differ, and go on doing so. */
  async differences(patienceMs = 30_000): Promise<void> {
    const look = () => checkEqual(this.world.environment as never);
    let found = await look();
    for (const until = Date.now() + patienceMs; found.length > 0 && Date.now() < until;) {
      await sleep(1000);
      found = await look();
    }
    for (const one of found.slice(0, 5)) this.find(`differs: ${JSON.stringify(one)}`);
  }
}

export class Hanging extends Error {}

export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Hanging(`took more than ${ms} ms`)), ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
