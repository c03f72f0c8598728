// Long-lived work in slices: an activity runs for some minutes, ends, and is begun again, so that histories stay small and code can be replaced.

/** How a slice ended. `closed`: capture was undone. `superseded`: another process has taken over. `handed-over`: to the process that serves `queue`. */
export interface SliceResult {
  readonly ended: 'slice' | 'gap' | 'closed' | 'superseded' | 'handed-over';
  readonly queue?: string;
}

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
