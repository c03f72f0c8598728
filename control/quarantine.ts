// Documents set aside: by fingerprint, with examples, and one by one; and how many there are.
import type pg from 'pg';
import { shownOf } from '../core/bson/shown.ts';
import type { QuarantineCount } from '../core/quarantine.ts';
import { redactShown } from '../core/redact.ts';
import { query } from '../stores/postgres/connection.ts';
import { isSealed, VaultError, type Vault } from './vault.ts';

/** Whether the control schema is there, in a version that has what is asked of it here. */
export async function hasQuarantine(pool: pg.Pool): Promise<boolean> {
  const [row] = await query<{ there: boolean }>(
    pool,
    'looking for the quarantine',
    `select to_regclass('migration_control.quarantine_retries') is not null as there`,
  );
  return row!.there;
}

/** Errors alike: the same rule, at the same path, met with the same BSON type. */
export interface Fingerprint {
  readonly collection: string;
  readonly rule: string;
  readonly path: string;
  /** null for what was set aside before types were kept. */
  readonly type: string | null;
  readonly documents: number;
  readonly message: string;
  readonly example: string;
  /** Source ids of the first few. */
  readonly examples: readonly string[];
  /** Most retries in vain that one of them has had. */
  readonly attempts: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

export interface Filter {
  readonly collection?: string | undefined;
  readonly rule?: string | undefined;
}

const filtered = '($1::text is null or collection = $1) and ($2::text is null or rule = $2)';

/** Unresolved, most frequent first. */
export async function fingerprintsOf(pool: pg.Pool, filter: Filter = {}): Promise<Fingerprint[]> {
  const rows = await query<
    Omit<Fingerprint, 'documents' | 'example' | 'firstAt' | 'lastAt'> & {
      documents: string;
      first_at: Date;
      last_at: Date;
    }
  >(
    pool,
    'reading the quarantine',
    `select collection, rule, path, bson_type as type, count(*) as documents, min(message) as message, (array_agg(source_id order by id))[1:3] as examples,
            max(attempts) as attempts, min(created_at) as first_at, max(created_at) as last_at
     from migration_control.migration_errors where resolved_at is null and ${filtered}
     group by collection, rule, path, bson_type order by collection, count(*) desc, rule, path`,
    [filter.collection ?? null, filter.rule ?? null],
  );
  return rows.map(({ first_at: firstAt, last_at: lastAt, documents, ...row }) => ({
    ...row,
    documents: Number(documents),
    example: row.examples[0]!,
    firstAt,
    lastAt,
  }));
}

export interface QuarantinedDocument {
  readonly collection: string;
  readonly source_collection: string;
  readonly source_id: string;
  readonly rule: string;
  readonly path: string;
  readonly type: string | null;
  readonly message: string;
  /** Canonical Extended JSON, secrets redacted; null where it cannot be decrypted, and `problem` says why. */
  readonly document: unknown;
  readonly problem: string | null;
  readonly encrypted: boolean;
  readonly attempts: number;
  readonly created_at: Date;
  readonly tried_at: Date | null;
  readonly resolved_at: Date | null;
  readonly resolution: string | null;
}

/** Why documents stand here, newest reason first: those with one of these ids, or the first of a rule. */
export async function documentsOf(
  pool: pg.Pool,
  vault: Vault,
  collection: string,
  filter: { readonly ids?: readonly string[]; readonly rule?: string | undefined; readonly limit: number },
): Promise<QuarantinedDocument[]> {
  const rows = await query<Omit<QuarantinedDocument, 'problem' | 'encrypted'>>(
    pool,
    'reading the quarantine',
    `select collection, source_collection, source_id, rule, path, bson_type as type, message, document, attempts, created_at, tried_at, resolved_at, resolution
     from migration_control.migration_errors
     where (collection = $1 or source_collection = $1) and ($2::text[] is null or source_id = any($2)) and ($3::text is null or rule = $3)
     order by ${filter.ids ? '' : 'resolved_at is not null, '}id desc limit $4`,
    [collection, filter.ids ?? null, filter.rule ?? null, filter.limit],
  );
  return rows.map((row) => ({ ...row, ...opened(vault, row) }));
}

/** Decrypted where it can be, redacted always. */
function opened(
  vault: Vault,
  row: { readonly collection: string; readonly source_id: string; readonly document: unknown },
): Pick<QuarantinedDocument, 'document' | 'problem' | 'encrypted'> {
  if (!isSealed(row.document))
    return {
      document: null,
      problem: 'The row does not hold an encrypted document: another program has changed it.',
      encrypted: false,
    };
  try {
    const bytes = vault.open({ collection: row.collection, sourceId: row.source_id }, row.document);
    return { document: redactShown(shownOf(bytes)), problem: null, encrypted: true };
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    return { document: null, problem: error.message, encrypted: true };
  }
}

/** Documents and quarantined documents of each collection, from the ledger. */
export async function countsOf(pool: pg.Pool, collections: readonly string[]): Promise<QuarantineCount[]> {
  const rows = await query<{ collection: string; documents: string; quarantined: string }>(
    pool,
    'counting the quarantine',
    `select c.mapping as collection, count(*) as documents, count(*) filter (where l.state = 'q') as quarantined
     from migration_control.collections c join migration_control.ledger l on l.collection_id = c.id
     where c.mapping = any($1) and not l.deleted group by c.mapping`,
    [collections],
  );
  const found = new Map(rows.map((row) => [row.collection, row]));
  return collections.map((collection) => ({
    collection,
    documents: Number(found.get(collection)?.documents ?? 0),
    quarantined: Number(found.get(collection)?.quarantined ?? 0),
  }));
}

/** Which keys unresolved documents are encrypted with, and how many of them. */
export async function keysInUse(pool: pg.Pool): Promise<Map<string, number>> {
  const [there] = await query<{ there: boolean }>(
    pool,
    'looking for the quarantine',
    `select to_regclass('migration_control.migration_errors') is not null as there`,
  );
  if (!there!.there) return new Map();
  const rows = await query<{ key: string; documents: string }>(
    pool,
    'looking for keys in use',
    `select document ->> 'key' as key, count(*) as documents
     from migration_control.migration_errors where resolved_at is null group by 1`,
  );
  return new Map(rows.map((row) => [row.key, Number(row.documents)]));
}
