// What the control schema knows of one document: its versions, its time in quarantine, what it waits for.
import { ownVault } from './vault.ts';
import type pg from 'pg';
import { readOp } from '../core/guard.ts';
import { query } from '../stores/postgres/connection.ts';
import { originCode, type Origin } from '../stores/postgres/ledger.ts';

/** As long as superseded versions are kept, and as many of them: lineage is the first thing to go where room is short. */
const historyDays = 30;
const mostVersions = 5_000_000;

/** Drops what is too old, and a quarter of what is left where there is too much of it. */
export async function forgetVersions(pool: pg.Pool, most = mostVersions): Promise<void> {
  await query(
    pool,
    'forgetting old versions',
    `delete from migration_control.ledger_history where superseded_at < clock_timestamp() - interval '${historyDays} days'`,
  );
  const [row] = await query<{ live: string | null }>(
    pool,
    'counting old versions',
    `select pg_stat_get_live_tuples('migration_control.ledger_history'::regclass) as live`,
  );
  if (Number(row!.live ?? 0) > most)
    await query(
      pool,
      'forgetting old versions',
      `delete from migration_control.ledger_history where superseded_at <
         (select min(superseded_at) + (max(superseded_at) - min(superseded_at)) / 4 from migration_control.ledger_history)`,
    );
}

export interface Holder {
  readonly collection: string;
  readonly source: string;
  readonly collectionId: number;
  readonly sourceId: string;
}

interface LedgerRow {
  readonly id: number;
  readonly mapping: string;
  readonly source: string;
  readonly source_id: string;
  readonly version: string;
  readonly op_index: number;
  readonly deleted: boolean;
  readonly state: string;
  readonly rule: string | null;
  readonly mapping_version: number;
  readonly origin: string | null;
  readonly place: Date | null;
  readonly place_text: string | null;
  readonly keys: string[] | null;
  readonly superseded_at: Date | null;
}

export interface SeenVersion {
  /** seconds.increment of the source's cluster time. */
  readonly clusterTime: string;
  readonly at: string;
  /** Position within the cluster time; null for a document that was read, not captured. */
  readonly operation: number | null;
  readonly came: 'copy' | 'change capture' | Exclude<Origin, 'capture'> | 'unknown';
  readonly state: 'loaded' | 'quarantined' | 'skipped' | 'deleted';
  readonly rule: string | null;
  readonly mappingVersion: number;
  readonly supersededAt: string | null;
}

/** One document as the ledger holds it. */
export interface LedgerEntry extends Holder {
  readonly version: SeenVersion;
  /** Time column of its row in a table partitioned by time, as text without loss. */
  readonly place: string | null;
  readonly keys: readonly string[];
}

const came = new Map<string, Origin>(Object.entries(originCode).map(([origin, code]) => [code, origin as Origin]));

/** A version that was taken from the stream has a position in its cluster time; what no writer has signed the copy has loaded. */
function cameBy(origin: string | null, op: number): SeenVersion['came'] {
  if (origin === null) return op === readOp ? 'copy' : 'change capture';
  const by = came.get(origin);
  return by === undefined ? 'unknown' : by === 'capture' ? 'change capture' : by;
}

const states = { l: 'loaded', q: 'quarantined', s: 'skipped' } as const;

function versionOf(row: Omit<LedgerRow, 'id' | 'mapping' | 'source' | 'place' | 'place_text' | 'keys'>): SeenVersion {
  const time = BigInt(row.version);
  return {
    clusterTime: `${time >> 32n}.${time & 0xffffffffn}`,
    at: new Date(Number(time >> 32n) * 1000).toISOString(),
    operation: row.op_index === readOp ? null : row.op_index,
    came: cameBy(row.origin, row.op_index),
    state: row.deleted ? 'deleted' : states[row.state as keyof typeof states],
    rule: row.rule,
    mappingVersion: row.mapping_version,
    supersededAt: row.superseded_at?.toISOString() ?? null,
  };
}

/** The ledger's rows of a mapping (by its name or one of its source collections) with one of these ids; what is there before what was deleted. */
export async function entriesOf(pool: pg.Pool, collection: string, ids: readonly string[]): Promise<LedgerEntry[]> {
  const rows = await query<LedgerRow>(
    pool,
    'looking into the ledger',
    `select c.id, c.mapping, c.source, l.source_id, l.version, l.op_index, l.deleted, l.state, l.rule, l.mapping_version, l.origin, l.place::text as place_text,
            l.keys, null::timestamptz as superseded_at
     from migration_control.collections c join migration_control.ledger l on l.collection_id = c.id
     where (c.mapping = $1 or c.source = $1) and l.source_id = any($2) and l.version > 0
     order by l.deleted, c.source <> $1, l.state <> 'l', array_position($2::text[], l.source_id), c.id`,
    [collection, ids],
  );
  return rows.map((row) => ({
    collection: row.mapping,
    source: row.source,
    collectionId: row.id,
    sourceId: row.source_id,
    version: versionOf(row),
    place: row.place_text,
    keys: (row.keys ?? []).map((key) => ownVault().openText('redis key', key)),
  }));
}

