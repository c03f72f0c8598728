// Worker processes as they show themselves: that they live, which stores they cannot reach, and whether they take work.
import type pg from 'pg';
import type { StoreName } from '../core/owner.ts';
import { query } from '../stores/postgres/connection.ts';

/** Who has not shown itself for so long is dead. */
export const aliveSeconds = 6;

/** In SQL, of `capture_workers w`: it lives, and takes work. */
export const takesWork = `w.suspended is null and w.seen_at > clock_timestamp() - interval '${aliveSeconds} s'`;

export interface Shown {
  readonly holder: string;
  /** Stores that cannot be reached from there. */
  readonly silent: readonly StoreName[];
  /** Why it takes no work. */
  readonly suspended: string | undefined;
}

/** Where there is no control schema there is nowhere to show it: throws. */
export async function showWorker(pool: pg.Pool, { holder, silent, suspended }: Shown): Promise<void> {
  await query(
    pool,
    'showing that this worker lives',
    `insert into migration_control.capture_workers (holder, seen_at, silent, suspended) values ($1, clock_timestamp(), $2, $3)
     on conflict (holder) do update set seen_at = excluded.seen_at, silent = excluded.silent, suspended = excluded.suspended`,
    [holder, silent, suspended ?? null],
  );
}

export async function removeWorker(pool: pg.Pool, holder: string): Promise<void> {
  await query(pool, 'leaving', 'delete from migration_control.capture_workers where holder = $1', [holder]);
}

/** Of `stores`, those that another worker, one that takes work, reaches. */
export async function reachedByOthers(
  pool: pg.Pool,
  holder: string,
  stores: readonly StoreName[],
): Promise<StoreName[]> {
  const rows = await query<{ store: StoreName }>(
    pool,
    'asking who reaches a store',
    `select store from unnest($2::text[]) store where exists (
       select 1 from migration_control.capture_workers w where w.holder <> $1 and ${takesWork} and store <> all (w.silent))`,
    [holder, stores],
  );
  return rows.map((row) => row.store);
}

export interface Suspended {
  readonly holder: string;
  readonly why: string;
}

/** Workers that live and take no work. */
export const suspendedNow = (pool: pg.Pool): Promise<Suspended[]> =>
  query<Suspended & pg.QueryResultRow>(
    pool,
    'looking for workers that take no work',
    `select holder, suspended as why from migration_control.capture_workers w
     where suspended is not null and seen_at > clock_timestamp() - interval '${aliveSeconds} s' order by 1`,
  );
