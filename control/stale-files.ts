// Collections of which configuration files have to be written again: marked with the change, unmarked when the files stand.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';

/** SQL for what tells a mark from one that was made again after it. */
export const mark = `collection || ' ' || xmin::text`;

/** In the transaction of the change. */
export async function markStale(client: pg.ClientBase, collections: readonly string[]): Promise<void> {
  if (collections.length === 0) return;
  await query(
    client,
    'marking files',
    `insert into migration_control.stale_files (collection) select unnest($1::text[])
     on conflict (collection) do update set collection = excluded.collection`,
    [[...collections].sort()],
  );
}

export const staleNow = (pool: pg.Pool): Promise<{ readonly collection: string; readonly mark: string }[]> =>
  query(pool, 'looking for files to write', `select collection, ${mark} as mark from migration_control.stale_files`);

/** What was marked again meanwhile stays marked. */
export const unmark = (pool: pg.Pool, one: { readonly mark: string }): Promise<unknown> =>
  query(pool, 'noting files as written', `delete from migration_control.stale_files where ${mark} = $1`, [one.mark]);
