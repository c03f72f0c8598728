// Keys too long for an index, in SQL: whole, by the digest that stands for them everywhere else.
import type pg from 'pg';
import { idsFrom } from '../core/identity.ts';
import { isShortened, learn, saved, toSave, wholeOf } from '../core/long-keys.ts';
import { query } from '../stores/postgres/connection.ts';

/** Before anything is written under their digests; outside of any transaction, because what is rolled back is done again. */
export async function saveLongKeys(pool: pg.Pool): Promise<void> {
  const rows = toSave();
  if (rows.length === 0) return;
  const same = await query(
    pool,
    'keeping long keys',
    `insert into migration_control.long_keys as l (source_id, whole) select * from unnest($1::text[], $2::text[])
     on conflict (source_id) do update set whole = l.whole where l.whole = excluded.whole returning 1`,
    [rows.map(([key]) => key), rows.map(([, whole]) => whole)],
  );
  if (same.length < rows.length) throw new RangeError('two long keys have the same digest');
  saved(rows.map(([key]) => key));
}

/** Of these ids the ones that stand for a longer one, where this process has not met it. */
export async function learnLongKeys(on: pg.Pool | pg.ClientBase, ids: readonly string[]): Promise<void> {
  const unknown = ids.filter((id) => isShortened(id) && wholeOf(id) === undefined);
  if (unknown.length === 0) return;
  const rows = await query<{ source_id: string; whole: string }>(
    on,
    'reading long keys',
    'select source_id, whole from migration_control.long_keys where source_id = any($1)',
    [unknown],
  );
  for (const row of rows) learn(row.source_id, row.whole);
}

/** The `_id`s that these ids were made from. One that another process has shortened would be none else, and its document taken for gone. */
export async function idsKnown(on: pg.Pool | pg.ClientBase, ids: readonly string[]): Promise<unknown[]> {
  await learnLongKeys(on, ids);
  return idsFrom(ids);
}

/** All of them: there are hardly any. */
export async function learnAllLongKeys(on: pg.Pool | pg.ClientBase): Promise<void> {
  const rows = await query<{ source_id: string; whole: string }>(
    on,
    'reading long keys',
    'select source_id, whole from migration_control.long_keys',
  );
  for (const row of rows) learn(row.source_id, row.whole);
}
