// Reads as the application runs them: on the side the router says, measured, and in a sampled share on both.
import pg from 'pg';
import { capturedUntil } from '../control/traffic.ts';
import { KnownFailure, type FailureType } from '../core/failures.ts';
import { mongoFailure } from '../stores/mongodb/connection.ts';
import { clientConfig, postgresFailure } from '../stores/postgres/connection.ts';
import { sessionSettings } from '../stores/postgres/session.ts';
import { redisFailure } from '../stores/redis/connection.ts';
import { TrafficMetrics, type MetricsOptions } from './metrics.ts';
import type { Router } from './router.ts';
import { ShadowReads, type ShadowOptions, type Sides } from './shadow.ts';

export interface RoutedReadOptions extends MetricsOptions {
  readonly router: Pick<Router, 'sideOfRead' | 'writeModeOf'>;
  readonly shadow?: ShadowOptions;
  /**
   * A read that the new system could not answer is answered by the old one, and counted as an error all the same. Not for a collection
   * whose writes have moved: the old system no longer knows. Default false.
   */
  readonly fallBack?: boolean;
}

export class RoutedReads {
  readonly #router: RoutedReadOptions['router'];
  readonly #fallBack: boolean;
  readonly #shadow: ShadowReads;
  readonly metrics: TrafficMetrics;
  readonly #position: Position;

  constructor(options: RoutedReadOptions) {
    this.#router = options.router;
    this.#fallBack = options.fallBack ?? false;
    this.metrics = new TrafficMetrics(options);
    this.#position = new Position(options.postgres);
    this.#shadow = new ShadowReads(this.metrics, {
      capturedUntil: () => this.#position.read(),
      ...options.shadow,
    });
  }

  /** What the routed side returns is returned, what it throws is thrown; nothing of the other side is waited for. */
  async routedRead<T>(collection: string, userId: unknown, sides: Sides<T>): Promise<T> {
    const side = this.#router.sideOfRead(collection, userId);
    const since = performance.now();
    let answer: T;
    try {
      answer = await this.metrics.read(collection, side, () => sides[side]());
    } catch (error) {
      const moved = this.#router.writeModeOf(collection) === 'new_system';
      if (side === 'old' || !this.#fallBack || moved || !isOfStore(error)) throw error;
      return this.metrics.read(collection, 'old', () => sides.old());
    }
    // Before both systems are written the new one has nothing to be compared with.
    if (this.#router.writeModeOf(collection) !== 'old' && this.#shadow.wanted())
      this.#shadow.follow(collection, side, sides, performance.now() - since, answer);
    return answer;
  }

  /** Sends the last counts, waiting at most a few seconds. */
  async close(): Promise<void> {
    await this.metrics.close();
    await this.#position.close();
  }
}

/** Where change capture stands, asked for when a shadow read differs: at most once a second. */
class Position {
  readonly #pool: pg.Pool;
  #asked = -Infinity;
  #answer: Promise<number | undefined> = Promise.resolve(undefined);

  constructor(url: string) {
    this.#pool = new pg.Pool({
      ...clientConfig(url),
      max: 1,
      onConnect: async (client) => void (await client.query(sessionSettings())),
      application_name: 'causeway shadow',
      connectionTimeoutMillis: 2000,
      query_timeout: 2000,
      idleTimeoutMillis: 5000,
      allowExitOnIdle: true,
    });
    this.#pool.on('error', () => undefined);
  }

  read(): Promise<number | undefined> {
    if (performance.now() - this.#asked > 1000) {
      this.#asked = performance.now();
      this.#answer = capturedUntil(this.#pool).catch(() => undefined);
    }
    return this.#answer;
  }

  async close(): Promise<void> {
    if (!this.#pool.ending) await this.#pool.end();
  }
}

const storeFailures = new Set<FailureType>([
  'StoreUnreachable',
  'StoreBusy',
  'PermissionDenied',
  'AuthenticationFailed',
  'DiskFull',
]);

/** A driver's error that says the store could not answer, as against one of the application's own code. */
function isOfStore(error: unknown): boolean {
  return [postgresFailure, mongoFailure, redisFailure].some((read) => {
    const failure = read(error, 'a read');
    return failure instanceof KnownFailure && storeFailures.has(failure.type);
  });
}
