// The verifier's own books: runs, how far each of their scans has come, and the keys that were not equal when last looked at.
import type pg from 'pg';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { labelOf } from './key-label.ts';
import { ownVault } from './vault.ts';

export type ScanKind = 'documents' | 'ledger' | 'rows' | 'copies' | 'keys' | 'files';

export interface PlannedScan {
  readonly kind: ScanKind;
  readonly mapping: string;
  readonly source?: string | undefined;
  readonly collectionId?: number | undefined;
  readonly target?: string | undefined;
  /** Documents or rows, as the store counts them. */
  readonly total: number;
}

export interface Scan extends PlannedScan {
  readonly scan: number;
  readonly position: string | null;
}

/** A key to be looked at. `collectionId` 0: it belongs to no source collection. A key of Redis stands in the books under its label, and encrypted. */
export interface Suspect {
  readonly kind: 'document' | 'key' | 'file';
  readonly collectionId: number;
  readonly mapping: string;
  readonly id: string;
}

/** Goes on with an unfinished run of the same scope, or begins one. */
export async function openRun(
  pool: pg.Pool,
  scope: string,
  version: bigint,
  restart: boolean,
  plan: () => Promise<readonly PlannedScan[]>,
): Promise<{ readonly run: number; readonly resumed: boolean }> {
  if (restart)
    await query(
      pool,
      'abandoning a verification',
      `update migration_control.verification_runs set state = 'abandoned', finished_at = clock_timestamp() where scope = $1 and state = 'running'`,
      [scope],
    );
  const known = await runningRun(pool, scope);
  if (known !== undefined) return { run: known, resumed: true };
  const scans = await plan();
  const run = await inTransaction(pool, 'beginning a verification', async (client) => {
    const { rows } = await client.query<{ id: string }>(
      'insert into migration_control.verification_runs (scope, state, from_version, settled_version) values ($1, $2, $3, $3) on conflict do nothing returning id',
      [scope, 'running', version.toString()],
    );
    if (!rows[0]) return undefined;
    await addScans(client, Number(rows[0].id), scans);
    await client.query(
      `delete from migration_control.verification_runs where id in (select id from migration_control.verification_runs where state <> 'running' order by id desc offset 20)`,
    );
    return Number(rows[0].id);
  });
  return { run: run ?? (await runningRun(pool, scope))!, resumed: run === undefined };
}

async function runningRun(pool: pg.Pool, scope: string): Promise<number | undefined> {
  const [row] = await query<{ id: string }>(
    pool,
    'looking for a verification',
    `select id from migration_control.verification_runs where scope = $1 and state = 'running'`,
    [scope],
  );
  return row && Number(row.id);
}

export async function addScans(client: pg.ClientBase, run: number, scans: readonly PlannedScan[]): Promise<void> {
  for (const { kind, mapping, source, collectionId, target, total } of scans)
    await client.query(
      `insert into migration_control.verification_scans (run_id, scan, kind, mapping, source, collection_id, target, total)
       select $1, coalesce(max(scan), 0) + 1, $2, $3, $4, $5, $6, $7 from migration_control.verification_scans where run_id = $1`,
      [run, kind, mapping, source ?? null, collectionId ?? null, target ?? null, total],
    );
}

/** The first scan that is not done. */
export async function nextScan(pool: pg.Pool, run: number): Promise<Scan | undefined> {
  const [row] = await query<{
    scan: number;
    kind: ScanKind;
    mapping: string;
    source: string | null;
    collection_id: number | null;
    target: string | null;
    position: string | null;
    total: string;
  }>(
    pool,
    'reading the verification',
    'select scan, kind, mapping, source, collection_id, target, position, total from migration_control.verification_scans where run_id = $1 and not done order by scan limit 1',
    [run],
  );
  return (
    row && {
      scan: row.scan,
      kind: row.kind,
      mapping: row.mapping,
      source: row.source ?? undefined,
      collectionId: row.collection_id ?? undefined,
      target: row.target ?? undefined,
      position: row.position,
      total: Number(row.total),
    }
  );
}

export interface Piece {
  readonly position: string | null;
  readonly compared: number;
  readonly evicted?: number;
  readonly restored?: number;
  readonly done: boolean;
  readonly suspects: readonly Suspect[];
}

