// Where change capture stands, in SQL: the stream's position, the lanes', what lies between them, and gaps.
import type pg from 'pg';
import type { Version } from '../core/guard.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { troublesNow, waitingNow, type Trouble, type Waiting } from './troubles.ts';
import { suspendedNow, type Suspended } from './workers.ts';
import { tokenOf } from '../stores/mongodb/token.ts';

export interface StreamRow {
  readonly epoch: number;
  readonly token: Record<string, unknown>;
  readonly version: bigint;
  readonly last: Version | undefined;
  readonly lanes: number;
  readonly images: 'post-images' | 'updateLookup';
  readonly nextSegment: bigint;
}

interface RawStream {
  epoch: string;
  token: Record<string, unknown>;
  version: string;
  last_version: string;
  last_op_index: number;
  lanes: number;
  images: StreamRow['images'];
  next_segment: string;
}

const streamOf = (row: RawStream | undefined): StreamRow | undefined =>
  row && {
    epoch: Number(row.epoch),
    token: tokenOf(row.token),
    version: BigInt(row.version),
    last: row.last_version === '0' ? undefined : { time: BigInt(row.last_version), op: row.last_op_index },
    lanes: row.lanes,
    images: row.images,
    nextSegment: BigInt(row.next_segment),
  };

/** undefined: capture has not been opened, or was undone. */
export async function readStream(on: pg.Pool | pg.ClientBase): Promise<StreamRow | undefined> {
  const there = await query<{ there: boolean }>(
    on,
    'looking for change capture',
    `select to_regclass('migration_control.capture_stream') is not null as there`,
  );
  if (!there[0]!.there) return undefined;
  return streamOf(
    (await query<RawStream>(on, 'reading the position', 'select * from migration_control.capture_stream'))[0],
  );
}

/**
 * The cluster time up to which the stream has shown every change; undefined where there is no capture. A read that begins later holds all of
 * them, whatever the server says of its time: the embedded one names a time that a transaction about to commit is older than.
 */
export const shownUpTo = async (on: pg.Pool | pg.ClientBase): Promise<bigint | undefined> =>
  (await readStream(on))?.version;

/** How far capture is behind the source's clock (ms since the epoch), in ms; undefined where there is no capture. Cheap enough to be asked often. */
export async function captureLag(pool: pg.Pool, clock: number): Promise<number | undefined> {
  const stream = await readStream(pool);
  if (!stream) return undefined;
  const [row] = await query<Since>(pool, 'looking how far capture is behind', `select ${since}`);
  return lagOf(stream, row!, clock);
}

interface Since {
  first_wall: Date | null;
  seen_at: Date | null;
}

const since = `(select min(first_wall) from migration_control.captured) as first_wall,
               (select seen_at from migration_control.capture_stream) as seen_at`;

function lagOf(stream: StreamRow, row: Since, clock: number): number {
  const reached = Math.min(
    row.first_wall?.getTime() ?? Infinity,
    row.seen_at?.getTime() ?? Number(stream.version >> 32n) * 1000,
  );
  return Math.max(0, Math.round(clock - reached));
}

/** Becomes the stream's only reader: whoever read before is refused from now on. */
export async function takeStream(pool: pg.Pool, holder: string): Promise<StreamRow | undefined> {
  const rows = await query<RawStream>(
    pool,
    'taking the stream',
    'update migration_control.capture_stream set epoch = epoch + 1, holder = $1 returning *',
    [holder],
  );
  return streamOf(rows[0]);
}

/** Becomes the lane's only applier. Returns its epoch, or undefined when there is no such lane (any more). */
export async function takeLane(pool: pg.Pool, lane: number, holder: string): Promise<number | undefined> {
  const rows = await query<{ epoch: string }>(
    pool,
    `taking lane ${lane}`,
    'update migration_control.capture_position set epoch = epoch + 1, holder = $2 where lane = $1 returning epoch',
    [lane, holder],
  );
  return rows[0] && Number(rows[0].epoch);
}

/** Locks the row for the transaction: another that takes it over meanwhile waits for this one's end. `segment`: the number that is due. */
export async function holdsStream(client: pg.ClientBase, epoch: number, segment: bigint): Promise<boolean> {
  const { rowCount } = await client.query(
    'select 1 from migration_control.capture_stream where epoch = $1 and next_segment = $2 for update',
    [epoch, segment.toString()],
  );
  return rowCount === 1;
}

export async function holdsLane(client: pg.ClientBase, lane: number, epoch: number): Promise<boolean> {
  const { rowCount } = await client.query(
    'select 1 from migration_control.capture_position where lane = $1 and epoch = $2 for update',
    [lane, epoch],
  );
  return rowCount === 1;
}

/** Whoever reads or applies changes finds no position any more, and ends; what it had open is waited for. */
export async function closeCapture(pool: pg.Pool): Promise<void> {
  await inTransaction(pool, 'closing change capture', async (client) => {
    for (const table of [
      'capture_stream',
      'capture_position',
      'captured',
      'redo',
      'unresolved',
      'stale_files',
      'capture_troubles',
    ])
      await client.query(`truncate migration_control.${table}`);
  });
}

