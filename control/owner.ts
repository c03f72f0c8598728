// The row that says whose database this is, and the check that every transaction of a worker begins with.
import type pg from 'pg';
import { KnownFailure } from '../core/failures.ts';
import type { Owner, StoreIdentities } from '../core/owner.ts';
import { literal, query } from '../stores/postgres/connection.ts';

/** What stands in the row: the stores as they were claimed. */
export interface Claim extends Owner {
  readonly identities: ClaimedStores;
}

export interface ClaimedStores extends StoreIdentities {
  /** Ids of the source's collections: they tell the same database at another address. */
  readonly collections: readonly string[];
}

/** undefined: the database has no control schema, or one that nobody has claimed with its stores. */
export async function claimOf(on: pg.Pool | pg.ClientBase): Promise<Claim | undefined> {
  const [there] = await query<{ there: boolean }>(
    on,
    'looking for the owner',
    `select exists (select from information_schema.columns where table_schema = 'migration_control'
       and table_name = 'migration' and column_name = 'fingerprint') as there`,
  );
  if (!there!.there) return undefined;
  const [row] = await query<{ name: string; fingerprint: string | null; stores: ClaimedStores | null }>(
    on,
    'reading the owner',
    'select name, fingerprint, stores from migration_control.migration',
  );
  return row?.fingerprint && row.stores
    ? { migration: row.name, stores: row.fingerprint, identities: row.stores }
    : undefined;
}

/** Writes down with which stores the migration was begun; of one that has been claimed, the fingerprint stays. */
export async function claimStores(client: pg.ClientBase, owner: Owner, identities: ClaimedStores): Promise<void> {
  const { rowCount } = await client.query(
    `update migration_control.migration set fingerprint = coalesce(fingerprint, $2), stores = $3 where name = $1`,
    [owner.migration, owner.stores, JSON.stringify(identities)],
  );
  if (rowCount !== 1)
    throw new KnownFailure(
      'ForeignStores',
      `The target PostgreSQL does not belong to the migration "${owner.migration}" any more: nothing was written down.`,
    );
}

/** Of PostgreSQL's error codes the one by which the check is known (`stores/postgres/connection.ts`). */
const foreign = 'CW010';

/**
 * A statement for the beginning of a transaction: it fails where the database belongs to another migration, or to this one with other stores. Where nobody
 * has claimed it there is nothing to lose. What it has read stays locked against the removal of the control schema until the transaction ends.
 */
export const ownerCheck = ({ migration, stores }: Owner): string => `do $owner$
declare its record;
begin
  if to_regclass('migration_control.migration') is null then return; end if;
  for its in select name, to_jsonb(m) ->> 'fingerprint' as fingerprint from migration_control.migration m loop
    if its.name <> ${literal(migration)} or coalesce(its.fingerprint, ${literal(stores)}) <> ${literal(stores)} then
      raise exception using errcode = '${foreign}', message = format(
        'the database belongs to the migration "%s" with stores %s, and this worker works for "%s" with stores %s',
        its.name, coalesce(its.fingerprint, 'unknown'), ${literal(migration)}, ${literal(stores)});
    end if;
  end loop;
end $owner$`;

/** Of a mark in a store outside PostgreSQL: throws where it is another's. A mark that is gone (an eviction, a dropped collection) proves nothing. */
export function assertMark(
  what: string,
  mark: Readonly<Record<string, string>> | undefined,
  owner: Owner | undefined,
): void {
  if (!mark || !owner) return;
  if (mark['migration'] === owner.migration && mark['stores'] === owner.stores) return;
  throw new KnownFailure(
    'ForeignStores',
    `${what} belongs to the migration "${mark['migration'] ?? 'unknown'}" with stores ${mark['stores'] ?? 'unknown'}, not to "${owner.migration}" with stores ${owner.stores}: nothing was removed from it.`,
  );
}

export const markFor = ({ migration, stores }: Owner): Record<string, string> => ({ migration, stores });
