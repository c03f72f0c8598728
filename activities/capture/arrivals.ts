// Those that have nothing to do look together whether something has come: one small question of a process, instead of a transaction of each.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

const idleMs = 40;
/** Whoever waits looks for itself this often, whatever this question may have missed, ms. */
const wholeLookMs = 1000;

interface Waiting {
  readonly epoch: number;
  readonly wakes: Set<() => void>;
}

/** One for each pool, shared by the lanes of a process. */
export class Arrivals {
  readonly #postgres: pg.Pool;
  readonly #waiting = new Map<number, Waiting>();
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

  /** Until changes wait for the lane, it is not held in this epoch any more, PostgreSQL cannot be asked, or `wholeLookMs` have passed. Never throws. */
  async forLane(lane: number, epoch: number): Promise<void> {
    let wake: () => void = () => undefined;
    const woken = new Promise<void>((resolve) => (wake = resolve));
    const before = this.#waiting.get(lane);
    const those = before?.epoch === epoch ? before : { epoch, wakes: new Set<() => void>() };
    // Who waits in an earlier epoch has lost the lane.
    if (before !== those) for (const lost of before?.wakes ?? []) lost();
    those.wakes.add(wake);
    this.#waiting.set(lane, those);
    const over = new AbortController();
    if (!this.#isAsking) void this.#ask();
    try {
      await Promise.race([woken, sleep(wholeLookMs, undefined, { signal: over.signal })]);
    } finally {
      over.abort();
      those.wakes.delete(wake);
      if (those.wakes.size === 0 && this.#waiting.get(lane) === those) this.#waiting.delete(lane);
    }
  }

  async #ask(): Promise<void> {
    this.#isAsking = true;
    while (this.#waiting.size > 0) {
      await sleep(idleMs);
      const asked = [...this.#waiting];
      if (asked.length === 0) break;
      const lanes = asked.map(([lane]) => lane);
      const there = await this.#postgres
        .query<{ lane: number }>(
          `select w.lane from unnest($1::int[], $2::bigint[]) w (lane, epoch)
           where exists (select 1 from migration_control.captured c where c.lane = w.lane)
              or not exists (select 1 from migration_control.capture_position p where p.lane = w.lane and p.epoch = w.epoch)`,
          [lanes, asked.map(([, { epoch }]) => epoch)],
        )
        // They meet the failure themselves, and wait as is right for it.
        .then(({ rows }) => rows.map((row) => row.lane))
        .catch(() => lanes);
      for (const lane of there) for (const wake of this.#waiting.get(lane)?.wakes ?? []) wake();
    }
    this.#isAsking = false;
  }
}