const mostShown = 50;

/** Versions before the present one, newest first, as far as they are remembered. */
export async function earlierVersions(pool: pg.Pool, of: Holder): Promise<SeenVersion[]> {
  const rows = await query<LedgerRow>(
    pool,
    'reading earlier versions',
    `select version, op_index, deleted, state, rule, mapping_version, origin, superseded_at, source_id from migration_control.ledger_history
     where collection_id = $1 and source_id = $2 order by version desc, op_index desc limit ${mostShown}`,
    [of.collectionId, of.sourceId],
  );
  return rows.map(versionOf);
}

export interface QuarantineCase {
  readonly rule: string;
  readonly path: string;
  readonly type: string | null;
  readonly message: string;
  readonly mappingVersion: number;
  readonly attempts: number;
  readonly createdAt: string;
  readonly triedAt: string | null;
  readonly resolvedAt: string | null;
  readonly resolution: string | null;
}

/** Every time the document was set aside, newest first. */
export async function casesOf(pool: pg.Pool, of: Holder): Promise<QuarantineCase[]> {
  const rows = await query<{
    rule: string;
    path: string;
    bson_type: string | null;
    message: string;
    mapping_version: number;
    attempts: number;
    created_at: Date;
    tried_at: Date | null;
    resolved_at: Date | null;
    resolution: string | null;
  }>(
    pool,
    'reading the quarantine',
    `select rule, path, bson_type, message, mapping_version, attempts, created_at, tried_at, resolved_at, resolution from migration_control.migration_errors
     where collection = $1 and source_collection = $2 and source_id = $3 order by id desc limit ${mostShown}`,
    [of.collection, of.source, of.sourceId],
  );
  return rows.map((row) => ({
    rule: row.rule,
    path: row.path,
    type: row.bson_type,
    message: row.message,
    mappingVersion: row.mapping_version,
    attempts: row.attempts,
    createdAt: row.created_at.toISOString(),
    triedAt: row.tried_at?.toISOString() ?? null,
    resolvedAt: row.resolved_at?.toISOString() ?? null,
    resolution: row.resolution,
  }));
}

export interface Election {
  readonly rule: string;
  readonly path: string;
  readonly winner: string | null;
  readonly winnerSource: string | null;
}

export interface Waiting {
  /** The unique value it lost to another document, before the copy or since. */
  readonly elections: readonly Election[];
  /** It is to be read from the source again. */
  readonly redo: readonly { readonly reason: string; readonly since: string | null; readonly tries: number }[];
  /** References that have found no row; the key is a value of the document and is left out. */
  readonly unresolved: readonly { readonly parent: string; readonly column: string }[];
}

export async function waitingOf(pool: pg.Pool, of: Holder): Promise<Waiting> {
  const values = [of.collectionId, of.sourceId];
  const where = 'where collection_id = $1 and source_id = $2';
  const elections = await query<Election>(
    pool,
    'reading elections',
    `select rule, path, winner, winner_source as "winnerSource" from migration_control.elections ${where}`,
    values,
  );
  const redo = await query<{ reason: string; since: string | null; tries: number }>(
    pool,
    'reading what waits',
    `select reason, case when isfinite(since) then to_json(since) #>> '{}' end as since, tries from migration_control.redo ${where}`,
    values,
  );
  const unresolved = await query<{ parent: string; column: string }>(
    pool,
    'reading references',
    `select distinct parent, parent_column as column from migration_control.unresolved ${where} order by 1, 2`,
    values,
  );
  return { elections, redo, unresolved };
}

export interface Routed {
  readonly percentage: number;
  readonly writeMode: string;
  readonly epoch: number;
}

export async function routingOf(pool: pg.Pool, collection: string): Promise<Routed | null> {
  const [row] = await query<{ percentage: number; write_mode: string; epoch: string }>(
    pool,
    'reading the routing',
    'select percentage, write_mode, epoch from migration_control.routing where collection = $1',
    [collection],
  );
  return row ? { percentage: row.percentage, writeMode: row.write_mode, epoch: Number(row.epoch) } : null;
}

/** Documents of a mapping that hold a Redis key. */
export async function holdersOfKey(pool: pg.Pool, collections: readonly string[], key: string): Promise<Holder[]> {
  const rows = await query<{ id: number; mapping: string; source: string; source_id: string }>(
    pool,
    'looking for a key in the ledger',
    `select c.id, c.mapping, c.source, l.source_id from migration_control.collections c join migration_control.ledger l on l.collection_id = c.id
     where c.mapping = any($1) and l.keys @> array[$2] order by l.deleted limit 5`,
    [collections, ownVault().sealText('redis key', key)],
  );
  return rows.map((row) => ({
    collection: row.mapping,
    source: row.source,
    collectionId: row.id,
    sourceId: row.source_id,
  }));
}
