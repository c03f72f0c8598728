// What verification has found of one document: by `causeway verify`, by the checks of a stage, and of its collection as a whole.
import type pg from 'pg';
import type { LedgerEntry } from '../control/lineage.ts';
import { labelOf } from '../control/key-label.ts';
import type { Finding } from '../control/verification.ts';
import { query } from '../stores/postgres/connection.ts';

export interface Verified {
  /** The last validation of the collection as a whole. */
  readonly validation: { readonly status: string; readonly at: string } | null;
  /** The last `causeway verify` that covered it and came to its end: of what it does not name among the findings it found nothing. */
  readonly run: { readonly run: number; readonly at: string; readonly asOf: string } | null;
  /** Of the document and its keys, newest run first. */
  readonly findings: readonly VerifiedFinding[];
  /** The checks of a stage know it to differ, since then. */
  readonly divergence: { readonly kind: 'missing' | 'corrupted'; readonly since: string } | null;
}

export interface VerifiedFinding {
  readonly run: number;
  readonly kind: 'document' | 'key';
  readonly id: string;
  /** `open`: it is to be looked at again, or was changing each time. */
  readonly state: 'open' | 'different' | 'repaired';
  /** null: not judged different yet. */
  readonly finding: Finding | null;
  /** Columns, fields and paths; never their values. */
  readonly differs: readonly string[];
  readonly since: string | null;
  readonly repairedAt: string | null;
}

const mostFindings = 20;

export async function verifiedOf(pool: pg.Pool, entry: LedgerEntry): Promise<Verified> {
  const [last] = await query<{ status: string; at: Date }>(
    pool,
    'reading results',
    `select overall_status as status, "timestamp" as at from migration_control.validation_results where collection = $1 order by id desc limit 1`,
    [entry.collection],
  );
  const [diverges] = await query<{ kind: 'missing' | 'corrupted'; at: Date }>(
    pool,
    'reading known differences',
    'select kind, found_at as at from migration_control.divergences where collection_id = $1 and source_id = $2',
    [entry.collectionId, entry.sourceId],
  );
  return {
    validation: last ? { status: last.status, at: last.at.toISOString() } : null,
    run: await lastRun(pool, entry),
    findings: await findingsOf(pool, entry),
    divergence: diverges ? { kind: diverges.kind, since: diverges.at.toISOString() } : null,
  };
}

async function lastRun(pool: pg.Pool, { collection }: LedgerEntry): Promise<Verified['run']> {
  const [row] = await query<{ id: string; at: Date; as_of: string }>(
    pool,
    'looking for the last verification',
    `select id, finished_at as at, as_of from migration_control.verification_runs
     where state = 'finished' and (scope = 'all' or $1 = any(string_to_array(scope, ','))) order by id desc limit 1`,
    [collection],
  );
  if (!row) return null;
  const asOf = BigInt(row.as_of);
  return { run: Number(row.id), at: row.at.toISOString(), asOf: `${asOf >> 32n}.${asOf & 0xffffffffn}` };
}

async function findingsOf(pool: pg.Pool, entry: LedgerEntry): Promise<VerifiedFinding[]> {
  const rows = await query<
    Pick<VerifiedFinding, 'kind' | 'id' | 'finding' | 'differs'> & {
      run_id: string;
      state: 'suspect' | 'different' | 'repaired';
      since: Date | null;
      repaired_at: Date | null;
    }
  >(
    pool,
    'reading what verification has found',
    `with of (kind, collection_id, id) as (select 'document', $1::smallint, $2 union all select 'key', 0::smallint, unnest($3::text[]))
     select k.run_id, k.kind, k.id, k.state, k.finding, coalesce(k.differs, '{}') as differs, k.first_mismatch_at as since, k.repaired_at
     from migration_control.verification_runs r cross join of
       join migration_control.verification_keys k on k.run_id = r.id and k.kind = of.kind and k.collection_id = of.collection_id and md5(k.id) = md5(of.id) and k.id = of.id
     order by k.run_id desc, k.kind, k.id limit ${mostFindings}`,
    [entry.collectionId, entry.sourceId, entry.keys.map(labelOf)],
  );
  return rows.map(({ run_id, state, since, repaired_at, ...row }) => ({
    run: Number(run_id),
    ...row,
    state: state === 'suspect' ? 'open' : state,
    since: since?.toISOString() ?? null,
    repairedAt: repaired_at?.toISOString() ?? null,
  }));
}
