// Every step that removes or writes over something asks the database whose data counts, and the stores whose they are, where it does it.
import { randomUUID } from 'node:crypto';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { feedsOf, applyChanges } from '../../activities/apply.ts';
import { applyLane } from '../../activities/capture/lane.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { removeAbandoned } from '../../activities/capture/tend.ts';
import { whileRestoring } from '../../activities/checkpoint/restore.ts';
import { removeServing, retireOld } from '../../activities/decommission/retire.ts';
import { loadOutside } from '../../activities/load.ts';
import { enroll } from '../../activities/plan.ts';
import { keepPolicy } from '../../activities/policy.ts';
import { retryQuarantined } from '../../activities/quarantine.ts';
import { prepareControl } from '../../activities/record.ts';
import { openResources, type Resources } from '../../activities/resources.ts';
import { armReverse, disarmReverse } from '../../activities/reverse/arm.ts';
import { makePostgres } from '../../activities/targets.ts';
import { repairDifferent } from '../../activities/verify/repair.ts';
import { verifierOf } from '../../activities/verify/verifier.ts';
import { announceKeys } from '../../control/announced-keys.ts';
import { openRun, suspect } from '../../control/verification.ts';
import { sourceId } from '../../core/identity.ts';
import { clusterTimeOf } from '../../stores/mongodb/source.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { readEnvironment } from '../../workers/environment.ts';
import { inCutover } from '../support/standing.ts';
import { World } from '../support/world.ts';
import { serialize } from 'bson';

const settings = { zone: 'Asia/Shanghai', providers: [] };
const saved = { folder: 'nowhere', manifestSha256: 'x', collections: {}, bytes: 0 };
const slice = () => new Slice(30_000, new AbortController().signal, () => undefined);

