// What this migration made, by phase: the only things compensation may remove.
import type pg from 'pg';
import { query } from './connection.ts';

type Queryable = Pick<pg.ClientBase, 'query'>;

export interface CreatedObject {
  readonly phase: string;
  readonly kind: string;
  readonly name: string;
}

/** Objects of one store, oldest first; none where the control schema is not there yet. */
export async function created(db: pg.ClientBase | pg.Pool, store: string): Promise<CreatedObject[]> {
  const doing = 'reading what was made';
  const [table] = await query<{ there: boolean }>(
    db,
    doing,
    `select to_regclass('migration_control.created_objects') is not null as there`,
  );
  if (!table!.there) return [];
  return query(
    db,
    doing,
    'select phase, kind, name from migration_control.created_objects where store = $1 order by id',
    [store],
  );
}

export async function remember(
  db: pg.ClientBase | pg.Pool,
  phase: string,
  store: string,
  kind: string,
  object: string,
): Promise<void> {
  await query(
    db,
    'noting what is made',
    'insert into migration_control.created_objects (phase, store, kind, name) values ($1, $2, $3, $4) on conflict do nothing',
    [phase, store, kind, object],
  );
}

export async function forget(db: pg.ClientBase | pg.Pool, store: string, kind: string, object: string): Promise<void> {
  await query(
    db,
    'forgetting what was removed',
    'delete from migration_control.created_objects where store = $1 and kind = $2 and name = $3',
    [store, kind, object],
  );
}

/** Whether a table exists in `public`, and whose it is. */
export async function existing(
  db: Queryable,
  store: string,
  kind: string,
  object: string,
): Promise<'none' | 'ours' | 'foreign'> {
  const { rows } = await db.query(
    `select to_regclass('public.' || quote_ident($3)) is not null as there,
            exists (select 1 from migration_control.created_objects where store = $1 and kind = $2 and name = $3) as ours`,
    [store, kind, object],
  );
  if (!rows[0].there) return 'none';
  return rows[0].ours ? 'ours' : 'foreign';
}
