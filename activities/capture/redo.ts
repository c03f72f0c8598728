// Documents read once more: each is a copy of one document, with a version taken before the read, so that nothing newer is overwritten.
import type pg from 'pg';
import { enterStores } from '../../control/checkpoints.ts';
import { versionOfRead, type Version } from '../../core/guard.ts';
import { notAppliedRule, refusedRule, sameIdRule } from '../../core/quarantine.ts';
import { shownUpTo } from '../../control/capture.ts';
import { idsKnown, learnLongKeys } from '../../control/long-keys.ts';
import { isLeftover } from '../../control/reverse.ts';
import { holdRoutes } from '../../control/routing.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { inTransaction, name, query } from '../../stores/postgres/connection.ts';
import type { Origin } from '../../stores/postgres/ledger.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { applyChanges, lostKey, whyLost, type Change, type ChangeSettings, type Feed, type Found } from '../apply.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import type { Why } from '../shape.ts';
import { applyPatiently } from './patiently.ts';

/** What kept a document from being applied may have been mended since; until then each trial costs as much as the first. */
const againAfter = '1 minute';
/** Most documents read again in one transaction. */
export const atOnce = 50;

interface RedoRow {
  readonly collection_id: number;
  readonly source_id: string;
  readonly tries: number;
  /** The document has waited for its unique value long enough. */
  readonly over: boolean;
}

const isDue = async (pool: pg.Pool): Promise<boolean> =>
  (
    await query(
      pool,
      'looking for documents to be read again',
      'select 1 from migration_control.redo where due_at <= clock_timestamp() limit 1',
    )
  ).length > 0;

/** Reads again what is due. Returns how many documents were taken up. */
export async function redoDue(
  resources: Resources,
  feeds: ReadonlyMap<number, Feed>,
  settings: ChangeSettings,
  clashSeconds: number,
): Promise<number> {
  // One small question where there is nothing to do, which is nearly always.
  if (!(await isDue(resources.postgres))) return 0;
  return inTransaction(resources.postgres, 'reading documents again', async (client) => {
    await client.query('set local lock_timeout = 300');
    // Before any row is locked: one who is inside may want it, and a checkpoint waits for that one.
    await enterStores(client);
    // Nor may writes move between choosing documents and applying them: what is left out then would be forgotten.
    await client.query(holdRoutes);
    const { rows } = await client.query<RedoRow>(
      // Where the new system is authoritative, the old one's document is not what is to be written.
      `select collection_id, source_id, tries, since <= clock_timestamp() - make_interval(secs => $1) as over from migration_control.redo
       where due_at <= clock_timestamp() and not exists (select 1 from migration_control.collections c
         join migration_control.routing r on r.collection = c.mapping and r.write_mode = 'new_system' where c.id = redo.collection_id)
       and not exists (select 1 from migration_control.outbox o join migration_control.collections c on c.mapping = o.mapping
         where c.id = redo.collection_id and o.source_id = redo.source_id and ${isLeftover})
       order by due_at limit ${atOnce} for update skip locked`,
      [clashSeconds],
    );
    if (rows.length === 0) return 0;
    const changes: Change[] = [];
    await learnLongKeys(
      client,
      rows.map((row) => row.source_id),
    );
    const atMost = await shownUpTo(client);
    for (const [feed, ids] of byFeed(rows, feeds)) {
      const read = await readAgain(resources, feed, ids, atMost);
      await yieldTo(client, feed, ids, read[0]!.version);
      changes.push(...read);
    }
    const { clashes, refused, later } = await applyPatiently(resources, client, changes, settings, {
      origin: 'read again',
      tired: true,
    });
    const found = new Map(clashes.map((clash) => [lostKey(clash.feed, clash.id), clash]));
    // One read under a stamp older than what stands has not been applied, and what stands may not be what was to be: it waits for the stream.
    const waits = rows.filter(
      (row) => refused.has(key(row)) || later.has(key(row)) || (found.has(key(row)) && !row.over),
    );
    for (const row of waits)
      await client.query(
        'update migration_control.redo set tries = tries + 1, due_at = clock_timestamp() + make_interval(secs => $3) where collection_id = $1 and source_id = $2',
        [row.collection_id, row.source_id, Math.min(0.2 * 2 ** row.tries, 3)],
      );
    const done = rows.filter((row) => !waits.includes(row));
    await setAside(
      resources,
      client,
      changes,
      done.flatMap((row) => found.get(key(row)) ?? []),
      settings,
      'read again',
    );
    await client.query(
      'delete from migration_control.redo using unnest($1::smallint[], $2::text[]) done(collection_id, source_id) where redo.collection_id = done.collection_id and redo.source_id = done.source_id',
      [done.map((row) => row.collection_id), done.map((row) => row.source_id)],
    );
    killPoint('redo.before-commit');
    return rows.length;
  });
}

