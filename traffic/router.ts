// Where a read or a write of the application goes. Decisions are made in memory; what they rest on is refreshed behind them, under a lease.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { clientConfig } from '../stores/postgres/connection.ts';
import { sessionSettings } from '../stores/postgres/session.ts';
import { KnownFailure } from '../core/failures.ts';
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
  /** How long a write may wait at the fence of a write cutover before it fails, ms. Default 10 000. */
  readonly fenceWaitMs?: number;
  /**
   * Told when the lease has run out (decisions have changed by then; the word may come up to `leaseMs` later), and when the routing can be
   * read again. What it throws is ignored.
   */
  readonly onState?: (state: 'current' | 'fallback') => void;
}

const nothing: Route = { percentage: 0, writeMode: 'old', epoch: 0 };

/** A write that may begin: the route it goes by, and `done` when it has ended, however it ended. */
export interface Admission {
  readonly route: Route;
  /** How long it waited at a fence, ms. */
  readonly waitedMs: number;
  done(): void;
}

export class Router {
  readonly #options: Required<Omit<RouterOptions, 'onState'>> & Pick<RouterOptions, 'onState'>;
  readonly #id = randomUUID();
  #routes: ReadonlyMap<string, Route> = new Map();
  #safe: ReadonlyMap<string, Route> = new Map();
  /** When a collection's fence passes by itself, on this process's monotonic clock. */
  #fences: ReadonlyMap<string, number> = new Map();
  /** Writes under way, by collection and the epoch they began in. */
  readonly #underWay = new Map<string, Map<number, number>>();
  #changed: () => void = () => undefined;
  #change = new Promise<void>((resolve) => (this.#changed = resolve));
  #leaseEnds = -Infinity;
  #told: 'current' | 'fallback' = 'fallback';
  #closed = false;
  #wake: () => void = () => undefined;
  /** A notice came while the routing was being read. */
  #noticed = false;
  readonly #running: Promise<void>;

  private constructor(options: RouterOptions) {
    this.#options = { leaseMs: 5000, refreshMs: 1000, fenceWaitMs: 10_000, ...options };
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

  /**
   * Lets a write begin. While the collection is fenced it waits; when the fence is gone, the route is the one that holds then. A fence waits
   * for every write that began before it, so that none can land on the side that is being left. Throws StoreBusy after `fenceWaitMs`.
   */
  async admit(collection: string): Promise<Admission> {
    const began = performance.now();
    for (;;) {
      const now = performance.now();
      const fencedUntil = this.#fences.get(collection) ?? -Infinity;
      if (now >= fencedUntil || now >= this.#leaseEnds) break;
      const left = began + this.#options.fenceWaitMs - now;
      if (left <= 0)
        throw new KnownFailure(
          'StoreBusy',
          `Writes of ${collection} have been fenced for ${this.#options.fenceWaitMs} ms, because they are being moved. Nothing was written; try again.`,
        );
      await this.#untilChange(Math.min(left, fencedUntil - now));
    }
    const route = this.routeOf(collection);
    const epochs = this.#underWay.get(collection) ?? new Map<number, number>();
    this.#underWay.set(collection, epochs);
    epochs.set(route.epoch, (epochs.get(route.epoch) ?? 0) + 1);
    let ended = false;
    return {
      route,
      waitedMs: performance.now() - began,
      done: () => {
        if (ended) return;
        ended = true;
        const left = epochs.get(route.epoch)! - 1;
        if (left > 0) return void epochs.set(route.epoch, left);
        epochs.delete(route.epoch);
        // A fence may be waiting for just this write.
        if (this.#fences.has(collection)) this.#notice();
      },
    };
  }

  async #untilChange(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    await Promise.race([this.#change, timeout]);
    clearTimeout(timer);
  }

  #notice(): void {
    this.#noticed = true;
    this.#wake();
  }

  /** Waits for a question under way, at most `leaseMs`. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#running;
  }

  /** Listens on a connection of its own, and reads everything again at every notice, and every so often without one. */
  async #follow(): Promise<void> {
    const config = clientConfig(this.#options.postgres);
    for (let pause = 50; !this.#closed; pause = Math.min(pause * 2, this.#options.refreshMs)) {
      const client = new pg.Client({
        ...config,
        application_name: 'causeway router',
        connectionTimeoutMillis: this.#options.leaseMs,
        query_timeout: this.#options.leaseMs,
        keepAlive: true,
      });
      client.on('error', () => undefined);
      client.on('end', () => this.#wake());
      client.on('notification', () => this.#notice());
      try {
        await client.connect();
        await client.query(sessionSettings());
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
        if (this.#closed)
          await client
            .query('delete from migration_control.routers where router = $1', [this.#id])
            .catch(() => undefined);
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
      ? await client.query<RoutingRow>(
          // The fence's end as a span: two hosts' clocks need not agree.
          `select collection, percentage, write_mode, epoch,
             greatest(extract(epoch from (to_jsonb(r) ->> 'fenced_until')::timestamptz - clock_timestamp()) * 1000, 0)::float8 as fence_ms
           from migration_control.routing r`,
        )
      : { rows: [] };
    const answered = performance.now();
    this.#fences = new Map(
      found.rows.flatMap((row) =>
        row.fence_ms === null || row.fence_ms <= 0 ? [] : [[row.collection, answered + row.fence_ms]],
      ),
    );
    this.#routes = new Map(
      found.rows.map((row) => [
        row.collection,
        { percentage: row.percentage, writeMode: row.write_mode, epoch: Number(row.epoch) },
      ]),
    );
    this.#safe = new Map([...this.#routes].map(([collection, route]) => [collection, safest(route)]));
    // The lease counts from when the question was asked: the answer may have been long on its way.
    this.#leaseEnds = asked + this.#options.leaseMs;
    this.#changed();
    this.#change = new Promise<void>((resolve) => (this.#changed = resolve));
    this.#tell();
    if (found.rows.length > 0) await this.#confirm(client);
  }

  /** Tells the migration that every write of this process that began under an older epoch has ended. */
  async #confirm(client: pg.Client): Promise<void> {
    const epochs = Object.fromEntries(
      [...this.#routes].map(([collection, route]) => [
        collection,
        Math.min(route.epoch, ...(this.#underWay.get(collection)?.keys() ?? [])),
      ]),
    );
    await client
      .query(
        `insert into migration_control.routers (router, epochs) values ($1, $2)
         on conflict (router) do update set epochs = excluded.epochs, seen_at = clock_timestamp()`,
        [this.#id, JSON.stringify(epochs)],
      )
      // A database user that may only read the routing still routes; the fence then waits for nobody here.
      .catch((error: unknown) => {
        if (!mayNot.has(String((error as { code?: unknown }).code))) throw error;
      });
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

interface RoutingRow {
  readonly collection: string;
  readonly percentage: number;
  readonly write_mode: WriteMode;
  readonly epoch: string;
  readonly fence_ms: number | null;
}

/** Insufficient privilege; no such table (a control schema older than this router). */
const mayNot = new Set(['42501', '42P01']);

function isReadable(url: string): boolean {
  try {
    clientConfig(url);
    return true;
  } catch {
    return false;
  }
}

/** Where the old system is authoritative it serves alone, and capture repairs the new one; where it no longer is, going back would lose writes. */
const safest = (route: Route): Route =>
  route.writeMode === 'new_system' ? route : { percentage: 0, writeMode: 'old', epoch: route.epoch };