let world: World;
let resources: Resources;
beforeAll(async () => {
  world = await World.open('asks');
  const bare = await world.resources();
  await prepareControl(bare, world.name, inCutover);
  await bare.close();
  // As a worker opens them: with an owner, whose mark the targets carry.
  const owner = { migration: world.name, stores: '0'.repeat(12) };
  await world.rows('update migration_control.migration set fingerprint = $1', [owner.stores]);
  resources = await openResources(readEnvironment(world.environment).addresses, world.home, {
    host: 'test',
    process: 'test',
    owner,
  });
  await makePostgres(resources, ['sessions']);
  await enroll(resources, 'sessions', 'sessions');
  await keepPolicy(resources.postgres, { ...settings, configurationDirectory: 'configuration' });
});
afterAll(async () => {
  await resources?.close();
  await world?.close();
});
const mark = () => ({ migration: world.name, stores: '0'.repeat(12) });
const ours = async () => {
  await world.redis.hset('causeway:owner', mark());
  await world.target.collection('causeway_owner').replaceOne({ _id: 'owner' as never }, mark(), { upsert: true });
};
const routed = (mode: string, percentage = 100) =>
  world.rows(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('sessions', $2, $1, 1)
     on conflict (collection) do update set write_mode = excluded.write_mode, percentage = excluded.percentage`,
    [mode, percentage],
  );
beforeEach(async () => {
  await ours();
  await routed('old', 0);
  await world.rows(
    'truncate migration_control.captured, migration_control.outbox, migration_control.reverse_position, migration_control.announced_keys',
  );
});

const session = {
  _id: new ObjectId(),
  session_id: 'one',
  created_at: new Date(),
  expires_at: new Date(Date.now() + 3_600_000),
};
async function apply(document: object & { _id: ObjectId }): Promise<bigint> {
  const feed = (await feedsOf(resources)).get('sessions')!;
  const time = await clusterTimeOf(world.source);
  const change = { feed, id: sourceId(document._id), version: { time, op: 0 }, bytes: serialize(document) };
  await inTransaction(resources.postgres, 'testing', (client) => applyChanges(resources, client, [change], settings));
  return time;
}

const gone = { type: 'DecommissionRefused', message: expect.stringMatching(/still used.*sessions/) as string };

test('the old collections are renamed, capture and way back ended, only where nothing goes to the old system any more', async () => {
  await world.source.collection('sessions').insertOne({ a: 1 });
  await world.rows(
    `insert into migration_control.captured (lane, segment, first_version, last_version, events, first_wall, last_wall, content) values (0, 1, 1, 1, 1, now(), now(), '')`,
  );
  await armReverse(resources, settings);
  for (const [mode, percentage] of [
    ['old', 0],
    ['dual_write', 100],
    ['new_system', 50],
  ] as const) {
    await routed(mode, percentage);
    await expect(retireOld(resources, saved)).rejects.toMatchObject(gone);
    await expect(disarmReverse(resources, { ofNewSystem: true })).rejects.toMatchObject(gone);
    await expect(removeServing(resources)).rejects.toMatchObject(gone);
  }
  // A collection that nobody has given a route is the old system's.
  await world.rows('delete from migration_control.routing');
  await expect(retireOld(resources, saved)).rejects.toMatchObject(gone);
  expect(await world.rows('select 1 from migration_control.captured')).toHaveLength(1);
  expect(await world.rows('select 1 from migration_control.reverse_position')).toHaveLength(1);
  expect(await world.rows(`select 1 from migration_control.audit_log where action = 'decommission begun'`)).toEqual([]);
  expect(await world.source.collection('sessions').countDocuments()).toBe(1);
  await world.source.collection('sessions').deleteMany({});
});

test('what only served the migration stays for as long as the old system has not been taken out of use', async () => {
  await routed('new_system');
  await expect(removeServing(resources)).rejects.toMatchObject({ type: 'DecommissionRefused' });
  expect(await world.rows(`select 1 from pg_namespace where nspname = 'migration_control'`)).toHaveLength(1);
  expect(
    await world.rows(
      `select 1 from information_schema.columns where table_name = 'sessions' and column_name = 'source_id'`,
    ),
  ).toHaveLength(1);
});

/** A repair under way whose collection's writes have moved since it began: it has asked for none of them. */
async function repairing(kind: 'key' | 'document', id: string) {
  const order = { ...settings, configurationDirectory: 'configuration', rowsPerSecond: 0 };
  const { run } = await openRun(resources.postgres, 'all', 1n, true, () => Promise.resolve([]));
  const verifier = await verifierOf(resources, order, run, slice());
  const collectionId = kind === 'key' ? 0 : verifier.grounds[0]!.collectionId;
  await inTransaction(resources.postgres, 'testing', (client) =>
    suspect(client, run, [{ kind, collectionId, mapping: 'sessions', id }]),
  );
  await world.rows(`update migration_control.verification_keys set state = 'different', finding = 'extra'`);
  return repairDifferent({ ...verifier, scope: [] });
}

test('a repair touches nothing of a collection whose writes move while it runs', async () => {
  await world.source.collection('sessions').insertOne(session);
  await apply(session);
  await world.redis.set('session:of nobody', '{"_causeway":{"s":"nobody","r":"","v":""}}');
  const held = await world.redis.get('session:one');
  expect(held).not.toBeNull();
  const ledger = () => world.rows('select version, op_index, state from migration_control.ledger');
  const before = await ledger();
  await routed('new_system');
  const refused = {
    type: 'ConfigurationInvalid',
    message: expect.stringContaining('sessions: writes go to') as string,
  };
  await expect(repairing('key', 'session:of nobody')).rejects.toMatchObject(refused);
  await expect(repairing('document', sourceId(session._id))).rejects.toMatchObject(refused);
  expect(await world.redis.exists('session:of nobody')).toBe(1);
  expect(await world.redis.get('session:one')).toBe(held);
  expect(await ledger()).toEqual(before);
});

test("a key that an attempt left behind is the new system's once it has the writes", async () => {
  const collectionId = (await feedsOf(resources)).get('sessions')!.collectionId;
  const mark = { s: 'somebody', c: `${collectionId}`, r: '', v: '00000000000000000001.0000000000' };
  await world.redis.set('session:left', JSON.stringify({ _causeway: mark }));
  const batch = { batchId: 'left', collectionId, chunk: 0, segment: 0, version: '1' };
  await announceKeys(resources.postgres, batch, [{ sourceId: 'somebody', key: 'session:left' }]);
  await world.rows(
    `insert into migration_control.migration_batches (batch_id, collection, collection_id, chunk, segment, ends_chunk, status, documents, loaded, quarantined, skipped, bytes, version, started_at, attempt, run_id)
     values ('later', 'sessions', $1, 0, 0, false, 'loaded', 1, 1, 0, 0, 1, 1, now(), 1, 'r')`,
    [collectionId],
  );
  await routed('new_system');
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:left')).toBe(1);
  await routed('old', 0);
  await removeAbandoned(resources);
  expect(await world.redis.exists('session:left')).toBe(0);
});

test('quarantine tried again leaves the ledger of moved writes as it is', async () => {
  const bad = { ...session, _id: new ObjectId(), session_id: 'bad', expires_at: 'never' as unknown as Date };
  await world.source.collection('sessions').insertOne(bad as never);
  await apply(bad as never);
  const ledger = () =>
    world.rows('select source_id, version, op_index, state from migration_control.ledger order by 1');
  const before = await ledger();
  expect(before).toContainEqual(expect.objectContaining({ source_id: sourceId(bad._id), state: 'q' }));
  await world.source.collection('sessions').updateOne({ _id: bad._id }, { $set: { expires_at: session.expires_at } });
  await routed('new_system');
  const report = await retryQuarantined(resources, { run: randomUUID(), dryRun: false }, () => false);
  expect(report).toMatchObject({ documents: 1, quarantined: 1, loaded: 0 });
  expect(await ledger()).toEqual(before);
  await routed('old', 0);
  expect(await retryQuarantined(resources, { run: randomUUID(), dryRun: false }, () => false)).toMatchObject({
    loaded: 1,
  });
});

test('a target that another migration has marked since is neither loaded, put back nor repaired', async () => {
  const refused = {
    type: 'ForeignStores',
    message: expect.stringContaining('The target Redis belongs to the migration "another"') as string,
  };
  await world.redis.hset('causeway:owner', { migration: 'another', stores: 'f'.repeat(12) });
  await world.redis.set('session:theirs', '{"_causeway":{"s":"nobody","r":"","v":""}}');
  await expect(repairing('key', 'session:theirs')).rejects.toMatchObject(refused);
  await expect(repairing('document', sourceId(session._id))).rejects.toMatchObject(refused);
  const order = {
    collection: 'sessions',
    source: 'sessions',
    collectionId: 1,
    chunk: 0,
    segment: 0,
    extracted: {} as never,
  };
  await expect(loadOutside(resources, order, 'redis', () => undefined)).rejects.toMatchObject(refused);
  await world.rows(
    `insert into migration_control.capture_position (lane, version) values (0, 0) on conflict do nothing`,
  );
  await expect(applyLane(resources, 0, settings, slice())).rejects.toMatchObject(refused);
  await world.rows(`insert into migration_control.restores (checkpoint, manifest_sha256) values ('c', 'x')`);
  const restored = whileRestoring(resources, { folder: 'nowhere', manifestSha256: 'x' }, (_, still) => still());
  await expect(restored).rejects.toMatchObject(refused);
  await world.rows('delete from migration_control.restores');
  expect(await world.redis.exists('session:theirs')).toBe(1);
});
