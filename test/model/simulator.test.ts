// Many documents, copies, lanes, dual writers, crashes and late writes in random order: when all has arrived the target is the source.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { newestPerKey, numbered, versionOfRead, written, type Held, type Version } from '../../core/guard.ts';

interface Event {
  readonly key: string;
  readonly version: Version;
  readonly value: number | undefined;
}
type Guard = typeof written<number>;

const keys = ['a', 'b', 'c'];
/** What may happen next; numbers choose among what is there. */
type Step =
  | { readonly do: 'write'; readonly writes: readonly { readonly key: number; readonly remove: boolean }[] }
  | { readonly do: 'copy' | 'dual' | 'redo'; readonly key: number }
  | { readonly do: 'deliver'; readonly which: number; readonly again: boolean }
  | { readonly do: 'lane'; readonly most: number; readonly looksUp: boolean }
  | { readonly do: 'save' | 'crash' };

const key = fc.nat({ max: keys.length - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      writes: fc.array(fc.record({ key, remove: fc.boolean() }), { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('copy' as const, 'dual' as const, 'redo' as const), key }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('deliver' as const), which: fc.nat(), again: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('lane' as const),
      most: fc.integer({ min: 1, max: 4 }),
      looksUp: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('save' as const, 'crash' as const) }) },
);

class Simulation {
  readonly #guard: Guard;
  readonly #source = new Map<string, number>();
  readonly #target = new Map<string, Held<number>>();
  readonly #log: Event[] = [];
  /** Writes on their way: of copies, dual writers and zombies alike. Any may arrive late, twice, or after a crash of its sender. */
  #pending: Event[] = [];
  #time = 0n;
  #last: Version | undefined;
  #at = 0;
  #saved = 0;
  #number = 0;

  constructor(guard: Guard) {
    this.#guard = guard;
    for (const one of keys) this.#source.set(one, 0);
  }

  take(one: Step): void {
    switch (one.do) {
      case 'write':
        this.#time++;
        for (const { key: n, remove } of one.writes) this.#write(keys[n]!, remove);
        break;
      case 'copy':
      case 'dual':
      case 'redo': {
        // The stamp first, then the read: what is read may be newer than the stamp says, never older.
        const id = keys[one.key]!;
        this.#pending.push({ key: id, version: versionOfRead(this.#time), value: this.#source.get(id) });
        break;
      }
      case 'deliver': {
        if (this.#pending.length === 0) break;
        const at = one.which % this.#pending.length;
        this.#apply(this.#pending[at]!);
        if (!one.again) this.#pending.splice(at, 1);
        break;
      }
      case 'lane':
        this.#lane(one.most, one.looksUp);
        break;
      case 'save':
        this.#saved = this.#at;
        break;
      case 'crash':
        this.#at = this.#saved;
        break;
    }
  }

  /** Everything arrives, the late ones last; a chunk is read at least once. */
  finish(): void {
    for (const id of keys) this.#pending.unshift({ key: id, version: versionOfRead(0n), value: 0 });
    this.#lane(this.#log.length, false);
    for (const one of this.#pending) this.#apply(one);
  }

  differences(): string[] {
    return keys.filter((id) => this.#source.get(id) !== this.#target.get(id)?.content);
  }

  #write(id: string, remove: boolean): void {
    if (remove && !this.#source.has(id)) return;
    this.#last = numbered(this.#last, this.#time);
    if (remove) this.#source.delete(id);
    else this.#source.set(id, ++this.#number);
    this.#log.push({ key: id, version: this.#last, value: this.#source.get(id) });
  }

  #lane(most: number, looksUp: boolean): void {
    const batch = this.#log.slice(this.#at, this.#at + most);
    this.#at += batch.length;
    for (const event of newestPerKey(batch)) {
      const gone = looksUp && event.value !== undefined && !this.#source.has(event.key);
      const value = looksUp && event.value !== undefined ? this.#source.get(event.key) : event.value;
      if (!gone) this.#apply({ ...event, value });
    }
  }

  #apply({ key: id, version, value }: Event): void {
    this.#target.set(id, this.#guard(this.#target.get(id), { version, content: value }));
  }
}

const converges = (guard: Guard) =>
  fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const simulation = new Simulation(guard);
    for (const one of steps) simulation.take(one);
    simulation.finish();
    return simulation.differences().length === 0;
  });

test('whatever the order, the target ends as the source', () => {
  fc.assert(converges(written), { numRuns: 20_000, seed: 42 });
  fc.assert(converges(written), { numRuns: 5_000 });
});

test.each<[string, Guard]>([
  ['the last to arrive wins', (_, write) => write],
  ['cluster time alone decides', (held, write) => (held && write.version.time <= held.version.time ? held : write)],
  ['tombstones are not kept', (held, write) => (held?.content === undefined ? write : written(held, write))],
])('the same property finds the defect: %s', (_, guard) => {
  expect(fc.check(converges(guard), { numRuns: 20_000, seed: 42 }).failed).toBe(true);
});
