// The way back: documents the new system has changed, rebuilt from what it has committed, written to the old system under a guard.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { enterStores } from '../../control/checkpoints.ts';
import { movedOf, takeReverse } from '../../control/reverse.ts';
import { idFromSourceId } from '../../core/identity.ts';
import { KnownFailure } from '../../core/failures.ts';
import { readOp } from '../../core/guard.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { lastWrittenBack, writeBack, type WriteBack } from '../../stores/mongodb/write-back.ts';
import { inTransaction, name, ownWrites, postgresFailure } from '../../stores/postgres/connection.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { feedsOf, type ChangeSettings, type Feed } from '../apply.ts';
import { Patience, type Slice, type SliceResult } from '../capture/slice.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { digestOf } from '../shape.ts';
import { rebuildDocuments, type Rebuilt } from './rebuild.ts';
import { keepConflicts, noteUnsaid, type Conflict } from './told.ts';

const keysAtOnce = 300;
const idleMs = 20;
/** From the lock of the documents' ledger rows to their writing; the server ends the transaction of one that hangs for longer (`inTransaction`). */
const writeMs = 10_000;
/** A document that fails alone so often is set aside, so that the others come back. */
const triesAlone = 5;
/** One after the other, with none between that came back: then it is not the documents. */
const asideMost = 3;

/** Applies until its slice is over. One at a time: taking over raises the epoch, and each transaction checks it. */
export async function applyReverse(resources: Resources, settings: ChangeSettings, slice: Slice): Promise<SliceResult> {
  const taken = await takeReverse(resources.postgres, 'epoch', resources.queues.process);
  if (!taken) return { ended: 'closed' };
  const feeds = [...(await feedsOf(resources)).values()];
  const patience = new Patience(slice);
  let most = keysAtOnce;
  let failedAlone = 0;
  let aside = 0;
  while (!slice.over()) {
    try {
      const applied = await applyNext(resources, taken.epoch, feeds, settings, most);
      if (applied === 'closed' || applied === 'superseded') return { ended: applied };
      patience.rewarded();
      most = Math.min(most * 2, keysAtOnce);
      aside = 0;
      if (applied === 0) await sleep(idleMs);
    } catch (error) {
      const failure = postgresFailure(error, 'bringing changes back');
      failedAlone = most === 1 ? failedAlone + 1 : 0;
      most = Math.max(Math.floor(most / 4), 1);
      if (!ofDocument(failure)) await patience.after(failure);
      else if (failedAlone < triesAlone) await sleep(100);
      else if (++aside > asideMost) throw failure;
      else {
        await setAsideFirst(resources, taken.epoch, feeds, failure);
        failedAlone = 0;
      }
    }
  }
  return { ended: 'slice' };
}

/** Whether the document may be the cause, and not a store that is away or busy. */
const ofDocument = (failure: unknown): failure is KnownFailure =>
  failure instanceof KnownFailure && ['TargetConflict', 'ValueRefused', 'Defect'].includes(failure.type);

/** What is first in the outbox stays in the new system only: told by `reverse status`, and met by the validation of a rollback. */
async function setAsideFirst(
  resources: Resources,
  epoch: number,
  feeds: readonly Feed[],
  { type }: KnownFailure,
): Promise<void> {
  await inTransaction(resources.postgres, 'setting a change aside', async (client) => {
    const { rows } = await client.query<{ mapping: string; source_id: string }>(
      `select mapping, source_id from migration_control.outbox
       where exists (select 1 from migration_control.reverse_position where epoch = $1) order by id limit 1`,
      [epoch],
    );
    const first = rows[0];
    if (!first) return;
    const its = feeds.filter((feed) => feed.mapping.collection === first.mapping);
    const [feed] = (await feedsFor(client, its, [first.source_id])).keys();
    await noteUnsaid(client, feed!, new Map([[first.source_id, [`the whole document (${type})`]]]));
    await client.query('delete from migration_control.outbox where mapping = $1 and source_id = $2', [
      first.mapping,
      first.source_id,
    ]);
    await client.query(`insert into migration_control.audit_log (action, detail) values ('not brought back', $1)`, [
      JSON.stringify({ collection: feed!.source, reason: type }),
    ]);
  });
}

interface OutboxRow {
  readonly id: string;
  readonly mapping: string;
  readonly source_id: string;
  readonly origin: 'postgres' | 'mongodb';
  readonly leftover: boolean;
}

