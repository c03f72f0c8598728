// Shadow reads: the same read on the other side, behind the answer, compared after normalisation. A difference is a finding, never a failure.
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { ShadowClass, TrafficMetrics } from './metrics.ts';
import type { Side } from './router.ts';

/** The same read on either side. */
export interface Sides<T> {
  readonly old: () => Promise<T>;
  readonly new: () => Promise<T>;
}

export interface ShadowOptions {
  /** Share of the reads that run on both sides, 0 to 1. Default 0.01. */
  readonly rate?: number;
  /** Shadow reads at the same time; those beyond are left out. Default 4. */
  readonly concurrency?: number;
  /** Default 2000. */
  readonly timeoutMs?: number;
  /** A difference is looked at again after each of these, ms. Default 300 and 2000. */
  readonly recheckMs?: readonly number[];
  /** What of an answer is compared: order, types and fields that may differ are evened out here. */
  readonly normalise?: (answer: unknown, collection: string, side: Side) => unknown;
  /** Whether a difference is as it should be. Gets what `normalise` returned. */
  readonly expected?: (old: unknown, fresh: unknown, collection: string) => boolean;
  /** The source's clock up to which the new side has every change, ms; a later read may differ. undefined: nobody knows. */
  readonly capturedUntil?: () => Promise<number | undefined>;
  /** Told of every shadow read that was compared: what and how, never the answers. What it throws is ignored. */
  readonly onShadow?: (finding: ShadowFinding) => void;
}

export interface ShadowFinding {
  readonly collection: string;
  readonly class: ShadowClass;
}

/** What one side did: an answer, normalised, or none. */
interface Observation {
  readonly ms: number;
  readonly answer?: { readonly value: unknown };
}

/** So many pairs of the old side with itself come before anything else; afterwards one of so many. */
const calibrationPairs = 50;
const calibrationEvery = 10;

export class ShadowReads {
  readonly #metrics: TrafficMetrics;
  readonly #options: ShadowOptions;
  readonly #concurrency: number;
  readonly #timeoutMs: number;
  /** Sampled reads answered by the old side, by collection. */
  readonly #sampled = new Map<string, number>();
  #running = 0;
  /** Reads left alone after the time-out that have not come back: they hold a connection of the application. */
  #hanging = 0;

  constructor(metrics: TrafficMetrics, options: ShadowOptions) {
    this.#metrics = metrics;
    this.#options = options;
    this.#concurrency = options.concurrency ?? 4;
    this.#timeoutMs = options.timeoutMs ?? 2000;
  }

