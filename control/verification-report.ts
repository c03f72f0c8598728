// What a verification has found and how far it has come, out of its books.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';
import type { Finding, Suspect } from './verification.ts';

export interface Summary {
  readonly run: number;
  /** Cluster time as seconds.increment. */
  readonly asOf: string;
  readonly equal: number;
  readonly open: number;
  readonly oldestOpenSeconds: number;
  readonly different: number;
  readonly repaired: number;
  /** Keys of Redis that were not there and need not be. */
  readonly evicted: number;
  /** Keys that were not there and have been set again. */
  readonly restored: number;
  readonly documents: number;
  readonly rows: number;
  readonly judged: number;
  readonly generations: number;
  readonly seconds: number;
}

/** The run's result, stored with it. */
export async function closeRun(pool: pg.Pool, run: number, collectionIds: readonly number[]): Promise<Summary> {
  const [row] = await query<
    Record<
      | 'settled_version'
      | 'equal'
      | 'open'
      | 'different'
      | 'repaired'
      | 'evicted'
      | 'restored'
      | 'documents'
      | 'rows'
      | 'judged',
      string
    > & {
      generation: number;
      oldest: number;
      seconds: number;
    }
  >(
    pool,
    'summing up the verification',
    `select r.settled_version, r.generation, r.judged, extract(epoch from clock_timestamp() - r.started_at)::float8 as seconds,
       (select count(*) from migration_control.ledger l where l.collection_id = any($2) and not l.deleted and not exists (
          select 1 from migration_control.verification_keys k where k.run_id = r.id and k.kind = 'document' and k.collection_id = l.collection_id and k.id = l.source_id and k.state <> 'repaired')) as equal,
       (select count(*) from migration_control.verification_keys k where k.run_id = r.id and k.state = 'suspect') as open,
       (select coalesce(extract(epoch from clock_timestamp() - min(k.first_mismatch_at)), 0)::float8 from migration_control.verification_keys k where k.run_id = r.id and k.state = 'suspect') as oldest,
       (select count(*) from migration_control.verification_keys k where k.run_id = r.id and k.state = 'different') as different,
       (select count(*) from migration_control.verification_keys k where k.run_id = r.id and k.state = 'repaired') as repaired,
       (select coalesce(sum(evicted), 0) from migration_control.verification_scans s where s.run_id = r.id) as evicted,
       (select coalesce(sum(restored), 0) from migration_control.verification_scans s where s.run_id = r.id) as restored,
       (select coalesce(sum(compared), 0) from migration_control.verification_scans s where s.run_id = r.id and kind = 'documents') as documents,
       (select coalesce(sum(compared), 0) from migration_control.verification_scans s where s.run_id = r.id and kind <> 'documents') as rows
     from migration_control.verification_runs r where r.id = $1`,
    [run, collectionIds],
  );
  const version = BigInt(row!.settled_version);
  const summary: Summary = {
    run,
    asOf: `${version >> 32n}.${version & 0xffffffffn}`,
    equal: Number(row!.equal),
    open: Number(row!.open),
    oldestOpenSeconds: Math.round(row!.oldest * 10) / 10,
    different: Number(row!.different),
    repaired: Number(row!.repaired),
    evicted: Number(row!.evicted),
    restored: Number(row!.restored),
    documents: Number(row!.documents),
    rows: Number(row!.rows),
    judged: Number(row!.judged),
    generations: row!.generation,
    seconds: Math.round(row!.seconds * 10) / 10,
  };
  await query(
    pool,
    'storing the result of the verification',
    `update migration_control.verification_runs set state = 'finished', finished_at = clock_timestamp(), as_of = settled_version, result = $2 where id = $1`,
    [run, JSON.stringify(summary)],
  );
  return summary;
}

export interface Difference {
  readonly kind: Suspect['kind'];
  readonly collection: string;
  /** The source collection; null for keys and files. */
  readonly source: string | null;
  readonly id: string;
  readonly finding: Finding | null;
  readonly differs: readonly string[];
  readonly state: 'suspect' | 'different' | 'repaired';
  readonly since: string | null;
}

/** What the run has found, worst first. */
export async function differencesOf(pool: pg.Pool, run: number, most: number): Promise<Difference[]> {
  const rows = await query<Omit<Difference, 'since'> & { since: Date | null }>(
    pool,
    'reading differences',
    `select k.kind, k.mapping as collection, c.source, k.id, k.finding, coalesce(k.differs, '{}') as differs, k.state, k.first_mismatch_at as since
     from migration_control.verification_keys k left join migration_control.collections c on c.id = k.collection_id
     where k.run_id = $1 order by k.state, k.mapping, k.kind, k.id limit $2`,
    [run, most],
  );
  return rows.map((row) => ({ ...row, since: row.since?.toISOString() ?? null }));
}

export interface Kind {
  readonly state: Difference['state'];
  readonly finding: Finding | null;
  readonly keys: number;
}

/** How many keys of each kind a run has found, most first. */
export async function kindsOf(pool: pg.Pool, run: number): Promise<Kind[]> {
  const rows = await query<Omit<Kind, 'keys'> & { keys: string }>(
    pool,
    'counting differences',
    `select state, finding, count(*) as keys from migration_control.verification_keys where run_id = $1 group by 1, 2 order by 3 desc, 1, 2`,
    [run],
  );
  return rows.map((row) => ({ ...row, keys: Number(row.keys) }));
}

export interface VerificationProgress {
  readonly run: number;
  readonly compared: number;
  readonly total: number;
  readonly pieces: number;
  readonly suspects: number;
  readonly different: number;
  readonly generation: number;
  readonly scan: string | null;
}

/** How far a run has come; undefined where there is none. */
export async function verificationProgress(pool: pg.Pool, scope: string): Promise<VerificationProgress | undefined> {
  const [there] = await query<{ there: boolean }>(
    pool,
    'looking for verifications',
    `select to_regclass('migration_control.verification_runs') is not null as there`,
  );
  if (!there!.there) return undefined;
  const [row] = await query<
    Record<'id' | 'compared' | 'total' | 'pieces' | 'suspects' | 'different', string> & {
      generation: number;
      scan: string | null;
    }
  >(
    pool,
    'reading the progress of the verification',
    `select r.id, r.generation, coalesce(sum(s.compared), 0) as compared, coalesce(sum(case when s.done then s.compared else greatest(s.total, s.compared) end), 0) as total,
       coalesce(sum(s.pieces), 0) as pieces,
       (select kind || ' ' || coalesce(target, source, mapping) from migration_control.verification_scans s where s.run_id = r.id and not s.done order by scan limit 1) as scan,
       (select count(*) from migration_control.verification_keys k where k.run_id = r.id and k.state = 'suspect') as suspects,
       (select count(*) from migration_control.verification_keys k where k.run_id = r.id and k.state = 'different') as different
     from migration_control.verification_runs r left join migration_control.verification_scans s on s.run_id = r.id
     where r.scope = $1 group by r.id order by r.id desc limit 1`,
    [scope],
  );
  return (
    row && {
      run: Number(row.id),
      compared: Number(row.compared),
      total: Number(row.total),
      pieces: Number(row.pieces),
      suspects: Number(row.suspects),
      different: Number(row.different),
      generation: row.generation,
      scan: row.scan,
    }
  );
}