/** A piece counts once: what it found and the position behind it are one transaction. */
export async function closePiece(pool: pg.Pool, run: number, scan: Scan, piece: Piece): Promise<void> {
  await inTransaction(pool, 'closing a piece of the verification', async (client) => {
    await suspect(client, run, piece.suspects);
    await client.query(
      `update migration_control.verification_scans set position = $3, compared = compared + $4, evicted = evicted + $5, done = $6, restored = restored + $7, pieces = pieces + 1,
         started_at = coalesce(started_at, clock_timestamp()), updated_at = clock_timestamp() where run_id = $1 and scan = $2`,
      [run, scan.scan, piece.position, piece.compared, piece.evicted ?? 0, piece.done, piece.restored ?? 0],
    );
  });
}

/** Scans that have met keys which are not in Redis, and only counted them, begin anew. */
export async function lookForAbsentAgain(pool: pg.Pool, run: number): Promise<void> {
  await query(
    pool,
    'beginning scans anew',
    'update migration_control.verification_scans set position = null, done = false, compared = 0, evicted = 0 where run_id = $1 and evicted > 0',
    [run],
  );
}

/** What a suspect stands under. */
export const nameInBooks = ({ kind, id }: Pick<Suspect, 'kind' | 'id'>): string => (kind === 'key' ? labelOf(id) : id);

export interface BookedRow {
  readonly kind: Suspect['kind'];
  readonly collection_id: number;
  readonly mapping: string;
  readonly id: string;
  readonly sealed: string | null;
}

export const suspectIn = ({ kind, collection_id, mapping, id, sealed }: BookedRow): Suspect => ({
  kind,
  collectionId: collection_id,
  mapping,
  id: sealed === null ? id : ownVault().openText('redis key', sealed),
});

export async function suspect(client: pg.ClientBase, run: number, suspects: readonly Suspect[]): Promise<void> {
  if (suspects.length === 0) return;
  await client.query(
    `insert into migration_control.verification_keys (run_id, kind, collection_id, mapping, id, sealed, first_mismatch_at)
     select $1, kind, collection_id, mapping, id, sealed, clock_timestamp()
     from unnest($2::text[], $3::smallint[], $4::text[], $5::text[], $6::text[]) s(kind, collection_id, mapping, id, sealed) on conflict do nothing`,
    [
      run,
      suspects.map((one) => one.kind),
      suspects.map((one) => one.collectionId),
      suspects.map((one) => one.mapping),
      suspects.map(nameInBooks),
      suspects.map((one) => (one.kind === 'key' ? ownVault().sealText('redis key', one.id) : null)),
    ],
  );
}

export interface RunState {
  readonly generation: number;
  readonly settledVersion: bigint;
}

export async function runState(pool: pg.Pool, run: number): Promise<RunState> {
  const [row] = await query<{ generation: number; settled_version: string }>(
    pool,
    'reading the verification',
    'select generation, settled_version from migration_control.verification_runs where id = $1',
    [run],
  );
  return { generation: row!.generation, settledVersion: BigInt(row!.settled_version) };
}

/** Begins a generation: whatever changed since the last one is looked at again, up to `version`. */
export async function beginGeneration(
  pool: pg.Pool,
  run: number,
  state: RunState,
  version: bigint,
  collectionIds: readonly number[],
): Promise<void> {
  await inTransaction(pool, 'beginning a generation', async (client) => {
    await client.query(
      `insert into migration_control.verification_keys (run_id, kind, collection_id, mapping, id)
       select $1, 'document', l.collection_id, c.mapping, l.source_id from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
       where l.collection_id = any($2) and l.version > $3 and l.version <= $4 on conflict do nothing`,
      [run, collectionIds, state.settledVersion.toString(), version.toString()],
    );
    await client.query(
      'update migration_control.verification_runs set generation = $2, settled_version = greatest(settled_version, $3) where id = $1',
      [run, state.generation + 1, version.toString()],
    );
  });
}

export type SuspectGroup = Omit<Suspect, 'id'>;

/** With suspects that this generation has not looked at: of one kind, documents before the files and keys that are made of them. */
export const suspectGroups = (pool: pg.Pool, run: number, generation: number): Promise<SuspectGroup[]> =>
  query<{ [Key in keyof SuspectGroup]: SuspectGroup[Key] }>(
    pool,
    'reading suspects',
    `with due as (select distinct kind, collection_id as "collectionId", mapping from migration_control.verification_keys where run_id = $1 and state = 'suspect' and generation < $2)
     select * from due where kind = (select min(kind) from due) order by 2, 3`,
    [run, generation],
  );

