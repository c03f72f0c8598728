// What verification has found of one document: the one place that knows where its results stand, whoever writes them.
import type pg from 'pg';
import type { LedgerEntry } from '../control/lineage.ts';
import { redact } from '../core/redact.ts';
import { name, query } from '../stores/postgres/connection.ts';

export interface Verified {
  /** The last validation of the collection as a whole. */
  readonly validation: { readonly status: string; readonly at: string } | null;
  /** Rows about this document in the verification's own tables, newest first. */
  readonly findings: readonly { readonly table: string; readonly row: unknown }[];
}

const mostFindings = 20;

/** Tables named verification_* that have a row per document are read as they are; where there are none, nothing is known. */
export async function verifiedOf(pool: pg.Pool, entry: LedgerEntry): Promise<Verified> {
  const [last] = await query<{ status: string; at: Date }>(
    pool,
    'reading results',
    `select overall_status as status, "timestamp" as at from migration_control.validation_results where collection = $1 order by id desc limit 1`,
    [entry.collection],
  );
  return {
    validation: last ? { status: last.status, at: last.at.toISOString() } : null,
    findings: await findingsOf(pool, entry),
  };
}

async function findingsOf(pool: pg.Pool, entry: LedgerEntry): Promise<Verified['findings']> {
  const tables = await query<{ table: string; column: string }>(
    pool,
    'looking for verification results',
    `select c.relname as table, a.attname as column from pg_class c
     join pg_attribute s on s.attrelid = c.oid and s.attname = 'source_id' and not s.attisdropped
     join pg_attribute a on a.attrelid = c.oid and a.attname in ('collection_id', 'collection') and not a.attisdropped
     where c.relnamespace = to_regnamespace('migration_control') and c.relkind in ('r', 'p') and not c.relispartition and starts_with(c.relname, 'verification')
     order by c.relname, a.attname desc`,
  );
  const byTable = new Map(tables.map((one) => [one.table, one.column]));
  const findings: { table: string; row: unknown }[] = [];
  for (const [table, column] of byTable) {
    const rows = await query<{ row: unknown }>(
      pool,
      `reading ${table}`,
      `select to_jsonb(t) as row from migration_control.${name(table)} t where t.source_id = $1 and t.${name(column)}::text = any($2) order by t.ctid desc limit ${mostFindings}`,
      [entry.sourceId, column === 'collection' ? [entry.collection, entry.source] : [String(entry.collectionId)]],
    );
    findings.push(...rows.map(({ row }) => ({ table, row: redact(row) })));
  }
  return findings;
}