/** What stands from an earlier read with the same stamp is older than this read: while the source is quiet every read has the same. */
export async function yieldTo(
  client: pg.ClientBase,
  feed: Feed,
  ids: readonly string[],
  version: Version,
): Promise<void> {
  await client.query(
    `with same as (select source_id from migration_control.ledger where collection_id = $1 and source_id = any($2) and version = $3 and op_index = $4
       order by source_id for update)
     update migration_control.ledger l set op_index = op_index - 1 from same where l.collection_id = $1 and l.source_id = same.source_id`,
    [feed.collectionId, ids, version.time.toString(), version.op],
  );
}

/** Quarantines documents that have lost a unique value for good; one that already is, for the same reason, stays as it is, and is returned. */
export async function setAside(
  resources: Resources,
  client: pg.ClientBase,
  changes: readonly Change[],
  losers: readonly Found[],
  settings: ChangeSettings,
  origin: Origin,
): Promise<Found[]> {
  const lost = new Map<string, Why>();
  const same: Found[] = [];
  const claims = losers.map((loser) => ({ loser, why: whyLost(loser) }));
  const known = await client.query<{ nth: number }>(
    `select nth::int from unnest($1::smallint[], $2::text[], $3::text[]) with ordinality claim (collection_id, source_id, rule, nth)
     join migration_control.ledger l using (collection_id, source_id) where l.state = 'q' and l.rule = claim.rule and not l.deleted`,
    [
      claims.map(({ loser }) => loser.feed.collectionId),
      claims.map(({ loser }) => loser.id),
      claims.map(({ why }) => why.rule),
    ],
  );
  const aside = new Set(known.rows.map(({ nth }) => nth - 1));
  for (const [nth, { loser, why }] of claims.entries())
    if (aside.has(nth)) same.push(loser);
    else lost.set(lostKey(loser.feed, loser.id), why);
  const read = same.map(({ feed, id }) => changes.find((change) => change.feed === feed && change.id === id)!);
  // They had yielded to this read, which has changed nothing.
  if (read.length > 0)
    await client.query(
      `update migration_control.ledger l set op_index = claim.op from unnest($1::smallint[], $2::text[], $3::bigint[], $4::int[]) claim (collection_id, source_id, version, op)
       where l.collection_id = claim.collection_id and l.source_id = claim.source_id and l.version = claim.version and l.op_index = claim.op - 1`,
      [
        read.map(({ feed }) => feed.collectionId),
        read.map(({ id }) => id),
        read.map(({ version }) => version.time.toString()),
        read.map(({ version }) => version.op),
      ],
    );
  if (lost.size === 0) return same;
  await applyChanges(
    resources,
    client,
    changes.filter((change) => lost.has(lostKey(change.feed, change.id))),
    settings,
    { lost, origin },
  );
  for (const loser of losers) {
    const why = lost.get(lostKey(loser.feed, loser.id));
    if (why)
      await client.query(
        'insert into migration_control.elections (collection_id, source_id, rule, path, winner, winner_source) values ($1, $2, $3, $4, $5, $6) on conflict do nothing',
        [loser.feed.collectionId, loser.id, why.rule, why.path, loser.winner.id, loser.winner.source],
      );
  }
  return same;
}

/** Documents that something may have changed for: a row they name has come, or what refused them is gone. */
export async function findDue(
  pool: pg.Pool,
  feeds: ReadonlyMap<number, Feed>,
  parents: readonly Parent[],
): Promise<void> {
  await findReferences(pool, parents);
  // Those that have waited longest first; what another looks at now is looked at.
  await query(
    pool,
    'looking for documents that were set aside because they alone failed',
    `with due as (update migration_control.migration_errors e set tried_at = clock_timestamp() from (
       select e.id, look.feed from ${lookedFor}
         cross join lateral (select id from migration_control.migration_errors where ${isOpen}
             and coalesce(tried_at, created_at) < clock_timestamp() - interval '${againAfter}'
           order by coalesce(tried_at, created_at) limit 20 for update skip locked) e) waits
       where e.id = waits.id returning e.source_id, waits.feed)
     insert into migration_control.redo (collection_id, source_id, reason, since)
     select distinct feed, source_id, 'set aside', '-infinity'::timestamptz from due on conflict do nothing`,
    [looks(feeds, () => [refusedRule, notAppliedRule])],
  );
}

