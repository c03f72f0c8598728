// Documents set aside: by rule, with examples, and one by one.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';

export interface RuleCount {
  readonly collection: string;
  readonly rule: string;
  readonly path: string;
  readonly documents: number;
  readonly example: string;
}

/** Unresolved, most frequent first. */
export async function rulesOf(pool: pg.Pool, collection?: string): Promise<RuleCount[]> {
  const rows = await query<Omit<RuleCount, 'documents'> & { documents: string }>(
    pool,
    'reading the quarantine',
    `select collection, rule, path, count(*) as documents, min(source_id) as example from migration_control.migration_errors
     where resolved_at is null and ($1::text is null or collection = $1) group by collection, rule, path order by collection, count(*) desc, rule`,
    [collection ?? null],
  );
  return rows.map((row) => ({ ...row, documents: Number(row.documents) }));
}

export interface QuarantinedDocument {
  readonly collection: string;
  readonly source_collection: string;
  readonly source_id: string;
  readonly rule: string;
  readonly path: string;
  readonly message: string;
  /** Canonical Extended JSON, secrets redacted. */
  readonly document: unknown;
  readonly created_at: Date;
  readonly resolved_at: Date | null;
}

/** Why one document stands here, newest reason first; or the first of a rule. */
export function documentsOf(
  pool: pg.Pool,
  collection: string,
  filter: { sourceId?: string; rule?: string; limit: number },
): Promise<QuarantinedDocument[]> {
  return query<QuarantinedDocument>(
    pool,
    'reading the quarantine',
    `select collection, source_collection, source_id, rule, path, message, document, created_at, resolved_at from migration_control.migration_errors
     where collection = $1 and ($2::text is null or source_id = $2) and ($3::text is null or rule = $3) order by id desc limit $4`,
    [collection, filter.sourceId ?? null, filter.rule ?? null, filter.limit],
  );
}
