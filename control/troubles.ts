// What fails now, in SQL: written by the loop that fails, taken away by its first success, read by whoever asks how things stand.
import type pg from 'pg';
import type { FailureType, KnownFailure } from '../core/failures.ts';
import { query } from '../stores/postgres/connection.ts';

export interface Trouble {
  /** `lane 3`, `reader`, `housekeeping`. */
  readonly who: string;
  readonly type: FailureType;
  readonly message: string;
  readonly times: number;
  readonly since: string;
}

/** A document that could be neither applied nor set aside. */
export interface Waiting {
  readonly collection: string;
  readonly sourceId: string;
  readonly cause: string;
  readonly tries: number;
  readonly since: string;
}

const noteEveryMs = 1000;

/** What one loop has to say of itself. Saying it never fails: where PostgreSQL is away there is nobody to say it to. */
export class TroubleNote {
  readonly #pool: pg.Pool;
  readonly #who: string;
  #notedAt = -Infinity;
  /** Somebody before may have left a note. */
  #isNoted = true;

  constructor(pool: pg.Pool, who: string) {
    this.#pool = pool;
    this.#who = who;
  }

  async failed({ type, message }: Pick<KnownFailure, 'type' | 'message'>): Promise<void> {
    if (performance.now() - this.#notedAt < noteEveryMs) return;
    this.#notedAt = performance.now();
    this.#isNoted = true;
    await query(
      this.#pool,
      'noting what fails',
      `insert into migration_control.capture_troubles as t (who, type, message) values ($1, $2, $3)
       on conflict (who) do update set type = excluded.type, message = excluded.message, times = t.times + 1, at = clock_timestamp()`,
      [this.#who, type, message],
    ).catch(() => undefined);
  }

  async succeeded(): Promise<void> {
    if (!this.#isNoted) return;
    await query(this.#pool, 'forgetting what failed', 'delete from migration_control.capture_troubles where who = $1', [
      this.#who,
    ]).then(
      () => (this.#isNoted = false),
      () => undefined,
    );
  }
}

/** A loop whose worker died while it failed is taken up by another, which says so anew: what is older than this is of nobody. */
const lastsSeconds = 120;

export const troublesNow = async (pool: pg.Pool): Promise<Trouble[]> =>
  (
    await query<Omit<Trouble, 'since'> & { since: Date }>(
      pool,
      'reading what fails',
      `select who, type, message, times, since from migration_control.capture_troubles
       where at > clock_timestamp() - interval '${lastsSeconds} s' order by since`,
    )
  ).map((row) => ({ ...row, since: row.since.toISOString() }));

const mostShown = 5;

/** The documents that wait longest; how many wait in all stands in the state of capture. */
export const waitingNow = async (pool: pg.Pool): Promise<Waiting[]> =>
  (
    await query<Omit<Waiting, 'since' | 'sourceId'> & { source_id: string; since: Date }>(
      pool,
      'reading which documents wait',
      `select c.source as collection, r.source_id, r.cause, r.tries, r.since from migration_control.redo r
       join migration_control.collections c on c.id = r.collection_id where r.cause is not null order by r.since limit ${mostShown}`,
    )
  ).map(({ source_id, since, ...row }) => ({ ...row, sourceId: source_id, since: since.toISOString() }));
