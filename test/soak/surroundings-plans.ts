// Which calls of a step fare ill, and how. Calls of one kind (one statement, one command on one collection, one sort of file) are represented by one of
// them, which the seed chooses; one round of a step takes several faults, with calls between that fare well.
import { createHash } from 'node:crypto';
import { type DiskFault } from '../support/faulty-disk.ts';
import { faults, loudFaults, type Fault } from '../support/faulty-line.ts';

export const stores = ['source', 'postgres', 'mongodb', 'redis'] as const;
export type Store = (typeof stores)[number];
/** Whatever the steps call. */
export const places = [...stores, 'disk'] as const;
export type Place = (typeof places)[number];
export type AnyFault = Fault | DiskFault;

/** What is done wrong: with the call of this kind, when it is the `nth` of its round or a later one. */
export interface Plan {
  readonly kind: string;
  readonly nth: number;
  readonly fault: AnyFault;
}

interface Kind {
  readonly place: Place;
  readonly what: string;
  /** In the round that runs. */
  seen: number;
}

const quietFaults = new Set<AnyFault>(faults.filter((fault) => !(loudFaults as readonly string[]).includes(fault)));
/** Faults of one round, at most. Of those of the second sort a client learns by its own time-outs. */
const most = { loud: 16, quiet: 3, replay: Infinity } as const;
export type Sort = keyof typeof most;
/** A change stream waits long, and after a silence in which nothing came ten minutes (decision 0040): one such fault for each step. */
const isStream = ({ place, what }: Kind): boolean => place === 'source' && /^(aggregate|getMore) 1/.test(what);

export const planText = ({ kind, nth, fault }: Plan): string => `${kind}@${nth}:${fault.replace(' ', '_')}`;

/** As `planText` writes them, with commas between. */
export function readPlans(text: string): Plan[] {
  return text.split(',').map((one) => {
    const found = /^(\w+#\w+)@(\d+):([\w-]+)$/.exec(one.trim());
    if (!found) throw new TypeError(`no plan: ${one}`);
    return { kind: found[1]!, nth: Number(found[2]), fault: found[3]!.replace('_', ' ') as AnyFault };
  });
}

/** The plans of one step, and which of them have come to their call. */
export class Plans {
  readonly #random: () => number;
  readonly #disk: readonly DiskFault[];
  readonly #kinds = new Map<string, Kind>();
  readonly #waiting = new Map<string, Plan[]>();
  #sort: Sort | undefined;
  /** Of a round without faults. */
  #calls = 0;
  #apart = 0;
  #hasStream = false;
  /** Of the round that runs. */
  fired: Plan[] = [];
  /** Of all rounds. */
  tried = 0;
  all = 0;

  /** `disk`: what may go wrong with a file. */
  constructor(random: () => number, disk: readonly DiskFault[] = []) {
    this.#random = random;
    this.#disk = disk;
  }

  get kinds(): number {
    return this.#kinds.size;
  }

  hasLeft(sort: 'loud' | 'quiet'): boolean {
    return [...this.#waiting.values()].flat().some(({ fault }) => quietFaults.has(fault) === (sort === 'quiet'));
  }

  /** What a call of this round is given. */
  meet(place: Place, what: string): AnyFault | undefined {
    const id = `${place}#${createHash('sha1').update(what).digest('hex').slice(0, 8)}`;
    let kind = this.#kinds.get(id);
    if (!kind) {
      this.#kinds.set(id, (kind = { place, what, seen: 0 }));
      // Calls that are made only after a fault are met late: they have their turn at once.
      if (this.#sort === 'loud' || this.#sort === 'quiet') this.#plan(id, kind);
    }
    kind.seen++;
    if (!this.#sort || this.fired.length >= most[this.#sort] || --this.#apart > 0) return undefined;
    const waiting = this.#waiting.get(id) ?? [];
    const at = waiting.findIndex((plan) => plan.nth <= kind.seen && this.#mayBe(plan, kind));
    if (at < 0) return undefined;
    const [plan] = waiting.splice(at, 1);
    if (waiting.length === 0) this.#waiting.delete(id);
    this.fired.push({ ...plan!, nth: kind.seen });
    this.tried++;
    this.#keepApart();
    if (quietFaults.has(plan!.fault)) this.#hasStream ||= isStream(kind);
    return plan!.fault;
  }

  /** From now on calls are counted anew. Without a sort none fares ill; `replay`: whatever is due. */
  begin(sort: Sort | undefined): void {
    for (const kind of this.#kinds.values()) kind.seen = 0;
    this.fired = [];
    this.#sort = sort;
    this.#keepApart();
  }

  /** After a round without faults, which had so many calls: all that it has met. */
  plan(calls: number): void {
    this.#calls = calls;
    for (const [id, kind] of this.#kinds) this.#plan(id, kind);
  }

  /** Only these, wherever they stand among the calls. */
  only(plans: readonly Plan[]): void {
    this.#waiting.clear();
    for (const plan of plans) this.#waiting.set(plan.kind, [...(this.#waiting.get(plan.kind) ?? []), plan]);
  }

  /** What has not come to its call takes the first of its kind. */
  takeFirst(): void {
    for (const [id, plans] of this.#waiting)
      this.#waiting.set(
        id,
        plans.map((plan) => ({ ...plan, nth: 1 })),
      );
  }

  describe(kind: string): string {
    return this.#kinds.get(kind)?.what ?? '';
  }

  #plan(id: string, { place, seen }: Kind): void {
    const those = place === 'disk' ? this.#disk : faults;
    if (those.length === 0) return;
    this.all += those.length;
    const shuffled = those.map((fault) => ({ fault, at: this.#random() })).sort((a, b) => a.at - b.at);
    const nth = () => 1 + Math.floor(this.#random() * Math.max(seen, 1));
    this.#waiting.set(
      id,
      shuffled.map(({ fault }) => ({ kind: id, nth: nth(), fault })),
    );
  }

  #mayBe({ fault }: Plan, kind: Kind): boolean {
    if (this.#sort === 'replay') return true;
    const isQuiet = quietFaults.has(fault);
    return isQuiet === (this.#sort === 'quiet') && !(isQuiet && this.#hasStream && isStream(kind));
  }

  /** Spread over all the calls of a round. */
  #keepApart(): void {
    if (this.#sort) this.#apart = Math.floor(this.#random() * Math.max((2 * this.#calls) / most[this.#sort], 8));
  }
}
