// Writes again just the keys that were proven different: locked, set back, read from the source, applied by the same code and guard as every change.
import type pg from 'pg';
import { readStream } from '../../control/capture.ts';
import { enterStores } from '../../control/checkpoints.ts';
import { movedOf } from '../../control/reverse.ts';
import { addScans, nameInBooks, suspectIn, type BookedRow, type Suspect } from '../../control/verification.ts';
import { KnownFailure } from '../../core/failures.ts';
import type { Version } from '../../core/guard.ts';
import { outdateDocuments } from '../../stores/mongodb/outdate.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { historyColumns } from '../../stores/postgres/apply.ts';
import { inTransaction, name, query } from '../../stores/postgres/connection.ts';
import { dropKeys } from '../../stores/redis/outdate.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import { feedsOf, lostKey, whyLost, type Change, type Feed } from '../apply.ts';
import { applyPatiently } from '../capture/patiently.ts';
import { readAgain } from '../capture/redo.ts';
import { renderStale } from '../capture/tend.ts';
import { assertMarks } from '../identity.ts';
import type { Why } from '../shape.ts';
import { renderCollection } from '../targets.ts';
import { Expectation, keysOf } from './expected.ts';
import { tablesOf, type Ground } from './read-back.ts';
import { unexplained } from './target-only.ts';
import { planScans } from './plan.ts';
import type { Verifier } from './verifier.ts';

const origin = 'verification repair';
const documentsAtOnce = 500;
const bytesAtOnce = 16 * 1024 * 1024;

/** Returns false when the slice was over before everything was written. */
export async function repairDifferent(verifier: Verifier): Promise<boolean> {
  const { resources, run, scope } = verifier;
  const collections = [...new Set(scope.map((one) => one.mapping.collection))];
  await inTransaction(resources.postgres, 'beginning a repair', (client) => enter(client, collections));
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  while (!verifier.slice.over()) {
    const batch = await nextDifferent(verifier);
    const [first] = batch;
    if (!first) return true;
    if (first.kind === 'document') await repairDocuments(verifier, feeds.get(first.collectionId)!, batch);
    else if (first.kind === 'key') await dropUnexplained(verifier, batch);
    await renderCollection(resources, first.mapping, verifier.order.configurationDirectory);
    // Where change capture runs, its housekeeping does.
    if (!(await readStream(resources.postgres))) await renderStale(resources, verifier.order.configurationDirectory);
    await inTransaction(resources.postgres, 'marking what was repaired', (client) => mark(client, run, batch));
  }
  return false;
}

/**
 * Once the new system is written first, the old one is no measure of it. Every transaction that repairs asks before it touches anything: from here to its
 * end no writes move and no restore begins.
 */
async function enter(client: pg.ClientBase, collections: readonly string[]): Promise<void> {
  await enterStores(client);
  const moved = await movedOf(client, collections);
  if (moved.size > 0)
    throw new KnownFailure(
      'ConfigurationInvalid',
      `${[...moved].sort().join(', ')}: writes go to the new system first, so nothing is repaired from the old one. Verify the other collections with \`--collection\`.`,
    );
}

/** What nobody explains goes before what is missing, because it may hold its unique values; rows that others refer to go before those. */
async function nextDifferent({ resources, run, grounds }: Verifier): Promise<Suspect[]> {
  const ranks = grounds.map((one) => one.mapping.after.length);
  const rows = await query<{ [Key in keyof BookedRow]: BookedRow[Key] }>(
    resources.postgres,
    'reading what is different',
    `with due as (select k.kind, k.collection_id, k.mapping, k.id, k.sealed, k.finding is distinct from 'extra' as later, coalesce(r.rank, 0) as rank
       from migration_control.verification_keys k left join unnest($2::smallint[], $3::int[]) r(collection_id, rank) using (collection_id)
       where k.run_id = $1 and k.state = 'different'),
     first as (select later, rank, kind, collection_id, mapping from due order by later, rank, kind, collection_id, mapping limit 1)
     select due.kind, due.collection_id, due.mapping, due.id, due.sealed from due join first using (later, rank, kind, collection_id, mapping) order by due.id limit ${documentsAtOnce}`,
    [run, grounds.map((one) => one.collectionId), ranks],
  );
  return rows.map(suspectIn);
}