export interface Gap {
  readonly kind: string;
  readonly collection: string | null;
  readonly detail: string;
  readonly openedAt: string;
}

/** One gap stands open at a time: what happens while it is repaired is added to it, and takes a repair of its own. */
export async function openGap(
  on: pg.Pool | pg.ClientBase,
  gap: { kind: string; collection: string | undefined; detail: string; from: bigint },
): Promise<void> {
  await query(
    on,
    'recording a gap',
    `insert into migration_control.capture_gaps as g (kind, collection, detail, from_version) values ($1, $2, $3, $4)
     on conflict ((true)) where closed_at is null do update set kind = excluded.kind, collection = excluded.collection,
       detail = g.detail || '; then, while that was repaired, ' || excluded.detail, repairing = false where g.repairing`,
    [gap.kind, gap.collection ?? null, gap.detail, gap.from.toString()],
  );
}

export async function currentGap(on: pg.Pool | pg.ClientBase): Promise<Gap | undefined> {
  const [row] = await query<{ kind: string; collection: string | null; detail: string; opened_at: Date }>(
    on,
    'looking for gaps',
    'select kind, collection, detail, opened_at from migration_control.capture_gaps where closed_at is null',
  );
  return (
    row && { kind: row.kind, collection: row.collection, detail: row.detail, openedAt: row.opened_at.toISOString() }
  );
}

export interface CaptureStatus {
  /** Every change up to this cluster time stands in the targets: seconds.increment. */
  readonly position: string;
  readonly version: bigint;
  readonly lagMs: number;
  readonly pendingEvents: number;
  readonly events: number;
  readonly documents: number;
  /** Documents waiting to be read again. */
  readonly redo: number;
  readonly lagP50Ms: number | null;
  readonly lagP99Ms: number | null;
  readonly holders: Record<string, string | null>;
  readonly gap: Gap | null;
  /** Loops that fail now. */
  readonly troubles: readonly Trouble[];
  /** Documents that could be neither applied nor set aside; the first few. */
  readonly waiting: readonly Waiting[];
  /** Workers that live and take no work. */
  readonly suspended: readonly Suspended[];
}

/** Seconds.increment. */
export const positionText = (version: bigint): string => `${version >> 32n}.${version & 0xffffffffn}`;

/** `clock`: the source's clock, ms, now. undefined where capture has not been opened. */
export async function captureStatus(pool: pg.Pool, clock: number): Promise<CaptureStatus | undefined> {
  const stream = await readStream(pool);
  if (!stream) return undefined;
  const [row] = await query<
    Record<'events' | 'documents' | 'pending' | 'redo', string> &
      Since & {
        first_version: string | null;
        p50: number | null;
        p99: number | null;
        holders: Record<string, string | null>;
      }
  >(
    pool,
    'reading the state of capture',
    `select (select coalesce(sum(events), 0) from migration_control.capture_position) as events,
            (select coalesce(sum(documents), 0) from migration_control.capture_position) as documents,
            (select coalesce(sum(events), 0) from migration_control.captured) as pending,
            (select min(first_version) from migration_control.captured) as first_version,
            ${since},
            (select count(*) from migration_control.redo) as redo,
            (select percentile_cont(0.5) within group (order by lag_ms) from migration_control.capture_lag) as p50,
            (select percentile_cont(0.99) within group (order by lag_ms) from migration_control.capture_lag) as p99,
            (select jsonb_object_agg('lane ' || lane, holder) || jsonb_build_object('reader', (select holder from migration_control.capture_stream))
             from migration_control.capture_position) as holders`,
  );
  const version = row!.first_version === null ? stream.version : BigInt(row!.first_version) - 1n;
  return {
    position: positionText(version),
    version,
    lagMs: lagOf(stream, row!, clock),
    pendingEvents: Number(row!.pending),
    events: Number(row!.events),
    documents: Number(row!.documents),
    redo: Number(row!.redo),
    lagP50Ms: row!.p50,
    lagP99Ms: row!.p99,
    holders: row!.holders,
    gap: (await currentGap(pool)) ?? null,
    troubles: await troublesNow(pool),
    waiting: await waitingNow(pool),
    suspended: await suspendedNow(pool),
  };
}

/**
 * Every change up to this cluster time stands in the targets; undefined where there is no change capture. The stream's position is read first: what
 * it has read by then is applied or waits.
 */
export async function appliedVersion(pool: pg.Pool): Promise<bigint | undefined> {
  const stream = await readStream(pool);
  if (!stream) return undefined;
  const [row] = await query<{ first: string | null }>(
    pool,
    'looking how far capture has come',
    'select min(first_version) as first from migration_control.captured',
  );
  return row!.first === null ? stream.version : BigInt(row!.first) - 1n;
}
