// Keys of Redis that the copy is about to set: noted before, forgotten with the batch, and looked after where the batch never came to its end.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';
import { ownVault } from './vault.ts';

export interface AnnouncedBatch {
  readonly batchId: string;
  readonly collectionId: number;
  readonly chunk: number;
  readonly segment: number;
  /** Cluster time of the copy's read. */
  readonly version: string;
}

export interface AnnouncedKey {
  readonly sourceId: string;
  /** Prefix included. */
  readonly key: string;
}

const sealed = (key: string): string => ownVault().sealText('redis key', key);

/** Durable when it returns. Nothing where the batch has been loaded already. Safe to repeat. */
export async function announceKeys(
  pool: pg.Pool,
  { batchId, collectionId, chunk, segment, version }: AnnouncedBatch,
  keys: readonly AnnouncedKey[],
): Promise<void> {
  await query(
    pool,
    'noting keys that are about to be set',
    `insert into migration_control.announced_keys (batch_id, collection_id, chunk, segment, version, source_id, key)
     select $1, $2, $3, $4, $5, * from unnest($6::text[], $7::text[])
     where not exists (select 1 from migration_control.migration_batches where batch_id = $1) on conflict do nothing`,
    [
      batchId,
      collectionId,
      chunk,
      segment,
      version,
      keys.map((one) => one.sourceId),
      keys.map((one) => sealed(one.key)),
    ],
  );
}

/**
 * The same for documents that were read again, in the transaction of `client`: should it not be committed, the next read may find them without
 * their keys. They are forgotten when it has ended, in one way or the other.
 */
export async function announceRead(
  pool: pg.Pool,
  client: pg.ClientBase,
  collectionId: number,
  keys: readonly (AnnouncedKey & { readonly version: bigint })[],
): Promise<void> {
  if (keys.length === 0) return;
  const [now] = await query<{ xid: string }>(
    client,
    'naming a transaction',
    'select pg_current_xact_id()::text as xid',
  );
  await query(
    pool,
    'noting keys that are about to be set',
    `insert into migration_control.announced_keys (batch_id, collection_id, chunk, segment, version, source_id, key)
     select 'read ' || $1, $2, -1, -1, s.version, s.source_id, s.key from unnest($3::bigint[], $4::text[], $5::text[]) s(version, source_id, key)
     on conflict do nothing`,
    [
      now!.xid,
      collectionId,
      keys.map((one) => one.version.toString()),
      keys.map((one) => one.sourceId),
      keys.map((one) => sealed(one.key)),
    ],
  );
}

/** In the transaction that commits the batch: from here on the ledger knows its keys. */
export const forgetAnnounced = (client: pg.ClientBase, batchId: string): Promise<unknown> =>
  query(client, 'forgetting keys that are set', 'delete from migration_control.announced_keys where batch_id = $1', [
    batchId,
  ]);

/**
 * Takes out keys whose batch will not come any more, because a later one has been loaded in its place; of those that no document has now, who
 * had it and in which version. Their documents' ledger rows are locked until the transaction ends.
 *
 * What one who read a document has left waits until changes have been applied beyond his read, up to `applied`: one of them may bring the key under
 * an older version than his, and the ledger knows nothing of it yet.
 */
export async function takeAbandoned(
  client: pg.ClientBase,
  applied: bigint | undefined,
): Promise<{ readonly key: string; readonly owner: number; readonly sourceId: string; readonly version: bigint }[]> {
  const rows = await query<{ collection_id: number; source_id: string; key: string; version: string }>(
    client,
    'looking for keys of batches that broke off',
    `delete from migration_control.announced_keys where ctid = any(array(
       select a.ctid from migration_control.announced_keys a where case when a.chunk < 0
         then a.version < $1::bigint and pg_xact_status(substr(a.batch_id, 6)::xid8) is distinct from 'in progress' else exists (
         select 1 from migration_control.migration_batches b
         where b.collection_id = a.collection_id and b.chunk = a.chunk and b.batch_id <> a.batch_id and b.finished_at > a.at
           and (b.segment = a.segment or b.ends_chunk and b.segment <= a.segment)) end
       limit 500 for update skip locked))
     returning collection_id, source_id, key, version`,
    [applied?.toString() ?? null],
  );
  if (rows.length === 0) return [];
  const held = await query<{ collection_id: number; source_id: string; keys: string[] | null }>(
    client,
    'looking which keys documents have',
    `select collection_id, source_id, case when state = 'l' and not deleted then keys end as keys from migration_control.ledger
     where collection_id = any($1) and source_id = any($2) order by collection_id, source_id for share`,
    [[...new Set(rows.map((row) => row.collection_id))], rows.map((row) => row.source_id)],
  );
  const has = new Map(held.map((row) => [`${row.collection_id}\t${row.source_id}`, row.keys ?? []]));
  return rows
    .filter((row) => has.get(`${row.collection_id}\t${row.source_id}`)?.includes(row.key) !== true)
    .map((row) => ({
      key: ownVault().openText('redis key', row.key),
      owner: row.collection_id,
      sourceId: row.source_id,
      version: BigInt(row.version),
    }));
}