/** Looked at once more by the following generations, as suspects that were repaired. */
async function mark(client: pg.ClientBase, run: number, batch: readonly Suspect[]): Promise<void> {
  await client.query(
    `update migration_control.verification_keys k set state = 'suspect', judged = 0, repaired_at = clock_timestamp()
     from unnest($2::text[], $3::smallint[], $4::text[]) v(kind, collection_id, id) where k.run_id = $1 and k.kind = v.kind and k.collection_id = v.collection_id and md5(k.id) = md5(v.id) and k.id = v.id`,
    [run, batch.map((one) => one.kind), batch.map((one) => one.collectionId), batch.map(nameInBooks)],
  );
}

/** Looked at once more where it is removed. */
async function dropUnexplained(verifier: Verifier, batch: readonly Suspect[]): Promise<void> {
  const { resources } = verifier;
  const [{ mapping }] = batch as readonly [Suspect];
  await inTransaction(resources.postgres, 'removing keys that nobody explains', async (client) => {
    await enter(client, [mapping]);
    await assertMarks(resources, resources.owner);
    const keys = batch.map((one) => one.id);
    await dropKeys(resources.redis, await unexplained(verifier, mapping, keys));
  });
}

async function repairDocuments(verifier: Verifier, feed: Feed, batch: readonly Suspect[]): Promise<void> {
  const { averageBytes } = await weigh(verifier.resources.source.db, feed.source).catch(() => ({ averageBytes: 0 }));
  const most = Math.max(1, Math.min(documentsAtOnce, Math.floor(bytesAtOnce / Math.max(1, averageBytes))));
  for (let i = 0; i < batch.length; i += most) {
    const ids = batch.slice(i, i + most).map((one) => one.id);
    const came = await rewrite(verifier, feed, ids);
    if (came) await lookAtReferrers(verifier, feed);
  }
}

/**
 * One transaction. The ledger rows are locked before the source is read, so that no other writer of these documents comes between, and set back,
 * so that what is read now is newer than they, also where the source has not moved since they were written. Returns whether rows came that were not there.
 */
async function rewrite(verifier: Verifier, feed: Feed, ids: readonly string[]): Promise<boolean> {
  const { resources } = verifier;
  const { zone, providers } = verifier.order;
  const sorted = [...ids].sort();
  return inTransaction(resources.postgres, `repairing ${feed.source}`, async (client) => {
    await enter(client, [feed.mapping.collection]);
    await assertMarks(resources, resources.owner);
    await lock(client, feed, sorted);
    const changes = await readAgain(resources, feed, sorted);
    const own = await setBack(client, feed, sorted, changes[0]!.version);
    await clearOutside(verifier, feed, changes, new Set(own));
    const before = await rowsOf(client, feed, sorted);
    await clearRows(client, feed, own);
    await client.query('savepoint applied');
    let totals = await applyPatiently(resources, client, changes, { zone, providers }, { origin });
    if (totals.clashes.length > 0) {
      // The holder of the unique value keeps it: the document belongs in quarantine, as it would after waiting.
      await client.query('rollback to savepoint applied');
      const lost = new Map<string, Why>(totals.clashes.map((clash) => [lostKey(clash.feed, clash.id), whyLost(clash)]));
      totals = await applyPatiently(resources, client, changes, { zone, providers }, { lost, origin });
      for (const clash of totals.clashes)
        throw new KnownFailure(
          'StoreBusy',
          `${clash.feed.source}: unique values of documents to be repaired are changing hands`,
        );
    }
    await refuseUnwritten(client, feed, sorted);
    return (await rowsOf(client, feed, sorted)) > before;
  });
}

/** What the new system had made of a document, and the old one does not have yet, is not written over: nothing of the transaction stays. */
async function refuseUnwritten(client: pg.ClientBase, feed: Feed, ids: readonly string[]): Promise<void> {
  const { rows } = await client.query(
    `select 1 from ${partitionOf(feed)} where source_id = any($1) and version = 0 limit 1`,
    [ids],
  );
  if (rows.length > 0)
    throw new KnownFailure(
      'ConfigurationInvalid',
      `${feed.source}: documents that differ have changes of the new system that the old one does not have yet. Wait until \`causeway reverse status\` shows none waiting, then repair.`,
    );
}

const partitionOf = (feed: Feed): string => `migration_control.${name(`ledger_${feed.collectionId}`)}`;

async function lock(client: pg.ClientBase, feed: Feed, ids: readonly string[]): Promise<void> {
  const partition = partitionOf(feed);
  await client.query(
    `insert into ${partition} (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest)
     select $1, id, 0, 0, true, 's', $3, 0 from unnest($2::text[]) id order by id on conflict do nothing`,
    [feed.collectionId, ids, feed.mapping.version],
  );
  await client.query(`select 1 from ${partition} where source_id = any($1) order by source_id for update`, [ids]);
}

