// The way back, in SQL: the anchor, what the new system has changed and the old one does not have yet, and what came to the old one too late.
import type pg from 'pg';
import { holdRoutes } from './routing.ts';
import { KnownFailure } from '../core/failures.ts';
import { query } from '../stores/postgres/connection.ts';
import { tokenOf } from '../stores/mongodb/token.ts';

export interface ReverseRow {
  readonly epoch: number;
  readonly readerEpoch: number;
  /** Position in the target MongoDB's change stream; null where no mapping writes documents there. */
  readonly token: Record<string, unknown> | null;
  readonly streamVersion: bigint;
  /** Changes of the target MongoDB up to here that were not read before writes moved back in an emergency. */
  readonly leftoverVersion: bigint;
  readonly settings: { readonly zone: string; readonly providers: readonly string[] };
}

interface Raw {
  epoch: string;
  reader_epoch: string;
  token: Record<string, unknown> | null;
  stream_version: string;
  leftover_version: string;
  settings: ReverseRow['settings'];
}

const rowOf = (row: Raw | undefined): ReverseRow | undefined =>
  row && {
    epoch: Number(row.epoch),
    readerEpoch: Number(row.reader_epoch),
    token: row.token && tokenOf(row.token),
    streamVersion: BigInt(row.stream_version),
    leftoverVersion: BigInt(row.leftover_version),
    settings: row.settings,
  };

/** undefined: no way back has been anchored, or it was taken down. */
export async function readReverse(on: pg.Pool | pg.ClientBase): Promise<ReverseRow | undefined> {
  const [there] = await query<{ there: boolean }>(
    on,
    'looking for the way back',
    `select to_regclass('migration_control.reverse_position') is not null as there`,
  );
  if (!there!.there) return undefined;
  return rowOf((await query<Raw>(on, 'reading the way back', 'select * from migration_control.reverse_position'))[0]);
}

/** The anchor under which is written. In a transaction that has locked its row. */
export async function anchorOf(client: pg.ClientBase): Promise<bigint> {
  const [row] = await query<{ anchor: string }>(
    client,
    'reading the anchor',
    'select anchor from migration_control.reverse_position',
  );
  if (!row) throw new KnownFailure('StoreBusy', 'The reverse replication was taken down meanwhile.');
  return BigInt(row.anchor);
}

/** Stores whose guards are still to be removed. The rows are locked: nobody anchors anew before the transaction ends. */
export const storesToClear = async (client: pg.ClientBase): Promise<('source' | 'target')[]> =>
  (
    await query<{ store: 'source' | 'target' }>(
      client,
      'looking what guarded the reverse replication',
      `select store from migration_control.guards_to_drop where not exists (select 1 from migration_control.reverse_position) order by store for update`,
    )
  ).map((row) => row.store);

/** Becomes the only applier, or the only reader of the target MongoDB: whoever was before is refused from now on. */
export async function takeReverse(
  pool: pg.Pool,
  part: 'epoch' | 'reader_epoch',
  holder: string,
): Promise<ReverseRow | undefined> {
  const rows = await query<Raw>(
    pool,
    'taking the way back',
    `update migration_control.reverse_position set ${part} = ${part} + 1, holder = $1 returning *`,
    [holder],
  );
  return rowOf(rows[0]);
}

/** Documents, as `mapping\tsource id`, that the new system had changed before writes moved back, and that the old one does not have yet. */
export async function leftoversOf(
  client: pg.ClientBase,
  mappings: readonly string[],
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (mappings.length === 0) return new Set();
  const rows = await query<{ mapping: string; source_id: string }>(
    client,
    'looking for changes that follow',
    `select mapping, source_id from migration_control.outbox o where mapping = any($1) and source_id = any($2) and ${isLeftover}`,
    [mappings, ids],
  );
  return new Set(rows.map((row) => `${row.mapping}\t${row.source_id}`));
}

/** SQL, of `outbox o`. Where the old system is authoritative, what the target MongoDB tells are our own writes to it. */
export const isLeftover = `(o.leftover or o.origin = 'postgres')`;

export interface ReverseStatus {
  /** Documents changed in the new system that the old one does not have yet. */
  readonly waiting: number;
  readonly documents: number;
  readonly unchanged: number;
  readonly conflicts: number;
  readonly lateWrites: number;
  /** Documents with something that the old system has no form for. */
  readonly unsaid: number;
  /** Age of the oldest change that waits, ms. */
  readonly lagMs: number;
}