/** Those of a group that this generation has not looked at. */
export async function nextSuspects(
  pool: pg.Pool,
  run: number,
  generation: number,
  { kind, collectionId, mapping }: SuspectGroup,
  most: number,
): Promise<Suspect[]> {
  const rows = await query<{ [Key in keyof BookedRow]: BookedRow[Key] }>(
    pool,
    'reading suspects',
    `select kind, collection_id, mapping, id, sealed from migration_control.verification_keys
     where run_id = $1 and state = 'suspect' and generation < $2 and kind = $3 and collection_id = $4 and mapping = $5 order by id limit $6`,
    [run, generation, kind, collectionId, mapping, most],
  );
  return rows.map(suspectIn);
}

export type Finding = 'missing' | 'extra' | 'different' | 'stale';
export type Verdict =
  | { readonly is: 'equal' }
  /** `changed`: a newer version is there than the one that was read. */
  | { readonly is: 'open'; readonly changed: boolean }
  | { readonly is: 'different'; readonly finding: Finding; readonly differs: readonly string[] };

/** Found different twice, each time with capture past the read, it is different. */
const proof = 2;

export async function enterVerdicts(
  pool: pg.Pool,
  run: number,
  generation: number,
  verdicts: readonly (readonly [Suspect, Verdict])[],
): Promise<void> {
  const of = (is: Verdict['is']) => verdicts.filter(([, verdict]) => verdict.is === is);
  const keys = (list: readonly (readonly [Suspect, Verdict])[]) => [
    run,
    list.map(([one]) => one.kind),
    list.map(([one]) => one.collectionId),
    list.map(([one]) => nameInBooks(one)),
  ];
  const same =
    'k.run_id = $1 and k.kind = v.kind and k.collection_id = v.collection_id and md5(k.id) = md5(v.id) and k.id = v.id';
  const values = 'unnest($2::text[], $3::smallint[], $4::text[]) v(kind, collection_id, id)';
  const [equal, open, different] = [of('equal'), of('open'), of('different')];
  await inTransaction(pool, 'entering verdicts', async (client) => {
    if (equal.length > 0) {
      await client.query(
        `update migration_control.verification_keys k set state = 'repaired', generation = $5 from ${values} where ${same} and k.repaired_at is not null`,
        [...keys(equal), generation],
      );
      await client.query(
        `delete from migration_control.verification_keys k using ${values} where ${same} and k.repaired_at is null`,
        keys(equal),
      );
    }
    if (open.length > 0)
      await client.query(
        `update migration_control.verification_keys k set generation = $5, judged = case when v.changed then 0 else k.judged end,
           first_mismatch_at = case when v.changed then null else k.first_mismatch_at end
         from unnest($2::text[], $3::smallint[], $4::text[], $6::boolean[]) v(kind, collection_id, id, changed) where ${same}`,
        [...keys(open), generation, open.map(([, verdict]) => verdict.is === 'open' && verdict.changed)],
      );
    for (const [one, verdict] of different)
      if (verdict.is === 'different')
        await client.query(
          `update migration_control.verification_keys set generation = $5, judged = judged + 1, first_mismatch_at = coalesce(first_mismatch_at, clock_timestamp()),
             finding = $6, differs = $7, state = case when judged + 1 >= ${proof} then 'different' else 'suspect' end
           where run_id = $1 and kind = $2 and collection_id = $3 and md5(id) = md5($4) and id = $4`,
          [run, one.kind, one.collectionId, nameInBooks(one), generation, verdict.finding, verdict.differs],
        );
    await client.query('update migration_control.verification_runs set judged = judged + $2 where id = $1', [
      run,
      verdicts.length,
    ]);
  });
}

export async function countOf(pool: pg.Pool, run: number, state: 'suspect' | 'different'): Promise<number> {
  const [row] = await query<{ count: string }>(
    pool,
    'counting suspects',
    'select count(*) from migration_control.verification_keys where run_id = $1 and state = $2',
    [run, state],
  );
  return Number(row!.count);
}