/**
 * The version that stands goes into the history here, where it is still known; one that lies ahead of the read is no version that anything was
 * written with. Returns the ids whose rows are this document's to replace: a sibling collection that has the id loaded keeps its rows.
 */
async function setBack(client: pg.ClientBase, feed: Feed, ids: readonly string[], read: Version): Promise<string[]> {
  const partition = partitionOf(feed);
  const others = feed.siblings.filter((id) => id !== feed.collectionId);
  // Set back, a document counts as new to the ledger: what was noted of references that found no row would stay beside what is noted now.
  await client.query('delete from migration_control.unresolved where collection_id = $1 and source_id = any($2)', [
    feed.collectionId,
    ids,
  ]);
  const kept = historyColumns.join(', ');
  await client.query(
    `insert into migration_control.ledger_history (${kept}) select ${kept} from ${partition}
     where source_id = any($1) and version > 0 and (version, op_index) <= ($2, $3)`,
    [ids, read.time.toString(), read.op],
  );
  await client.query(
    `update migration_control.migration_errors e set resolved_at = clock_timestamp() from migration_control.collections c
     where c.id = $1 and e.collection = c.mapping and e.source_collection = c.source and e.source_id = any($2) and e.resolved_at is null`,
    [feed.collectionId, ids],
  );
  await client.query(`update ${partition} set version = 0, op_index = 0, state = 's' where source_id = any($1)`, [ids]);
  const { rows } = await client.query<{ source_id: string }>(
    `update ${partition} l set state = 'l', deleted = false where source_id = any($1) and not exists (
       select 1 from migration_control.ledger o where o.collection_id = any($2) and o.source_id = l.source_id and o.state = 'l' and not o.deleted) returning source_id`,
    [ids, others],
  );
  return rows.map((row) => row.source_id);
}

/** In a table partitioned by time a row stands wherever its time put it, also where the ledger does not look. */
async function clearRows(client: pg.ClientBase, feed: Feed, ids: readonly string[]): Promise<void> {
  for (const target of tablesOf(feed.mapping))
    if (target.time) await client.query(`delete from ${name(target.name)} where source_id = any($1)`, [ids]);
}

async function rowsOf(client: pg.ClientBase, feed: Feed, ids: readonly string[]): Promise<number> {
  let count = 0;
  for (const target of tablesOf(feed.mapping).filter((one) => !one.child && !one.time)) {
    const { rows } = await client.query<{ count: string }>(
      `select count(*) from ${name(target.name)} where source_id = any($1)`,
      [ids],
    );
    count += Number(rows[0]!.count);
  }
  return count;
}

/** MongoDB's guards are set back; keys that the documents have or should have go, and come back with what is applied. */
async function clearOutside(
  verifier: Verifier,
  feed: Feed,
  changes: readonly Change[],
  own: ReadonlySet<string>,
): Promise<void> {
  const { resources } = verifier;
  for (const target of feed.mapping.targets)
    if (target.store === 'mongodb')
      await outdateDocuments(
        resources.mongodb.db,
        { collection: target.name, owner: feed.collectionId },
        changes.map(({ id }) => id),
        own,
      );
  const keyed = feed.mapping.targets.filter((target): target is KeysTarget => target.store === 'redis');
  if (keyed.length === 0) return;
  const expectation = new Expectation(groundOf(feed));
  const keys = changes.flatMap(({ bytes, version }) => {
    if (!bytes) return [];
    const { outcome } = expectation.read(bytes, verifier.transformAt(version.time));
    return keyed.flatMap((target) => keysOf(outcome, target).map((row) => target.prefix + row.key));
  });
  await dropKeys(resources.redis, keys);
}

const groundOf = ({ mapping, source, collectionId }: Feed): Ground => ({ mapping, source, collectionId });

/** Rows that referred to one that was missing lost the reference with it: their collections are scanned again. */
async function lookAtReferrers(verifier: Verifier, feed: Feed): Promise<void> {
  const ids = feed.referencedBy.flatMap((one) => one.collectionIds);
  const { postgres } = verifier.resources;
  const again = (await planScans(verifier.resources, verifier.scope)).filter(
    (scan) => scan.kind === 'documents' && ids.includes(scan.collectionId!),
  );
  const open = await query<{ collection_id: number }>(
    postgres,
    'reading the verification',
    'select collection_id from migration_control.verification_scans where run_id = $1 and not done',
    [verifier.run],
  );
  const planned = new Set(open.map((row) => row.collection_id));
  const scans = again.filter((scan) => !planned.has(scan.collectionId!));
  if (scans.length > 0)
    await inTransaction(postgres, 'planning another scan', (client) => addScans(client, verifier.run, scans));
}
