// Long-lived work in slices: an activity runs for some minutes, ends, and is begun again, so that histories stay small and code can be replaced.

import { setTimeout as sleep } from 'node:timers/promises';
import type { TroubleNote } from '../../control/troubles.ts';
import { diskFailure } from '../../core/disk.ts';
import { failures, KnownFailure } from '../../core/failures.ts';

/** How a slice ended. `closed`: capture was undone. `superseded`: another process has taken over. `handed-over`: to the process that serves `queue`. */
export interface SliceResult {
  readonly ended: 'slice' | 'gap' | 'closed' | 'superseded' | 'handed-over';
  readonly queue?: string;
}

/** A store that is down is tried again here, because the next attempt elsewhere would find it down too. */
const patienceMs = 60_000;

/** Waits after failures that pass by themselves: briefly, since two lanes that met on one key need no long pause, and one that waits long lags. */
export class Patience {
  readonly #slice: Pick<Slice, 'say'>;
  readonly #note: TroubleNote | undefined;
  #since: number | undefined;
  #pause = 50;

  /** `note`: where the failure is told to whoever asks, and that it is over. */
  constructor(slice: Pick<Slice, 'say'>, note?: TroubleNote) {
    this.#slice = slice;
    this.#note = note;
  }

  /** Throws what does not pass by itself, or has lasted too long. */
  async after(error: unknown): Promise<void> {
    const failure = asKnown(error);
    await this.#note?.failed(failure);
    if (failure.type === 'Defect' || !failures[failure.type].retryable) throw error;
    this.#since ??= performance.now();
    if (performance.now() - this.#since > patienceMs) throw error;
    this.#slice.say(failure.message);
    await sleep(this.#pause + Math.random() * this.#pause);
    this.#pause = Math.min(this.#pause * 2, 400);
  }

  async rewarded(): Promise<void> {
    this.#since = undefined;
    this.#pause = 50;
    await this.#note?.succeeded();
  }

  /** How long it has failed without a success between, ms. */
  get failingMs(): number {
    return this.#since === undefined ? 0 : performance.now() - this.#since;
  }
}

const asKnown = (error: unknown): KnownFailure =>
  error instanceof KnownFailure
    ? error
    : (diskFailure(error) ?? new KnownFailure('Defect', error instanceof Error ? error.name : typeof error));

export class Slice {
  readonly #until: number;
  readonly #signal: AbortSignal;
  readonly #beat: (details: unknown) => void;
  readonly #last = new Map<string, number>();

  constructor(ms: number, signal: AbortSignal, beat: (details: unknown) => void) {
    this.#until = performance.now() + ms;
    this.#signal = signal;
    this.#beat = beat;
  }

  over(): boolean {
    return this.#signal.aborted || performance.now() >= this.#until;
  }

  /** Whether `ms` have passed since this was last true for `what`; true at first. */
  every(what: string, ms: number): boolean {
    const now = performance.now();
    if (now - (this.#last.get(what) ?? -Infinity) < ms) return false;
    this.#last.set(what, now);
    return true;
  }

  /** Shows in the web UI as the activity's heartbeat. */
  say(sentence: string): void {
    this.#beat(sentence);
  }
}