async function applyNext(
  resources: Resources,
  epoch: number,
  feeds: readonly Feed[],
  settings: ChangeSettings,
  most: number,
): Promise<number | 'closed' | 'superseded'> {
  return inTransaction(resources.postgres, 'bringing changes back', async (client) => {
    await enterStores(client);
    const held = await client.query<{ epoch: string }>(
      'select epoch from migration_control.reverse_position for update',
    );
    if (held.rows.length === 0) return 'closed';
    if (Number(held.rows[0]!.epoch) !== epoch) return 'superseded';
    await client.query(`set local lock_timeout = 1000; ${ownWrites}`);
    const { rows } = await client.query<OutboxRow>(
      'select id, mapping, source_id, origin, leftover from migration_control.outbox order by id limit $1',
      [most],
    );
    if (rows.length === 0) return 0;
    const moved = await movedOf(client, [...new Set(rows.map((row) => row.mapping))]);
    const sums = { documents: 0, unchanged: 0, conflicts: 0 };
    for (const mapping of new Set(rows.map((row) => row.mapping))) {
      // Where the old system is authoritative, what the target MongoDB tells are our own writes to it. What PostgreSQL tells is somebody's, and
      // is brought back unless the old system's document has changed too.
      const own = rows.filter(
        (row) => row.mapping === mapping && (moved.has(mapping) || row.leftover || row.origin === 'postgres'),
      );
      if (own.length === 0) continue;
      const leftover = new Set(moved.has(mapping) ? [] : own.map((row) => row.source_id));
      const its = feeds.filter((feed) => feed.mapping.collection === mapping);
      const keys = [...new Set(own.map((row) => row.source_id))].sort();
      for (const [feed, ids] of await feedsFor(client, its, keys)) {
        const done = await bringBack(resources, client, feed, ids, settings, leftover);
        sums.documents += done.documents;
        sums.unchanged += done.unchanged;
        sums.conflicts += done.conflicts;
      }
    }
    await client.query('delete from migration_control.outbox where id = any($1::bigint[])', [
      rows.map((row) => row.id),
    ]);
    await client.query(
      `update migration_control.reverse_position set documents = documents + $1, unchanged = unchanged + $2, conflicts = conflicts + $3, updated_at = clock_timestamp()`,
      [sums.documents, sums.unchanged, sums.conflicts],
    );
    killPoint('reverse.before-commit');
    return rows.length;
  });
}

/** Which source collection a document belongs to, as the ledger has it; one that was born in the new system belongs to the mapping's first. */
async function feedsFor(
  client: pg.ClientBase,
  feeds: readonly Feed[],
  keys: readonly string[],
): Promise<Map<Feed, string[]>> {
  const { rows } = await client.query<{ collection_id: number; source_id: string; state: string; deleted: boolean }>(
    'select collection_id, source_id, state, deleted from migration_control.ledger where collection_id = any($1) and source_id = any($2) order by collection_id',
    [feeds.map((feed) => feed.collectionId), keys],
  );
  const first = feeds.find((feed) => feed.source === feed.mapping.collection) ?? feeds[0]!;
  const result = new Map<Feed, string[]>();
  for (const key of keys) {
    const known = rows.filter((row) => row.source_id === key);
    const row = known.find((one) => one.state === 'l' && !one.deleted) ?? known[0];
    const feed = feeds.find((one) => one.collectionId === row?.collection_id) ?? first;
    result.set(feed, [...(result.get(feed) ?? []), key]);
  }
  return result;
}

interface LedgerRow {
  readonly source_id: string;
  readonly state: string;
  readonly deleted: boolean;
  readonly source_digest: string;
  readonly known: boolean;
}

