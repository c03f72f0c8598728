// What a worker process serves: workflows always, which need no store; activities while it reaches the stores they need.
import type { Worker } from '@temporalio/worker';
import type { StoreWatch } from './store-watch.ts';

export interface Workers {
  readonly workflows: Worker;
  /** New ones each time: one that was shut down does not poll again. None polls before it is run. */
  readonly activities: () => Promise<readonly Worker[]>;
}

/** Runs until `stop`, or until a worker fails. */
export class Serving {
  readonly #workers: Workers;
  readonly #watch: StoreWatch;
  readonly #log: (line: string) => void;
  readonly #over = new AbortController();
  readonly stopped: Promise<void>;

  /** `first`: made before anything is announced, so that what is wrong with them is told at the start. */
  constructor(workers: Workers, first: readonly Worker[], watch: StoreWatch, log: (line: string) => void) {
    this.#workers = workers;
    this.#watch = watch;
    this.#log = log;
    this.stopped = Promise.all([this.#runWorkflows(), this.#runActivities(first)])
      .then(() => undefined)
      .finally(() => this.stop());
  }

  stop(): void {
    this.#over.abort();
  }

  async #runWorkflows(): Promise<void> {
    const { workflows } = this.#workers;
    const end = () => shutDown([workflows]);
    this.#over.signal.addEventListener('abort', end, { once: true });
    await workflows.run();
  }

  async #runActivities(first: readonly Worker[]): Promise<void> {
    const { signal } = this.#over;
    for (let workers = first; ; workers = await this.#workers.activities()) {
      await this.#serve(workers);
      await this.#watch.until(false, signal);
      if (signal.aborted) return;
    }
  }

  /** Until no work is to be taken, and what was under way has ended or was given up. */
  async #serve(workers: readonly Worker[]): Promise<void> {
    const running = Promise.all(workers.map((worker) => worker.run()));
    const suspended = this.#watch.until(true, this.#over.signal);
    try {
      await Promise.race([running, suspended]);
    } finally {
      // One that fails ends the others.
      shutDown(workers);
    }
    await running.catch((error: Error) => {
      // What hangs in a store that is away has been given up; whatever it does late is guarded, as that of any dead worker.
      if (this.#over.signal.aborted || error.name !== 'GracefulShutdownPeriodExpiredError') throw error;
      this.#log(`gave up what did not end: ${error.message}`);
    });
  }
}

function shutDown(workers: readonly Worker[]): void {
  for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
}
