// Documents as the new system has committed them, rebuilt and written to the old system under a guard; the ledger learns of it, so that no echo counts.
import type pg from 'pg';
import { wholeDocument } from '../../control/reverse.ts';
import { idsFrom } from '../../core/identity.ts';
import { anchorOf } from '../../control/reverse.ts';
import { KnownFailure } from '../../core/failures.ts';
import { learnLongKeys } from '../../control/long-keys.ts';
import { readOp } from '../../core/guard.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { lastWrittenBack, writeBack, type WriteBack } from '../../stores/mongodb/write-back.ts';
import { name } from '../../stores/postgres/connection.ts';
import { originCode } from '../../stores/postgres/ledger.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { ChangeSettings, Feed } from '../apply.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { digestOf, keptOf } from '../shape.ts';
import { bringKeys } from './keys.ts';
import { bringNotes } from './notes.ts';
import { rebuildDocuments, type Rebuilt } from './rebuild.ts';
import { keepConflicts, noteUnsaid, type Conflict } from './told.ts';

/** From the lock of the documents' ledger rows to their writing; the server ends the transaction of one that hangs for longer (`inTransaction`). */
const writeMs = 10_000;

/** Which source collection a document belongs to, as the ledger has it; one that was born in the new system belongs to the mapping's first. */
export async function feedsFor(
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

/** Rebuilds documents and writes those that the old system has otherwise. `leftover`: what an emergency left; there a newer document of the old system stays. */
export async function bringBack(
  resources: Resources,
  client: pg.ClientBase,
  feed: Feed,
  ids: readonly string[],
  settings: ChangeSettings,
  leftover: ReadonlySet<string>,
) {
  const partition = `migration_control.${name(`ledger_${feed.collectionId}`)}`;
  const lockedAt = performance.now();
  await learnLongKeys(client, ids);
  const ledger = await lockLedger(client, feed, partition, ids);
  const { source } = resources;
  const { version: readAt, documents: old } = await readDocuments(source.client, source.db, feed.source, idsFrom(ids));
  const anchor = await anchorOf(client);
  const ours = await lastWrittenBack(source.db, feed.source, ids, anchor);
  const rebuilt = await rebuildDocuments(resources, client, feed, ids, old, settings);
  const { writes, adopted, conflicts, unsaid } = judge(ids, { ledger, old, ours, rebuilt, leftover });
  if (conflicts.length > 0) await keepConflicts(client, feed, conflicts);
  await noteUnsaid(client, feed, unsaid);
  let written = readAt;
  if (writes.length > 0) {
    const { rows } = await client.query<{ version: string }>(
      `select nextval('migration_control.reverse_version') as version`,
    );
    const order = { anchor, version: BigInt(rows[0]!.version) };
    written = await writeBack(source, { collection: feed.source, order, until: lockedAt + writeMs }, writes);
    killPoint('reverse.after-write');
  }
  const digests = new Map([
    ...adopted.map((id) => [id, digestOf(old.get(id)!)] as const),
    ...writes.map((one) => [one.id, one.bytes ? one.digest : undefined] as const),
  ]);
  const documents = new Map([
    ...adopted.map((id) => [id, old.get(id)] as const),
    ...writes.map((one) => [one.id, one.bytes] as const),
  ]);
  const versions = await writeLedger(client, feed, partition, written, { digests, documents });
  await bringKeys(resources, client, { feed, partition, settings }, documents, versions);
  await followTime(client, feed, partition, ids);
  await bringNotes(resources, client, feed, settings, { documents, versions, unsaid });
  return { documents: writes.length, unchanged: ids.length - writes.length, conflicts: conflicts.length };
}

interface Standing {
  readonly ledger: ReadonlyMap<string, LedgerRow>;
  /** The old system's documents now. */
  readonly old: ReadonlyMap<string, Uint8Array>;
  /** Digests of what was last written back. */
  readonly ours: ReadonlyMap<string, bigint>;
  readonly rebuilt: ReadonlyMap<string, Rebuilt>;
  readonly leftover: ReadonlySet<string>;
}

/** What is to be done with each document. Pure. `adopted`: already as it is to be, only the ledger does not know. */
function judge(ids: readonly string[], { ledger, old, ours, rebuilt, leftover }: Standing) {
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
    if (wanted === 'refused') {
      unsaid.set(id, [`${wholeDocument} (${reasonOf(one)})`]);
      continue;
    }
    // Also of one that stays as it is: what was changed may be just what it has no form for.
    unsaid.set(id, 'unsaid' in one ? one.unsaid : []);
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
  return { writes, adopted, conflicts, unsaid };
}

/**
 * The document's bytes, or undefined: it is to be deleted. `isOurs`: what the old system holds was written back by us; the ledger need not know
 * of it, since an applier may have died before it said so.
 */
function wantedOf(
  rebuilt: Rebuilt,
  row: LedgerRow,
  isOurs: boolean,
): Uint8Array | undefined | 'as it is' | 'nothing' | 'refused' {
  if (rebuilt.is === 'document') return rebuilt.bytes;
  if (rebuilt.is === 'unchanged') return 'as it is';
  if (rebuilt.is === 'refused') return 'refused';
  if (rebuilt.is === 'aside') return 'nothing';
  // A document that was never loaded has no rows, and stays in the old system as it is.
  return isOurs || (row.state === 'l' && !row.deleted) ? undefined : 'nothing';
}

const reasonOf = (rebuilt: Rebuilt): string =>
  rebuilt.is === 'refused' ? `the rule ${rebuilt.rule}${rebuilt.path && ` at ${rebuilt.path}`} refuses it` : rebuilt.is;

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

interface Written {
  /** undefined: it was deleted. */
  readonly digests: ReadonlyMap<string, bigint | undefined>;
  readonly documents: ReadonlyMap<string, Uint8Array | undefined>;
}

/**
 * The ledger's version is a time that holds our write: what capture reads of it is no news then (echo). undefined: deleted. Returns the versions
 * that the documents have now.
 */
async function writeLedger(
  client: pg.ClientBase,
  feed: Feed,
  partition: string,
  version: bigint,
  { digests, documents }: Written,
): Promise<Map<string, bigint>> {
  if (digests.size === 0) return new Map();
  const rows = [...digests];
  const { rows: updated } = await client.query<{ source_id: string; version: string }>(
    `update ${partition} l set version = greatest(l.version, $1), op_index = ${readOp}, deleted = s.digest is null, source_digest = coalesce(s.digest, 0),
       state = case when s.digest is null then 's'::"char" else 'l' end, rule = null, kept = s.kept, mapping_version = $2, origin = '${originCode['way back']}'
     from unnest($3::text[], $4::bigint[], $5::bytea[]) s(source_id, digest, kept) where l.source_id = s.source_id
     returning l.source_id, l.version`,
    [
      version.toString(),
      feed.mapping.version,
      rows.map(([id]) => id),
      rows.map(([, digest]) => digest?.toString() ?? null),
      rows.map(([id]) => keptOf(documents.get(id)) ?? null),
    ],
  );
  if (updated.length !== rows.length)
    throw new KnownFailure(
      'Defect',
      `the ledger of ${feed.source} has no row for ${rows.length - updated.length} documents that it had locked`,
    );
  return new Map(updated.map((row) => [row.source_id, BigInt(row.version)]));
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
