// Keys to look at: some loaded documents of the ledger at random, others every time.
import { ownVault } from '../../control/vault.ts';
import type pg from 'pg';
import { name, query } from '../../stores/postgres/connection.ts';

/** A loaded document of one source collection. */
export interface LedgerKey {
  readonly collectionId: number;
  readonly source: string;
  readonly id: string;
  /** The time column of its row in a partitioned table, as PostgreSQL writes it, to the microsecond. */
  readonly place: string | null;
  /** Its Redis keys, prefix included. */
  readonly keys: readonly string[];
}

export interface Enrolled {
  readonly id: number;
  readonly source: string;
}

/** In a partition of fewer pages than this all keys are drawn from; in a larger one, pages at random are. */
const fewPages = 250;
/** Loaded documents on a page, at least; a ledger row is about 100 bytes. */
const rowsPerPage = 20;

/** About `count` keys. The rows of a page come together: that is what makes it cheap, and pages are many. */
export async function randomKeys(
  on: pg.Pool | pg.ClientBase,
  { id, source }: Enrolled,
  count: number,
): Promise<LedgerKey[]> {
  const partition = `migration_control.${name(`ledger_${id}`)}`;
  const [size] = await query<{ pages: number | null }>(
    on,
    'looking at the size of the ledger',
    `select pg_relation_size(to_regclass($1)) / current_setting('block_size')::float8 as pages`,
    [partition],
  );
  const pages = size!.pages;
  if (pages === null) return [];
  const share = Math.min(100, (100 * Math.max(10, (3 * count) / rowsPerPage)) / pages);
  const found = await query<{ source_id: string; place: string | null; keys: string[] | null }>(
    on,
    'choosing keys',
    `select source_id, place::text as place, keys from ${partition}${pages > fewPages ? ` tablesample system (${share})` : ''}
     where state = 'l' and not deleted order by random() limit $1`,
    [count],
  );
  return found.map((row) => ({
    collectionId: id,
    source,
    id: row.source_id,
    place: row.place,
    keys: (row.keys ?? []).map((key) => ownVault().openText('redis key', key)),
  }));
}
