// One migration's stores, reached twice: as they are, and over lines that do something wrong with one request; and what is judged of it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Resources } from '../../activities/resources.ts';
import { openResources } from '../../activities/resources.ts';
import { asFailure } from '../../activities/failing.ts';
import { checkEqual } from '../support/checker.ts';
import { FaultyDisk, type DiskFault } from '../support/faulty-disk.ts';
import { FaultyLine, type Fault } from '../support/faulty-line.ts';
import type { World } from '../support/world.ts';

export const stores = ['source', 'postgres', 'mongodb', 'redis'] as const;
export type Store = (typeof stores)[number];

const variables: Record<Store, string> = {
  source: 'SOURCE_MONGODB_URL',
  postgres: 'TARGET_POSTGRES_URL',
  mongodb: 'TARGET_MONGODB_URL',
  redis: 'TARGET_REDIS_URL',
};
const protocols = { source: 'mongodb', postgres: 'postgres', mongodb: 'mongodb', redis: 'redis' } as const;

/** Whatever the steps call. */
export const places = [...stores, 'disk'] as const;
export type Place = (typeof places)[number];

/** What is done wrong: with the call of this number to this place. */
export interface Plan {
  readonly store: Place;
  readonly number: number;
  readonly fault: Fault | DiskFault;
}

export const planText = ({ store, number, fault }: Plan): string => `${store} ${number} ${fault}`;

/** Longer than any time-out of the product for one request. */
const hangsAfterMs = 90_000;
/** As often as the workflows' policies try a step again, and more than one fault may need. */
const attempts = 8;

export class Bench {
  readonly world: World;
  readonly lines: Readonly<Record<Store, FaultyLine>>;
  readonly disk: FaultyDisk;
  readonly clean: Resources;
  readonly faulty: Resources;
  readonly findings: string[] = [];
  /** What is going on, for a finding. */
  at = '';
  calls = 0;
  faulted = 0;
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
      { host: 'bench', process: 'bench' },
    );
    return new Bench(world, lines, await world.resources('bench'), faulty);
  }

  async close(): Promise<void> {
    await this.faulty.close();
    await this.clean.close();
    for (const line of Object.values(this.lines)) await line.close();
    this.disk.close();
  }

  /** Lines do this, and nothing else, from now on. */
  plan(plan: Plan | undefined): void {
    for (const place of places) {
      const decide = ({ number }: { number: number }) =>
        plan?.store === place && number === plan.number ? plan.fault : undefined;
      this.#at(place).watch(decide as never);
    }
  }

  /** Requests since the plan was made. */
  asked(): Record<Place, number> {
    return Object.fromEntries(places.map((place) => [place, this.#at(place).asked.length])) as Record<Place, number>;
  }

  #at(place: Place): FaultyLine | FaultyDisk {
    return place === 'disk' ? this.disk : this.lines[place];
  }

  /** Ends what a plan began; returns whether it came to it. */
  settle(): boolean {
    let fired = false;
    for (const line of places.map((place) => this.#at(place))) {
      this.calls += line.asked.length;
      this.faulted += line.done.length;
      fired ||= line.done.length > 0;
      line.release();
      line.watch();
    }
    return fired;
  }

  /**
   * Runs a step as its activity is run: what fails is classified, and tried again if that may help. A failure that nobody would try again, a defect,
   * or a step that hangs, is a finding.
   */
  async step<T>(what: string, work: () => Promise<T>, expected: readonly string[] = []): Promise<T> {
    for (let attempt = 1; ; attempt++) {
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
        const mayBe = expected.includes(type);
        if (mayBe && failure.nonRetryable) throw error;
        if (type === 'Defect' || failure.nonRetryable === true) {
          this.find(
            `${what} fails with ${type}: ${failure.message} ${(error as Error).stack?.split('\n').slice(1, 4).join(' | ') ?? ''}`,
          );
          throw error;
        }
        if (attempt === attempts) {
          this.find(`${what} still fails at attempt ${attempt}: ${type}: ${failure.message}`);
          throw error;
        }
        await sleep(100 * attempt);
      }
    }
  }

  find(what: string): void {
    const line = `${this.at}: ${what}`;
    this.findings.push(line);
    process.stdout.write(`  FOUND ${line}\n`);
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