  wanted(): boolean {
    return Math.random() < (this.#options.rate ?? 0.01);
  }

  /** Starts what runs behind `answer`, which `side` gave after `ms`. Returns at once, and nothing of it ever reaches the caller. */
  follow<T>(collection: string, side: Side, sides: Sides<T>, ms: number, answer: T): void {
    if (this.#running + this.#hanging >= this.#concurrency)
      return this.#metrics.countShadow(collection, side, 'skipped');
    this.#running++;
    void this.#run(collection, side, sides, ms, answer).finally(() => this.#running--);
  }

  async #run<T>(collection: string, side: Side, sides: Sides<T>, ms: number, answer: T): Promise<void> {
    try {
      // Before anything else runs: the caller may change what it was given.
      const first: Observation = { ms, answer: { value: this.#normal(answer, collection, side) } };
      if (this.#isCalibration(collection, side)) await this.#calibrate(collection, sides, first);
      else await this.#compare(collection, side, sides, first);
    } catch {
      this.#tell(collection, side, 'failed');
    }
  }

  /** Only where the old side has answered: it is what noise is measured on. */
  #isCalibration(collection: string, side: Side): boolean {
    if (side !== 'old') return false;
    const n = this.#sampled.get(collection) ?? 0;
    if (this.#sampled.size < 200 || this.#sampled.has(collection)) this.#sampled.set(collection, n + 1);
    return n < calibrationPairs || n % calibrationEvery === 0;
  }

  async #calibrate<T>(collection: string, sides: Sides<T>, first: Observation): Promise<void> {
    const second = await this.#observe(collection, 'old', sides);
    if (second.answer) this.#metrics.countPair(collection, 'old', 'noise', second.ms, first.ms);
  }

  async #compare<T>(collection: string, side: Side, sides: Sides<T>, first: Observation): Promise<void> {
    const started = Date.now() - first.ms;
    const other: Side = side === 'old' ? 'new' : 'old';
    const second = await this.#observe(collection, other, sides);
    const [old, fresh] = side === 'old' ? [first, second] : [second, first];
    // One that timed out took at least as long.
    if (second.answer || second.ms >= this.#timeoutMs)
      this.#metrics.countPair(collection, side, 'ratios', fresh.ms, old.ms);
    this.#tell(collection, side, await this.#classOf(collection, sides, old, fresh, started));
  }

  async #classOf<T>(
    collection: string,
    sides: Sides<T>,
    old: Observation,
    fresh: Observation,
    started: number,
  ): Promise<ShadowClass> {
    if (!old.answer || !fresh.answer) return 'failed';
    if (isDeepStrictEqual(old.answer.value, fresh.answer.value)) return 'equal';
    if (this.#options.expected?.(old.answer.value, fresh.answer.value, collection) === true) return 'expected';
    // What goes on changing is behind all the time; only what stands still and differs is a finding.
    let seen = { old: old.answer.value, fresh: fresh.answer.value, at: started };
    let still = { since: started, unchanged: true };
    for (const ms of this.#options.recheckMs ?? [300, 2000]) {
      await sleep(ms, undefined, { ref: false });
      const at = Date.now();
      const [before, after] = await Promise.all([
        this.#observe(collection, 'old', sides),
        this.#observe(collection, 'new', sides),
      ]);
      if (!before.answer || !after.answer) continue;
      const now = { old: before.answer.value, fresh: after.answer.value, at };
      if (isDeepStrictEqual(now.old, now.fresh)) return 'lag';
      still = {
        since: seen.at,
        unchanged: isDeepStrictEqual(now.old, seen.old) && isDeepStrictEqual(now.fresh, seen.fresh),
      };
      seen = now;
    }
    const until = await this.#options.capturedUntil?.().catch(() => undefined);
    return !still.unchanged || (until !== undefined && until < still.since) ? 'lag' : 'defect';
  }

  #normal(answer: unknown, collection: string, side: Side): unknown {
    return this.#options.normalise ? this.#options.normalise(answer, collection, side) : answer;
  }

  /** A read that does not come back within the time-out is left alone; what it brings later is dropped. */
  async #observe<T>(collection: string, side: Side, sides: Sides<T>): Promise<Observation> {
    const since = performance.now();
    const took = () => performance.now() - since;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Observation>((resolve) => {
      timer = setTimeout(() => resolve({ ms: this.#timeoutMs }), this.#timeoutMs);
      timer.unref();
    });
    const asked = (async (): Promise<Observation> => {
      try {
        const value = await sides[side]();
        const ms = took();
        return { ms, answer: { value: this.#normal(value, collection, side) } };
      } catch {
        return { ms: Math.min(took(), this.#timeoutMs - 1) };
      }
    })();
    let left = false;
    const seen = await Promise.race([asked, late.then((none) => ((left = true), none))]);
    clearTimeout(timer);
    if (left) {
      this.#hanging++;
      void asked.finally(() => this.#hanging--);
    }
    return seen;
  }

  #tell(collection: string, side: Side, its: ShadowClass): void {
    this.#metrics.countShadow(collection, side, its);
    try {
      this.#options.onShadow?.({ collection, class: its });
    } catch {
      // The application's own error is none of a read's.
    }
  }
}
