// A command that asks a store while it restarts, or another node takes over, waits for a moment instead of refusing.
import { setTimeout as sleep } from 'node:timers/promises';
import type { ToReach } from '../activities/preflight/index.ts';
import { settledAll } from '../activities/settled-all.ts';
import { KnownFailure } from '../core/failures.ts';

/** A failover takes seconds; somebody who mistyped an address waits as long, whichever store it is of. */
const outlastMs = 10_000;
const askEveryMs = 500;
/** Who has not refused by then, and has not answered either, is told of, ms. */
const sayAfterMs = 1000;

/** What one command waits for in all. `say` is told at once what is waited for, and for how long. */
export class Outlast {
  readonly #until: number;
  readonly #seconds: number;
  readonly #say: (line: string) => void;
  readonly #said = new Set<string>();

  constructor(say: (line: string) => void, ms = outlastMs) {
    this.#until = performance.now() + ms;
    this.#seconds = ms / 1000;
    this.#say = say;
  }

  get #left(): number {
    return Math.max(this.#until - performance.now(), 0);
  }

  /** What `work` answers, or throws when it still fails at the end. */
  async through<T>(work: () => Promise<T>, what = ''): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const mayPass =
          error instanceof KnownFailure && (error.type === 'StoreUnreachable' || error.type === 'StoreBusy');
        if (!mayPass || this.#left === 0) throw error;
        this.#tell(what, `${error.message} It is asked again for ${this.#seconds} s.`);
        await sleep(Math.min(askEveryMs, this.#left));
      }
    }
  }

  /** Until each of them answers, side by side; throws what the first of them says that does not. */
  async reach(stores: readonly ToReach[]): Promise<void> {
    await settledAll(stores.map((store) => this.#reachOne(store)));
  }

  async #reachOne({ what, ask }: ToReach): Promise<void> {
    let failure: unknown = new KnownFailure(
      'StoreUnreachable',
      `${what} has not answered within ${this.#seconds} s. Check that it runs and that the address is right.`,
    );
    const over = new AbortController();
    const late = async () => {
      await sleep(sayAfterMs, undefined, { signal: over.signal });
      this.#tell(what, `${what} has not answered yet; it is waited for, ${this.#seconds} s at most.`);
      await sleep(this.#left, undefined, { signal: over.signal });
      throw failure;
    };
    const asking = this.through(
      () =>
        ask().catch((error: unknown) => {
          failure = error;
          throw error;
        }),
      what,
    );
    try {
      await Promise.race([asking, late()]);
    } finally {
      over.abort();
      // Whoever is late is not waited for any longer.
      asking.catch(() => undefined);
    }
  }

  #tell(what: string, line: string): void {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#say(line);
  }
}
