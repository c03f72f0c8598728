// Those that have nothing to do look together whether something has come: one small question of a process, instead of a transaction of each.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

const idleMs = 40;
/** Whoever waits looks for itself this often: others may have taken over from it, or ended it, ms. */
const wholeLookMs = 500;

/** One for each pool, shared by the lanes of a process. */
export class Arrivals {
  readonly #postgres: pg.Pool;
  readonly #waiting = new Map<number, Set<() => void>>();
  #isAsking = false;

  private constructor(postgres: pg.Pool) {
    this.#postgres = postgres;
  }

  static readonly #of = new WeakMap<pg.Pool, Arrivals>();
  static of(postgres: pg.Pool): Arrivals {
    const found = Arrivals.#of.get(postgres) ?? new Arrivals(postgres);
    Arrivals.#of.set(postgres, found);
    return found;
  }

  /** Until changes wait for the lane, PostgreSQL cannot be asked, or `wholeLookMs` have passed. Never throws. */
  async forLane(lane: number): Promise<void> {
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    const those = this.#waiting.get(lane) ?? new Set();
    this.#waiting.set(lane, those.add(wake));
    const over = new AbortController();
    if (!this.#isAsking) void this.#ask();
    try {
      await Promise.race([woken, sleep(wholeLookMs, undefined, { signal: over.signal })]);
    } finally {
      over.abort();
      those.delete(wake);
      if (those.size === 0 && this.#waiting.get(lane) === those) this.#waiting.delete(lane);
    }
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    while (this.#waiting.size > 0) {
      await sleep(idleMs);
      const lanes = [...this.#waiting.keys()];
      if (lanes.length === 0) break;
      const there = await this.#postgres
        .query<{ lane: number }>(
          'select lane from unnest($1::int[]) lane where exists (select 1 from migration_control.captured c where c.lane = lane.lane)',
          [lanes],
        )
        // They meet the failure themselves, and wait as is right for it.
        .then(({ rows }) => rows.map((row) => row.lane))
        .catch(() => lanes);
      for (const lane of there) for (const wake of this.#waiting.get(lane) ?? []) wake();
    }
    this.#isAsking = false;
  }
}
