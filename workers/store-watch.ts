// Whether this worker reaches its stores, looked at all the time: one that does not, and others do, takes no work, which would fail here only.
import type pg from 'pg';
import type { MongoClient } from 'mongodb';
import { reachedByOthers, removeWorker, showWorker } from '../control/workers.ts';
import type { Resources } from '../activities/resources.ts';
import { storeNames, type StoreName } from '../core/owner.ts';
import { within } from '../core/within.ts';
import { openPool, query } from '../stores/postgres/connection.ts';

const lookEveryMs = 2000;
const answerMs = 8000;
/** A store that is back sooner was never away: what fails meanwhile is tried again. */
const silentMs = 15_000;

/** Asks a store for as little as it can be asked for; throws where nobody answers. */
export type Ask = () => Promise<unknown>;

interface Watching {
  /** The task queue that only this process serves. */
  readonly holder: string;
  /** One that nobody else waits for. */
  readonly pool: pg.Pool;
  readonly asks: Readonly<Record<StoreName, Ask>>;
  readonly log: (line: string) => void;
  readonly silentMs?: number;
  readonly lookEveryMs?: number;
}

/** Where nobody reaches a store, there is nobody to leave the work to: it goes on, and what does not need that store is done. Without PostgreSQL nothing is. */
export class StoreWatch {
  readonly #watching: Watching;
  readonly #since = new Map<StoreName, number>();
  #why: string | undefined;
  #changed: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(watching: Watching) {
    this.#watching = watching;
  }

  /** Why no work is to be taken; undefined: it is to be taken. */
  get suspended(): string | undefined {
    return this.#why;
  }

  start(): void {
    let isLooking = false;
    const look = () => {
      if (isLooking) return;
      isLooking = true;
      this.#looking = this.look().finally(() => (isLooking = false));
    };
    look();
    this.#timer ??= setInterval(look, this.#watching.lookEveryMs ?? lookEveryMs);
    this.#timer.unref();
  }

  /** Until work is no longer to be taken (`suspended`), or is again; or `signal`. */
  async until(suspended: boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (this.#why !== undefined) !== suspended)
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    await removeWorker(this.#watching.pool, this.#watching.holder).catch(() => undefined);
    await this.#watching.pool.end();
  }

  async look(): Promise<void> {
    const { asks, holder, pool, log } = this.#watching;
    const entries = Object.entries(asks) as [StoreName, Ask][];
    await Promise.all(
      entries.map(async ([store, ask]) => {
        const answers = await within(answerMs, ask(), () => new Error('no answer')).then(
          () => true,
          () => false,
        );
        if (answers) this.#since.delete(store);
        else if (!this.#since.has(store)) this.#since.set(store, performance.now());
      }),
    );
    const silent = [...this.#since].filter(([, since]) => performance.now() - since >= this.#silentMs).map(([s]) => s);
    const why = await this.#whyNot(silent);
    if (why !== this.#why) {
      log(why === undefined ? 'all stores answer: takes work again' : `takes no work: ${why}`);
      this.#why = why;
      this.#changed();
    }
    await showWorker(pool, { holder, silent, suspended: why }).catch(() => undefined);
  }

  get #silentMs(): number {
    return this.#watching.silentMs ?? silentMs;
  }

  async #whyNot(silent: readonly StoreName[]): Promise<string | undefined> {
    if (silent.length === 0) return undefined;
    const name = (store: StoreName) => storeNames[store][0].replace(/^The/, 'the');
    if (silent.includes('postgres')) return `${name('postgres')} cannot be reached from here`;
    const reached = await reachedByOthers(this.#watching.pool, this.#watching.holder, silent).catch(() => []);
    if (reached.length === 0) return undefined;
    return `${reached.map(name).join(' and ')} cannot be reached from here, and other workers reach it`;
  }
}

/** The stores of a worker, each asked on what is free also while its work waits. */
export function watchStores(resources: Resources, log: (line: string) => void): StoreWatch {
  const pool = openPool(resources.addresses.postgres, 1, { askAfterMs: answerMs });
  const seen = (client: MongoClient) => {
    const reached = reachability(client);
    client.connect().catch(() => undefined);
    return () => (reached() ? Promise.resolve() : Promise.reject(new Error('no server takes writes')));
  };
  return new StoreWatch({
    holder: resources.queues.process,
    pool,
    log,
    asks: {
      source: seen(resources.source.client),
      postgres: () => query(pool, 'asking whether it answers', 'select 1'),
      mongodb: seen(resources.mongodb.client),
      redis: () => resources.redis.ping(),
    },
  });
}

const takingWrites = new Set(['RSPrimary', 'Standalone', 'Mongos', 'LoadBalancer']);

/** What the driver, which asks the servers all the time on connections of its own, has heard last. Before it has connected nobody knows. */
function reachability(client: MongoClient): () => boolean {
  let isReached = true;
  client.on('topologyDescriptionChanged', ({ newDescription }) => {
    isReached = [...newDescription.servers.values()].some((server) => takingWrites.has(server.type));
  });
  return () => isReached;
}
