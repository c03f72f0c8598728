// Where a read or a write of the application goes. Decisions are made in memory; what they rest on is refreshed behind them, under a lease.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Route, WriteMode } from '../core/state.ts';
import { routingChannel } from '../control/routing.ts';
import { bucketOf, userKey } from './bucket.ts';

export type Side = 'old' | 'new';

export interface RouterOptions {
  /** URL of the target PostgreSQL. */
  readonly postgres: string;
  /** How long what was read last holds, ms. Default 5000. */
  readonly leaseMs?: number;
  /** How often it is read again, told or not, ms. Default 1000. */
  readonly refreshMs?: number;
  /**
   * Told when the lease has run out (decisions have changed by then; the word may come up to `leaseMs` later), and when the routing can be
   * read again. What it throws is ignored.
   */
  readonly onState?: (state: 'current' | 'fallback') => void;
}

const nothing: Route = { percentage: 0, writeMode: 'old', epoch: 0 };

export class Router {
  readonly #options: Required<Pick<RouterOptions, 'postgres' | 'leaseMs' | 'refreshMs'>> &
    Pick<RouterOptions, 'onState'>;
  #routes: ReadonlyMap<string, Route> = new Map();
  #safe: ReadonlyMap<string, Route> = new Map();
  #leaseEnds = -Infinity;
  #told: 'current' | 'fallback' = 'fallback';
  #closed = false;
  #wake: () => void = () => undefined;
  /** A notice came while the routing was being read. */
  #noticed = false;
  readonly #running: Promise<void>;

  private constructor(options: RouterOptions) {
    this.#options = { leaseMs: 5000, refreshMs: 1000, ...options };
    this.#running = this.#follow();
  }

  /**
   * Returns when the routing was read, or after `leaseMs` without an answer: then everything goes to the old system.
   * Throws a TypeError, which names no part of it, for a URL that cannot be read.
   */
  static async open(options: RouterOptions): Promise<Router> {
    if (!isReadable(options.postgres))
      throw new TypeError(
        'The URL of PostgreSQL that the router was given cannot be read: give postgres://user:password@host:port/database.',
      );
    const router = new Router(options);
    for (const until = performance.now() + router.#options.leaseMs; performance.now() < until; await sleep(10))
      if (router.state === 'current') break;
    return router;
  }

  /** `fallback`: the lease has run out. */
  get state(): 'current' | 'fallback' {
    return performance.now() < this.#leaseEnds ? 'current' : 'fallback';
  }

  /** Without a user, at random in the same proportion. */
  sideOfRead(collection: string, userId?: unknown): Side {
    const { percentage } = this.routeOf(collection);
    if (percentage <= 0) return 'old';
    if (percentage >= 100) return 'new';
    const key = userKey(userId);
    return (key === undefined ? Math.random() * 100 : bucketOf(key)) < percentage ? 'new' : 'old';
  }

  writeModeOf(collection: string): WriteMode {
    return this.routeOf(collection).writeMode;
  }

  /** By mapping name. A collection that nobody routes is the old system's. */
  routeOf(collection: string): Route {
    const routes = performance.now() < this.#leaseEnds ? this.#routes : this.#safe;
    return routes.get(collection) ?? nothing;
  }

  /** Waits for a question under way, at most `leaseMs`. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#running;
  }

  /** Listens on a connection of its own, and reads everything again at every notice, and every so often without one. */
  async #follow(): Promise<void> {
    for (let pause = 50; !this.#closed; pause = Math.min(pause * 2, this.#options.refreshMs)) {
      const client = new pg.Client({
        connectionString: this.#options.postgres,
        application_name: 'causeway router',
        connectionTimeoutMillis: this.#options.leaseMs,
        query_timeout: this.#options.leaseMs,
        keepAlive: true,
      });
      client.on('error', () => undefined);
      client.on('end', () => this.#wake());
      client.on('notification', () => {
        this.#noticed = true;
        this.#wake();
      });
      try {
        await client.connect();
        await client.query(`listen ${routingChannel}`);
        while (!this.#closed) {
          await this.#read(client);
          pause = 50;
          await this.#rest(this.#options.refreshMs);
        }
      } catch {
        // Whatever it was, the lease tells: it runs out unless reading succeeds again.
        this.#tell();
      } finally {
        await client.end().catch(() => undefined);
        // Whatever a notice told of, the next connection reads anyway; until then nothing cuts the pause short.
        this.#noticed = false;
      }
      if (!this.#closed) await this.#rest(pause);
    }
  }

  async #read(client: pg.Client): Promise<void> {
    const asked = performance.now();
    this.#noticed = false;
    const { rows } = await client.query<{ there: boolean }>(
      `select to_regclass('migration_control.routing') is not null as there`,
    );
    const found = rows[0]!.there
      ? await client.query<{ collection: string; percentage: number; write_mode: WriteMode; epoch: string }>(
          'select collection, percentage, write_mode, epoch from migration_control.routing',
        )
      : { rows: [] };
    this.#routes = new Map(
      found.rows.map((row) => [
        row.collection,
        { percentage: row.percentage, writeMode: row.write_mode, epoch: Number(row.epoch) },
      ]),
    );
    this.#safe = new Map([...this.#routes].map(([collection, route]) => [collection, safest(route)]));
    // The lease counts from when the question was asked: the answer may have been long on its way.
    this.#leaseEnds = asked + this.#options.leaseMs;
    this.#tell();
  }

  #tell(): void {
    const { state } = this;
    if (state === this.#told) return;
    this.#told = state;
    try {
      this.#options.onState?.(state);
    } catch {
      // The application's own error must not end what keeps the routing fresh.
    }
  }

  async #rest(ms: number): Promise<void> {
    if (this.#noticed) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
      timer.unref();
    });
    clearTimeout(timer);
    this.#tell();
  }
}

function isReadable(url: string): boolean {
  try {
    new pg.Client({ connectionString: url });
    return true;
  } catch {
    return false;
  }
}

/** Where the old system is authoritative it serves alone, and capture repairs the new one; where it no longer is, going back would lose writes. */
const safest = (route: Route): Route =>
  route.writeMode === 'new_system' ? route : { percentage: 0, writeMode: 'old', epoch: route.epoch };
