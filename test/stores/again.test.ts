// Changes that two writers meet on: none is lost, whoever comes first.
import { serialize } from 'bson';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyChanges, feedsOf, type Feed } from '../../activities/apply.ts';
import { applyPatiently } from '../../activities/capture/patiently.ts';
import { redoDue } from '../../activities/capture/redo.ts';
import { catchingUp, comingTogether } from '../../activities/capture/caught-up.ts';
import { enroll } from '../../activities/plan.ts';
import { openResources, type Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { announceKeys, forgetAnnounced } from '../../control/announced-keys.ts';
import { removeAbandoned } from '../../activities/capture/tend.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { versionOfRead } from '../../core/guard.ts';
import { sourceId } from '../../core/identity.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { loadKeys } from '../../stores/redis/loader.ts';
import { readEnvironment } from '../../workers/environment.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let feed: Feed;
let feeds: Map<number, Feed>;
const settings = { zone: 'Asia/Shanghai', providers: [] };

beforeAll(async () => {
  world = await World.open('again');
  const { addresses } = readEnvironment(world.environment);
  resources = await openResources(addresses, world.home, { host: 'host', process: 'process' });
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions', 'metadata']);
  await enroll(resources, 'sessions', 'sessions');
  await enroll(resources, 'metadata', 'metadata');
  await resources.postgres.query(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
     values ('{}', 1, 1, 0, 0, 4, 'updateLookup')`,
  );
  feed = (await feedsOf(resources)).get('sessions')!;
  feeds = new Map([[feed.collectionId, feed]]);
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

const session = (name: string, more: object = {}) => ({
  _id: new ObjectId(),
  session_id: name,
  created_at: new Date(),
  expires_at: new Date(Date.now() + 3_600_000),
  ...more,
});
/** Before anything that the source itself says of its time. */
const now = () => BigInt(Math.floor(Date.now() / 1000) - 3600) << 32n;
let count = 0n;
const next = () => ({ time: now() + ++count, op: 0 });
const change = (document: { _id: ObjectId } & Record<string, unknown>, version = next()) => ({
  feed,
  id: sourceId(document._id),
  version,
  bytes: serialize(document),
});
const apply = (...changes: ReturnType<typeof change>[]) =>
  inTransaction(resources.postgres, 'testing', (client) => applyChanges(resources, client, changes, settings));
const streamHasShown = (time: bigint) =>
  resources.postgres.query('update migration_control.capture_stream set version = $1', [time.toString()]);
const statusOf = async ({ _id }: { _id: ObjectId }) =>
  (await world.rows<{ status: string | null }>('select status from sessions where source_id = $1', [sourceId(_id)]))[0]
    ?.status;
const notes = async () => Number((await world.rows('select count(*) from migration_control.redo'))[0]!['count']);
const redo = () => redoDue(resources, feeds, settings, 10);

test('a change that clashes while its document is being read again is read once more', async () => {
  const holder = session('held');
  const document = session('mine', { status: 'old' });
  await world.source.collection('sessions').insertMany([holder, document]);
  await apply(change(holder));
  await world.pool.query(
    `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'reference')`,
    [feed.collectionId, sourceId(document._id)],
  );
  // Whoever reads it again has read the old state, and waits for the ledger's row, which a lane has.
  const lane = await world.pool.connect();
  await lane.query('begin');
  await lane.query(
    `insert into migration_control.ledger_${feed.collectionId} (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest)
     values ($1, $2, 0, 0, true, 's', 1, 0)`,
    [feed.collectionId, sourceId(document._id)],
  );
  await streamHasShown(now() - 1n);
  const reading = redo().catch((error: unknown) => error);
  await expect
    .poll(async () => (await world.rows(`select 1 from pg_stat_activity where wait_event_type = 'Lock'`)).length)
    .toBeGreaterThan(0);
  const later = { ...document, session_id: 'held', status: 'new' };
  await world.source.collection('sessions').replaceOne({ _id: document._id }, later);
  const { clashes } = await applyChanges(resources, lane, [change(later)], settings);
  expect(clashes).toHaveLength(1);
  await lane.query('commit');
  lane.release();
  await reading;

  expect(await notes()).toBe(1);
  await world.source.collection('sessions').deleteOne({ _id: holder._id });
  await apply({ ...change(holder), bytes: undefined as never });
  await streamHasShown(next().time);
  await expect.poll(async () => (await redo().catch(() => 0), await statusOf(document))).toBe('new');
  expect(await notes()).toBe(0);
});

test('a unique value that another writer takes in the same moment is a clash, and no refusal', async () => {
  const first = session('raced');
  const second = session('raced', { status: 'second' });
  await world.source.collection('sessions').insertMany([first, second]);
  const other = await world.pool.connect();
  await other.query('begin');
  await applyChanges(resources, other, [change(first)], settings);
  // Nobody sees the first session yet; the second waits for its row.
  const applying = inTransaction(resources.postgres, 'testing', (client) =>
    applyPatiently(resources, client, [change(second)], settings),
  );
  await expect
    .poll(async () => (await world.rows(`select 1 from pg_stat_activity where wait_event_type = 'Lock'`)).length)
    .toBeGreaterThan(0);
  await other.query('commit');
  other.release();
  expect(await applying).toMatchObject({ quarantined: 0, clashes: [{ id: sourceId(second._id) }] });
  expect(await notes()).toBe(1);
  await world.source.collection('sessions').deleteOne({ _id: first._id });
  await apply({ ...change(first), bytes: undefined as never });
  await streamHasShown(next().time);
  await expect.poll(async () => (await redo().catch(() => 0), await statusOf(second))).toBe('second');
});

test('what is read again stays noted while the stream has not shown what stands in the targets', async () => {
  const document = session('waits', { status: 'applied' });
  const version = next();
  await apply(change(document, version));
  await world.source.collection('sessions').insertOne({ ...document, status: 'now' });
  await world.pool.query(
    `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'clash')`,
    [feed.collectionId, sourceId(document._id)],
  );
  await streamHasShown(version.time - 1n);
  expect(await redo()).toBe(1);
  expect([await statusOf(document), await notes()]).toEqual(['applied', 1]);
  await streamHasShown(version.time);
  await expect.poll(async () => (await redo(), await notes())).toBe(0);
  expect(await statusOf(document)).toBe('now');
});

test('while the source is quiet a document can be read again and again', async () => {
  const document = session('quiet', { status: 'one' });
  await world.source.collection('sessions').insertOne(document);
  await streamHasShown(next().time);
  for (const status of ['two', 'three']) {
    await world.source.collection('sessions').updateOne({ _id: document._id }, { $set: { status } });
    await world.pool.query(
      `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'reference')`,
      [feed.collectionId, sourceId(document._id)],
    );
    expect(await redo()).toBe(1);
    expect([await statusOf(document), await notes()]).toEqual([status, 0]);
    expect(JSON.parse((await world.redis.get('session:quiet'))!)).toMatchObject({ status });
  }
  await world.source.collection('sessions').updateOne({ _id: document._id }, { $set: { expires_at: new Date(0) } });
  await world.pool.query(
    `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'reference')`,
    [feed.collectionId, sourceId(document._id)],
  );
  expect(await redo()).toBe(1);
  expect(await world.redis.exists('session:quiet')).toBe(0);
});

test('caught up means what was left by then, not what later changes leave', async () => {
  const note = (id: string) =>
    world.pool.query(
      `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'clash') on conflict do nothing`,
      [feed.collectionId, id],
    );
  const forget = (id: string) => world.pool.query('delete from migration_control.redo where source_id = $1', [id]);
  await streamHasShown(1000n);
  const later = catchingUp(resources, '1001');
  expect(await later()).toBe(false);
  const caughtUp = catchingUp(resources, '1000');
  await note('first');
  await world.pool.query(`insert into migration_control.stale_files (collection) values ('metadata')`);
  expect(await caughtUp()).toBe(false);
  await note('second');
  await forget('first');
  expect(await caughtUp()).toBe(false);
  await world.pool.query('delete from migration_control.stale_files');
  await world.pool.query(`insert into migration_control.stale_files (collection) values ('metadata')`);
  expect(await caughtUp()).toBe(true);
  await forget('second');
  await world.pool.query('delete from migration_control.stale_files');
});

test('who reads a setting again, or writes it a second time, asks for its file as a lane does', async () => {
  const configured = (await feedsOf(resources)).get('metadata')!;
  const _id = new ObjectId();
  const id = sourceId(_id);
  const asked = async () => {
    const rows = await world.rows<{ collection: string }>(
      'delete from migration_control.stale_files returning collection',
    );
    return rows.map((row) => row.collection);
  };
  await world.source.collection('metadata').insertOne({ _id, key: 'ui.theme', value: 'dark' });
  await world.pool.query(
    `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'clash')`,
    [configured.collectionId, id],
  );
  await streamHasShown(now());
  expect(await redoDue(resources, new Map([[configured.collectionId, configured]]), settings, 10)).toBe(1);
  expect(await world.rows('select key from app_metadata')).toEqual([{ key: 'ui.theme' }]);
  expect(await asked()).toEqual(['metadata']);
  const change = { feed: configured, id, version: versionOfRead(now() + (1n << 40n)), bytes: undefined };
  await inTransaction(resources.postgres, 'testing', (client) =>
    applyChanges(resources, client, [change], settings, { origin: 'second write' }),
  );
  expect(await asked()).toEqual(['metadata']);
});

test('a session that has ended by the time it is applied leaves no key that an attempt before had set', async () => {
  const document = session('ended');
  const first = change(document);
  const client = await world.pool.connect();
  await client.query('begin');
  await applyChanges(resources, client, [first], settings);
  await client.query('rollback');
  client.release();
  expect(await world.redis.exists('session:ended')).toBe(1);
  // At the time of the change it lives for another second.
  const second = change({ ...document, expires_at: new Date(Date.now() + 1000) });
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await apply(first, second);
  expect(await world.redis.exists('session:ended')).toBe(0);
});

test('a document that is read again, by one who dies before the commit, and has ended when the next one reads it leaves no key', async () => {
  const document = session('read twice');
  const client = await world.pool.connect();
  await client.query('begin');
  await applyChanges(resources, client, [change(document)], settings, { origin: 'read again' });
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:read twice')).toBe(1);
  await client.query('rollback');
  client.release();
  await inTransaction(resources.postgres, 'testing', (other) =>
    applyChanges(resources, other, [change({ ...document, expires_at: new Date(1000) })], settings, {
      origin: 'read again',
    }),
  );
  await streamHasShown(next().time);
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:read twice')).toBe(0);
  // One that was committed keeps its key, and nothing is noted of it any more.
  const kept = session('kept');
  await inTransaction(resources.postgres, 'testing', (other) =>
    applyChanges(resources, other, [change(kept)], settings, { origin: 'read again' }),
  );
  await streamHasShown(next().time);
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:kept')).toBe(1);
  expect(await world.rows('select 1 from migration_control.announced_keys')).toEqual([]);
});

test('a key that one who read the document has left is not removed while the change he read is on its way', async () => {
  for (const housekeeping of ['before', 'beside']) {
    const name = `${housekeeping} the change`;
    const document = session(name);
    const came = change(document);
    const read = change(document, { time: next().time, op: 2 ** 31 - 1 });
    await streamHasShown(came.version.time - 1n);
    const reader = await world.pool.connect();
    await reader.query('begin');
    await applyChanges(resources, reader, [read], settings, { origin: 'second write' });
    await reader.query('rollback');
    reader.release();
    if (housekeeping === 'before') await removeAbandoned(resources);
    await inTransaction(resources.postgres, 'testing', async (lane) => {
      await applyChanges(resources, lane, [came], settings);
      if (housekeeping === 'beside') await removeAbandoned(resources);
    });
    expect([name, await world.redis.exists(`session:${name}`)]).toEqual([name, 1]);
    await streamHasShown(next().time);
    await removeAbandoned(resources);
    expect([name, await world.redis.exists(`session:${name}`)]).toEqual([name, 1]);
    expect(await world.rows('select 1 from migration_control.announced_keys')).toEqual([]);
  }
});

test('keys of an attempt of the copy that broke off are removed, if no document has them and no batch will come', async () => {
  const has = session('has');
  await apply(change(has));
  const batch = async (batchId: string, segment: number, keys: Record<string, string>) => {
    const version = (now() - 1n).toString();
    const rows = Object.entries(keys).map(([key, sourceId]) => ({ key: `session:${key}`, sourceId }));
    await announceKeys(
      resources.postgres,
      { batchId, collectionId: feed.collectionId, chunk: 0, segment, version },
      rows,
    );
    for (const [key, id] of Object.entries(keys))
      await loadKeys(resources.redis, 'session:', [
        {
          key,
          owner: feed.collectionId,
          sourceId: id,
          rank: '1',
          value: {},
          expiresAt: Date.now() + 60_000,
          version: versionOfRead(BigInt(version)),
        },
      ]);
  };
  const loaded = (batchId: string, segment: number, ends: boolean) =>
    world.pool.query(
      `insert into migration_control.migration_batches (batch_id, collection, collection_id, chunk, segment, ends_chunk, status, documents, loaded,
         quarantined, skipped, bytes, version, started_at, attempt, run_id) values ($1, 'sessions', $2, 0, $3, $4, 'loaded', 0, 0, 0, 0, 0, 1, now(), 1, '')`,
      [batchId, feed.collectionId, segment, ends],
    );
  await loaded('earlier chain', 1, false);
  await batch('dead', 0, { renamed: 'some', has: sourceId(has._id) });
  await batch('dead further on', 2, { deleted: 'other' });
  await batch('under way', 1, { coming: 'third' });
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:renamed', 'session:deleted', 'session:coming', 'session:has')).toBe(4);
  await loaded('instead', 0, false);
  await loaded('last', 2, true);
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:renamed', 'session:deleted')).toBe(0);
  expect(await world.redis.exists('session:coming', 'session:has')).toBe(2);
  expect(await world.rows('select batch_id from migration_control.announced_keys')).toEqual([
    { batch_id: 'under way' },
  ]);
  await inTransaction(resources.postgres, 'testing', (client) => forgetAnnounced(client, 'under way'));
  await loaded('under way', 1, false);
  // Whoever announces once more what has been loaded leaves nothing behind.
  await batch('under way', 1, { coming: 'third' });
  expect(await world.rows('select 1 from migration_control.announced_keys')).toEqual([]);
});

test('caught up together: a row that came before the one it names is found, though nobody looks after the targets', async () => {
  await enroll(resources, 'subscription_users', 'users');
  const document = session('names somebody');
  await apply(change(document));
  const columns = await world.rows<{ name: string; type: string }>(
    `select column_name as name, data_type as type from information_schema.columns where table_schema = 'public' and table_name = 'users'
       and (column_name = 'username' or is_nullable = 'NO' and column_default is null and is_identity = 'NO')`,
  );
  const names = columns.map((column) => `"${column.name}"`);
  const values: Record<string, string> = { boolean: 'true', jsonb: `'{}'`, bigint: '0', integer: '0' };
  await world.rows(
    `insert into users (${names.join(', ')}) values (${columns.map(({ type }) => values[type] ?? (type === 'text' ? `'someone'` : 'now()')).join(', ')})`,
  );
  await world.rows(
    `insert into migration_control.unresolved (collection_id, source_id, parent, parent_column, key) values ($1, $2, 'users', 'username', 'someone')`,
    [feed.collectionId, sourceId(document._id)],
  );
  await streamHasShown(2000n);
  const together = comingTogether(resources, '2000');
  expect(await together()).toBe(false);
  expect(await world.rows('select reason from migration_control.redo')).toEqual([{ reason: 'reference' }]);
  await world.rows('delete from migration_control.redo; delete from migration_control.unresolved');
  expect(await together()).toBe(true);
});