async function bringBack(
  resources: Resources,
  client: pg.ClientBase,
  feed: Feed,
  ids: readonly string[],
  settings: ChangeSettings,
  leftover: ReadonlySet<string>,
) {
  const partition = `migration_control.${name(`ledger_${feed.collectionId}`)}`;
  const lockedAt = performance.now();
  const ledger = await lockLedger(client, feed, partition, ids);
  const { source } = resources;
  const { version: readAt, documents: old } = await readDocuments(
    source.client,
    source.db,
    feed.source,
    ids.map(idFromSourceId),
  );
  const ours = await lastWrittenBack(source.db, feed.source, ids);
  const rebuilt = await rebuildDocuments(resources, client, feed, ids, old, settings);
  const writes: WriteBack[] = [];
  const adopted: string[] = [];
  const conflicts: Conflict[] = [];
  const unsaid = new Map<string, readonly string[]>();
  for (const id of ids) {
    const row = ledger.get(id)!;
    const now = old.get(id);
    const digest = now ? digestOf(now) : 0n;
    const one = rebuilt.get(id)!;
    const wanted = wantedOf(one, row, now !== undefined && digest === ours.get(id));
    if (wanted === 'nothing') continue;
    unsaid.set(id, one.is === 'document' ? one.unsaid : []);
    // Somebody else has written to the old system since: not what the ledger knows, and not our own last write either.
    const expected = row.known && !row.deleted ? BigInt(row.source_digest) : 0n;
    const foreign = digest !== expected && digest !== (ours.get(id) ?? expected);
    if (wanted === 'as it is') {
      if (now && digest !== expected) adopted.push(id);
      continue;
    }
    const keepsOld = foreign && leftover.has(id);
    if (foreign) conflicts.push({ id, kept: keepsOld ? 'old' : 'new', lost: keepsOld ? wanted : now });
    if (!keepsOld) writes.push({ id, bytes: wanted, digest: wanted ? digestOf(wanted) : 0n });
  }
  if (conflicts.length > 0) await keepConflicts(client, feed, conflicts);
  await noteUnsaid(client, feed, unsaid);
  let written = readAt;
  if (writes.length > 0) {
    const { rows } = await client.query<{ version: string }>(
      `select nextval('migration_control.reverse_version') as version`,
    );
    written = await writeBack(source, feed.source, BigInt(rows[0]!.version), writes, lockedAt + writeMs);
    killPoint('reverse.after-write');
  }
  const digests = new Map([
    ...adopted.map((id) => [id, digestOf(old.get(id)!)] as const),
    ...writes.map((one) => [one.id, one.bytes ? one.digest : undefined] as const),
  ]);
  await writeLedger(client, feed, partition, written, digests);
  await followTime(client, feed, partition, ids);
  return { documents: writes.length, unchanged: ids.length - writes.length, conflicts: conflicts.length };
}

/**
 * The document's bytes, or undefined: it is to be deleted. `isOurs`: what the old system holds was written back by us; the ledger need not know
 * of it, since an applier may have died before it said so.
 */
function wantedOf(rebuilt: Rebuilt, row: LedgerRow, isOurs: boolean): Uint8Array | undefined | 'as it is' | 'nothing' {
  if (rebuilt.is === 'document') return rebuilt.bytes;
  if (rebuilt.is === 'unchanged') return 'as it is';
  if (rebuilt.is === 'aside') return 'nothing';
  // A document that was never loaded has no rows, and stays in the old system as it is.
  return isOurs || (row.state === 'l' && !row.deleted) ? undefined : 'nothing';
}

/** Locks the documents' rows, so that capture waits before it judges our own writes. A document never seen gets a row older than any version. */
async function lockLedger(
  client: pg.ClientBase,
  feed: Feed,
  partition: string,
  ids: readonly string[],
): Promise<Map<string, LedgerRow>> {
  await client.query(
    `insert into ${partition} (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest)
     select $1, id, 0, 0, true, 's', $3, 0 from unnest($2::text[]) id order by id on conflict do nothing`,
    [feed.collectionId, ids, feed.mapping.version],
  );
  const { rows } = await client.query<LedgerRow>(
    `select source_id, state, deleted, source_digest, version > 0 as known from ${partition} where source_id = any($1) order by source_id for update`,
    [ids],
  );
  return new Map(rows.map((row) => [row.source_id, row]));
}

/** The ledger's version is a time that holds our write: what capture reads of it is no news then (echo). undefined: deleted. */
async function writeLedger(
  client: pg.ClientBase,
  feed: Feed,
  partition: string,
  version: bigint,
  digests: ReadonlyMap<string, bigint | undefined>,
): Promise<void> {
  if (digests.size === 0) return;
  const rows = [...digests];
  await client.query(
    `update ${partition} l set version = greatest(l.version, $1), op_index = ${readOp}, deleted = s.digest is null, source_digest = coalesce(s.digest, 0),
       state = case when s.digest is null then 's'::"char" else 'l' end, rule = null, mapping_version = $2
     from unnest($3::text[], $4::bigint[]) s(source_id, digest) where l.source_id = s.source_id`,
    [
      version.toString(),
      feed.mapping.version,
      rows.map(([id]) => id),
      rows.map(([, digest]) => digest?.toString() ?? null),
    ],
  );
}

/** Rows found by their time later on must be found where they are now. */
async function followTime(client: pg.ClientBase, feed: Feed, partition: string, ids: readonly string[]): Promise<void> {
  const timed = feed.mapping.targets.find(
    (target): target is TableTarget => target.store === 'postgres' && (target as TableTarget).time !== undefined,
  );
  if (!timed) return;
  await client.query(
    `update ${partition} l set place = t.${name(timed.time!)} from ${name(timed.name)} t
     where l.source_id = any($1) and t.source_id = l.source_id and l.place is distinct from t.${name(timed.time!)}`,
    [ids],
  );
}