/** Documents whose unique value another one had: it may be free again. */
export async function findLostKeys(pool: pg.Pool, feeds: ReadonlyMap<number, Feed>): Promise<void> {
  await query(
    pool,
    'looking for unique values that are free again',
    `insert into migration_control.redo (collection_id, source_id, reason, since)
     select distinct look.feed, e.source_id, 'lost key', '-infinity'::timestamptz from ${lookedFor}
       cross join lateral (select source_id from migration_control.migration_errors where ${isOpen} order by random() limit ${atOnce}) e
     on conflict do nothing`,
    [looks(feeds, ({ mapping }) => [...mapping.unique.map((rule) => rule.rule), sameIdRule])],
  );
}

const lookedFor = `jsonb_to_recordset($1::jsonb) as look(feed smallint, collection text, source text, rules jsonb)`;
const isOpen = `collection = look.collection and source_collection = look.source and look.rules ? rule and resolved_at is null`;
const looks = (feeds: ReadonlyMap<number, Feed>, rulesOf: (feed: Feed) => string[]): string =>
  JSON.stringify(
    [...feeds.values()].map((feed) => ({
      feed: feed.collectionId,
      collection: feed.mapping.collection,
      source: feed.source,
      rules: rulesOf(feed),
    })),
  );

/** Documents of which a row came before the one it names. */
export async function findReferences(pool: pg.Pool, parents: readonly Parent[]): Promise<void> {
  for (const { table, column } of parents)
    await query(
      pool,
      'looking for references that can be resolved',
      `insert into migration_control.redo (collection_id, source_id, reason)
       select distinct u.collection_id, u.source_id, 'reference' from migration_control.unresolved u join ${name(table)} p on p.${name(column)} = u.key
       where u.parent = $1 and u.parent_column = $2 limit 5000 on conflict do nothing`,
      [table, column],
    );
}

/** Tables, and their columns, that captured documents may name rows by. */
export function parentsOf(
  resources: Pick<Resources, 'mappings'>,
  feeds: Pick<ReadonlyMap<unknown, Feed>, 'values'>,
): Parent[] {
  const captured = new Set([...feeds.values()].map((feed) => feed.mapping.collection));
  const tables = [...resources.mappings.values()]
    .filter((mapping) => captured.has(mapping.collection))
    .flatMap((mapping) => mapping.targets.filter((target): target is TableTarget => target.store === 'postgres'));
  const made = new Set(tables.map((table) => table.name));
  const parents = tables
    .flatMap((table) => Object.values(table.columns))
    .flatMap(({ references }) => (references && made.has(references.table) ? [references] : []))
    .flatMap(({ table, by }) => by.map((column) => `${table}\t${column}`));
  return [...new Set(parents)].map((parent) => {
    const [table, column] = parent.split('\t') as [string, string];
    return { table, column };
  });
}

export interface Parent {
  readonly table: string;
  readonly column: string;
}

const key = (row: Pick<RedoRow, 'collection_id' | 'source_id'>) => `${row.collection_id}\t${row.source_id}`;

function byFeed(rows: readonly RedoRow[], feeds: ReadonlyMap<number, Feed>): Map<Feed, string[]> {
  const result = new Map<Feed, string[]>();
  for (const row of rows) {
    const feed = feeds.get(row.collection_id)!;
    result.set(feed, [...(result.get(feed) ?? []), row.source_id]);
  }
  return result;
}

/** The documents as they are now; one that is not there any more is a delete of the same version, which is no later than `atMost`. */
export async function readAgain(
  {
    source,
    postgres,
  }: { readonly source: Pick<Resources['source'], 'client' | 'db'>; readonly postgres: Resources['postgres'] },
  feed: Feed,
  ids: readonly string[],
  atMost?: bigint,
): Promise<Change[]> {
  const keys = await idsKnown(postgres, ids);
  const { version, documents } = await readDocuments(source.client, source.db, feed.source, keys, atMost);
  return ids.map((id) => ({ feed, id, version: versionOfRead(version), bytes: documents.get(id) }));
}
