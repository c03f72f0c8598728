// Where a read or a write of the application goes. Decisions are made in memory; what they rest on is refreshed behind them, under a lease.
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { clientConfig } from '../stores/postgres/connection.ts';
import { sessionSettings } from '../stores/postgres/session.ts';
import { KnownFailure } from '../core/failures.ts';
import { admission, safest } from '../core/routes.ts';
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
   * The longest that a write of this application takes, ms: writes do not move while a process that cannot be heard may still have one under way.
   * Default 30 000.
   */
  readonly writeMs?: number;
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
  /** The lease had run out: the old system may be written only where its collection is not closed (`asks old`, core/routes.ts). */
  readonly isUncertain: boolean;
  done(): void;
}

export class Router {
  readonly #options: Required<Omit<RouterOptions, 'onState'>> & Pick<RouterOptions, 'onState'>;
  readonly #id = randomUUID();
  #routes: ReadonlyMap<string, Route> = new Map();
  #safe: ReadonlyMap<string, Route> = new Map();
  /** Fenced collections, with the time from which their fence may be ended, on this process's monotonic clock. */
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
    this.#options = { leaseMs: 5000, refreshMs: 1000, writeMs: 30_000, fenceWaitMs: 10_000, ...options };
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
   * Lets a write begin. While the collection is fenced it waits, until the routing was read and shows no fence; the route is the one that holds
   * then. A fence waits for every write that began before it, so that none can land on the side that is being left. Throws StoreBusy after
   * `fenceWaitMs`, and at once where the fence's time has passed and the routing cannot be read: which side counts is unknown.
   */
  async admit(collection: string): Promise<Admission> {
    const began = performance.now();
    let isCurrent: boolean;
    for (;;) {
      if (this.#closed)
        throw new KnownFailure('StoreBusy', `The router is closed. Nothing was written to ${collection}.`);
      const now = performance.now();
      isCurrent = now < this.#leaseEnds;
      const fencedUntil = this.#fences.get(collection);
      if (fencedUntil === undefined || admission({ isFenced: true, isCurrent }) !== 'waits') break;
      const left = began + this.#options.fenceWaitMs - now;
      const isLost = now >= fencedUntil && !isCurrent;
      if (left <= 0 || isLost)
        throw new KnownFailure(
          'StoreBusy',
          isLost
            ? `Writes of ${collection} were being moved when PostgreSQL, which says where they go, went out of reach. Nothing was written; try again when it is back.`
            : `Writes of ${collection} have been fenced for ${Math.round(now - began)} ms, because they are being moved. Nothing was written; try again.`,
        );
      // What ends a fence is read, and wakes this; the end of the lease is not.
      await this.#untilChange(Math.min(left, Math.max(fencedUntil, this.#leaseEnds) - now + 1));
    }
    const route = this.routeOf(collection);
    const epochs = this.#underWay.get(collection) ?? new Map<number, number>();
    this.#underWay.set(collection, epochs);
    epochs.set(route.epoch, (epochs.get(route.epoch) ?? 0) + 1);
    let ended = false;
    return {
      route,
      waitedMs: performance.now() - began,
      isUncertain: !isCurrent,
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

  /** Waits for a question under way, at most `leaseMs`. No write may begin any longer; one that has begun is still waited for by a fence, for a lease. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#changed();
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
          await this.#rest(this.#untilNextRead());
        }
      } catch {
        // Whatever it was, the lease tells: it runs out unless reading succeeds again.
        this.#tell();
      } finally {
        if (this.#closed && ![...this.#underWay.values()].some((epochs) => epochs.size > 0))
          await client.query('select migration_control.forget_router($1)', [this.#id]).catch(() => undefined);
        await client.end().catch(() => undefined);
        // Whatever a notice told of, the next connection reads anyway; until then nothing cuts the pause short.
        this.#noticed = false;
      }
      if (!this.#closed) await this.#rest(pause);
    }
  }

  /** A fence whose time has passed is ended by whoever sees it first; a flip that is just being committed is asked for again soon. */
  #untilNextRead(): number {
    const ends = Math.min(...this.#fences.values()) - performance.now();
    return Math.min(this.#options.refreshMs, Math.max(ends, fencePollMs));
  }

  async #read(client: pg.Client): Promise<void> {
    const asked = performance.now();
    this.#noticed = false;
    const { rows } = await client.query<{ there: boolean }>(
      `select to_regclass('migration_control.routing') is not null as there`,
    );
    if (rows[0]!.there) await this.#readRoutes(client);
    else [this.#fences, this.#routes, this.#safe] = [new Map(), new Map(), new Map()];
    // The lease counts from when the question was asked: the answer may have been long on its way. What the migration does not know of is no lease.
    this.#leaseEnds = asked + this.#options.leaseMs;
    this.#changed();
    this.#change = new Promise<void>((resolve) => (this.#changed = resolve));
    this.#tell();
  }

  async #readRoutes(client: pg.Client): Promise<void> {
    if ([...this.#fences.values()].some((until) => until <= performance.now()))
      await client.query('select migration_control.lower_passed_fences()');
    const { rows } = await client.query<RoutingRow>(
      // The fence's end as a span: two hosts' clocks need not agree.
      `select collection, percentage, write_mode, epoch,
         (extract(epoch from fenced_until - clock_timestamp()) * 1000)::float8 as fence_ms from migration_control.routing`,
    );
    const answered = performance.now();
    // All at once: no write may see the new routes without their fences.
    this.#fences = new Map(
      rows.flatMap((row) => (row.fence_ms === null ? [] : [[row.collection, answered + row.fence_ms]])),
    );
    this.#routes = new Map(
      rows.map((row) => [
        row.collection,
        { percentage: row.percentage, writeMode: row.write_mode, epoch: Number(row.epoch) },
      ]),
    );
    this.#safe = new Map([...this.#routes].map(([collection, route]) => [collection, safest(route)]));
    await this.#confirm(client);
  }

  /** Tells the migration that every write of this process that began under an older epoch has ended, and how long it goes by what it has read. */
  async #confirm(client: pg.Client): Promise<void> {
    const epochs = Object.fromEntries(
      [...this.#routes].map(([collection, route]) => [
        collection,
        Math.min(route.epoch, ...(this.#underWay.get(collection)?.keys() ?? [])),
      ]),
    );
    const { leaseMs, refreshMs, writeMs } = this.#options;
    await client.query('select migration_control.report_router($1, $2, $3, $4, $5, $6)', [
      this.#id,
      JSON.stringify(epochs),
      ...[leaseMs, refreshMs, writeMs].map((ms) => Math.min(Math.ceil(ms), longestMs)),
      `${hostname()}, process ${process.pid}`,
    ]);
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
    if (this.#noticed || this.#closed) return;
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

/** What an integer column holds: no lease is longer. */
const longestMs = 2 ** 31 - 1;
/** How often a fence whose time has passed is looked at, ms. */
const fencePollMs = 50;

function isReadable(url: string): boolean {
  try {
    clientConfig(url);
    return true;
  } catch {
    return false;
  }
}