export async function reverseStatus(pool: pg.Pool | pg.ClientBase): Promise<ReverseStatus | undefined> {
  if (!(await readReverse(pool))) return undefined;
  const [row] = await query<
    Record<'waiting' | 'documents' | 'unchanged' | 'conflicts' | 'late' | 'unsaid', string> & { lag: number | null }
  >(
    pool,
    'reading the state of the way back',
    `select (select count(distinct (mapping, source_id)) from migration_control.outbox) as waiting, documents, unchanged, conflicts,
       (select count(*) from migration_control.late_writes) as late, (select count(*) from migration_control.reverse_unsaid) as unsaid,
       (select extract(epoch from clock_timestamp() - min(at)) * 1000 from migration_control.outbox)::float8 as lag
     from migration_control.reverse_position`,
  );
  if (!row) return undefined;
  return {
    waiting: Number(row.waiting),
    documents: Number(row.documents),
    unchanged: Number(row.unchanged),
    conflicts: Number(row.conflicts),
    lateWrites: Number(row.late),
    unsaid: Number(row.unsaid),
    lagMs: Math.max(0, Math.round(row.lag ?? 0)),
  };
}

/** How `reverse_unsaid.paths` begins where a whole change was set aside; the reason follows in brackets. */
export const wholeDocument = 'the whole document';
/** SQL, of `reverse_unsaid u`: nobody has accepted yet that the change stays in the new system alone. */
const isSetAside = `u.paths like '${wholeDocument} (%'`;
const unsaidOf = 'migration_control.reverse_unsaid u join migration_control.collections c on c.id = u.collection_id';

export interface SetAside {
  readonly collection: string;
  readonly documents: number;
  /** Whether the new system has the collection's writes: then nothing is missing yet where it counts. */
  readonly moved: boolean;
}

/** Changes of the new system that the old one did not take, by mapping. */
export async function setAsideOf(on: pg.Pool | pg.ClientBase): Promise<SetAside[]> {
  const rows = await query<{ collection: string; documents: string; moved: boolean }>(
    on,
    'counting what was set aside',
    `select c.mapping as collection, count(*) as documents, coalesce(bool_and(r.write_mode = 'new_system'), false) as moved
     from ${unsaidOf} left join migration_control.routing r on r.collection = c.mapping where ${isSetAside} group by 1 order by 1`,
  );
  return rows.map((row) => ({ ...row, documents: Number(row.documents) }));
}

/** Notes them once more. As leftovers: where the old system's document has changed since, that one is kept and the conflict told. */
export async function retrySetAside(pool: pg.Pool): Promise<void> {
  await query(
    pool,
    'noting again what was set aside',
    `insert into migration_control.outbox (mapping, source_id, leftover) select c.mapping, u.source_id, true from ${unsaidOf} where ${isSetAside}`,
  );
}

/** They stay in the new system alone, and a rollback no longer waits for them. Still told. Returns how many. */
export async function acceptSetAside(pool: pg.Pool, collection: string | undefined, reason: string): Promise<number> {
  const [row] = await query<{ documents: string }>(
    pool,
    'accepting what was set aside',
    `with accepted as (
       update migration_control.reverse_unsaid a set paths = 'accepted: ' || a.paths from ${unsaidOf}
       where (a.collection_id, a.source_id) = (u.collection_id, u.source_id) and ${isSetAside} and ($1::text is null or c.mapping = $1)
       returning c.mapping
     ), told as (
       insert into migration_control.audit_log (action, detail)
       select 'left in the new system', jsonb_build_object('collection', mapping, 'documents', count(*), 'reason', $2::text) from accepted group by mapping
     )
     select count(*) as documents from accepted`,
    [collection ?? null, reason],
  );
  return Number(row!.documents);
}

/** Asks again and again whether everything that is noted now has been brought back; what is noted later is not waited for. */
export function bringingBack(pool: pg.Pool): () => Promise<boolean> {
  let last: string | undefined;
  return async () => {
    if (last === undefined) {
      const position = await readReverse(pool);
      if (position && position.token !== null && position.streamVersion < position.leftoverVersion) return false;
      const [row] = await query<{ last: string }>(
        pool,
        'reading how far the way back is noted',
        'select coalesce(max(id), 0) as last from migration_control.outbox',
      );
      last = row!.last;
    }
    const waiting = await query(
      pool,
      'waiting for the way back',
      'select 1 from migration_control.outbox where id <= $1 limit 1',
      [last],
    );
    return waiting.length === 0;
  };
}

/** Of these mappings, those whose writes the new system has. They do not move before the transaction ends. */
export async function movedOf(client: pg.ClientBase, mappings: readonly string[]): Promise<Set<string>> {
  await client.query(holdRoutes);
  const { rows } = await client.query<{ collection: string }>(
    `select collection from migration_control.routing where collection = any($1) and write_mode = 'new_system'`,
    [mappings],
  );
  return new Set(rows.map((row) => row.collection));
}
