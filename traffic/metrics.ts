// What the application's traffic looks like from here: counted in memory, reported to the migration about once a second, never waited for.
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { clientConfig } from '../stores/postgres/connection.ts';
import { sessionSettings } from '../stores/postgres/session.ts';
import { writeTraffic, type ShadowCounts, type Side, type TrafficRow } from '../control/traffic.ts';
import { add, type Histogram } from '../core/histogram.ts';
import { addPair, noRatios } from '../core/ratio.ts';

export interface MetricsOptions {
  /** URL of the target PostgreSQL. */
  readonly postgres: string;
  /** Default 1000. */
  readonly reportMs?: number;
  /** A read that has not come back after so long counts as one that took so long, ms. Default 5000. */
  readonly hangMs?: number;
}

export type ShadowClass = 'equal' | 'lag' | 'expected' | 'defect' | 'failed' | 'skipped';

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Counts = Writable<Omit<TrafficRow, 'shadow'>> & { shadow: Writable<ShadowCounts>; histogram: Histogram };

/** A read under way. */
interface Running {
  readonly collection: string;
  readonly side: Side;
  readonly since: number;
}

/** Collections are few; whoever passes names without end is counted under one. */
const mostNames = 200;
const otherName = '(other)';

export class TrafficMetrics {
  readonly #url: string;
  readonly #hangMs: number;
  readonly #reportMs: number;
  readonly #router = randomUUID();
  readonly #running = new Set<Running>();
  readonly #timer: NodeJS.Timeout;
  #counts = new Map<string, Counts>();
  /** Sent, and not yet known to have arrived. */
  #sent: readonly TrafficRow[] = [];
  #report = 0;
  #client: pg.Client | undefined;
  #reporting: Promise<void> | undefined;

  constructor(options: MetricsOptions) {
    this.#url = options.postgres;
    this.#hangMs = options.hangMs ?? 5000;
    this.#reportMs = options.reportMs ?? 1000;
    this.#timer = setInterval(() => void this.report(), this.#reportMs);
    this.#timer.unref();
  }

  /** Runs a read and counts it: what it returns or throws is passed on. */
  async read<T>(collection: string, side: Side, run: () => Promise<T>): Promise<T> {
    const running = { collection, side, since: performance.now() };
    this.#running.add(running);
    let failed = true;
    try {
      const answer = await run();
      failed = false;
      return answer;
    } finally {
      // One that hung has been counted already.
      if (this.#running.delete(running)) this.#count(running, performance.now() - running.since, failed);
    }
  }

  /** A read that ran elsewhere. */
  countRead(collection: string, side: Side, ms: number, failed: boolean): void {
    this.#count({ collection, side, since: 0 }, ms, failed);
  }

  countWrites(collection: string, side: Side, writes: number, failed: number): void {
    const counts = this.#of(collection, side);
    counts.writes += writes;
    counts.write_errors += failed;
  }

  countShadow(collection: string, side: Side, its: ShadowClass): void {
    this.#of(collection, side).shadow[its]++;
  }

  /** `noise`: both were the old side. */
  countPair(collection: string, side: Side, of: 'ratios' | 'noise', a: number, b: number): void {
    const { shadow } = this.#of(collection, side);
    shadow[of] = addPair(shadow[of], a, b);
  }

  /** Sends what there is. Never throws: what could not be sent is added up with what comes, and sent the next time. */
  report(): Promise<void> {
    this.#reporting ??= this.#send()
      .catch(() => this.#disconnect())
      .finally(() => (this.#reporting = undefined));
    return this.#reporting;
  }

  /** Sends the last, waiting at most a few seconds. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.report();
    await this.report();
    await this.#disconnect();
  }

  async #send(): Promise<void> {
    const now = performance.now();
    for (const running of this.#running)
      if (now - running.since >= this.#hangMs) {
        this.#running.delete(running);
        this.#count(running, this.#hangMs, false);
      }
    if (this.#sent.length === 0) {
      if (this.#counts.size === 0) return;
      this.#sent = [...this.#counts.values()];
      this.#counts = new Map();
      this.#report++;
    }
    this.#client ??= await this.#connect();
    await writeTraffic(this.#client, this.#router, this.#report, this.#sent);
    this.#sent = [];
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      ...clientConfig(this.#url),
      application_name: 'causeway traffic',
      connectionTimeoutMillis: 2000,
      query_timeout: 2000,
      keepAlive: true,
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(sessionSettings());
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
    return client;
  }

  async #disconnect(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  #count({ collection, side }: Running, ms: number, failed: boolean): void {
    const counts = this.#of(collection, side);
    counts.reads++;
    // How fast a refusal is says nothing of how fast answers are.
    if (failed) counts.errors++;
    else {
      counts.latency_ms += ms;
      add(counts.histogram, ms);
    }
  }

  #of(collection: string, side: Side): Counts {
    const key = `${side} ${collection}`;
    const found = this.#counts.get(key);
    if (found) return found;
    const known = this.#counts.size < mostNames * 2 || collection === otherName;
    if (!known) return this.#of(otherName, side);
    const made: Counts = {
      collection,
      side,
      reads: 0,
      errors: 0,
      latency_ms: 0,
      histogram: {},
      writes: 0,
      write_errors: 0,
      shadow: { equal: 0, lag: 0, expected: 0, defect: 0, failed: 0, skipped: 0, ratios: noRatios, noise: noRatios },
    };
    this.#counts.set(key, made);
    return made;
  }
}
