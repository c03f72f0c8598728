// Keys of Redis and the clocks of those who write and compare them: what has expired only Redis's own says; one that is gone is counted and no difference.
import { serialize } from 'bson';
import { ObjectId } from 'mongodb';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { applyChanges, feedsOf, type Feed } from '../../activities/apply.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { check } from '../../activities/evidence/checks.ts';
import { loadOutside, type LoadOrder } from '../../activities/load.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { compareSample } from '../../activities/sample.ts';
import { makePostgres } from '../../activities/targets.ts';
import { manifestFile } from '../../activities/transform.ts';
import { Expectation } from '../../activities/verify/expected.ts';
import { compareOutside } from '../../activities/verify/outside.ts';
import { verifierOf } from '../../activities/verify/verifier.ts';
import { ownVault } from '../../control/vault.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { sourceId } from '../../core/identity.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { clusterTimeOf } from '../../stores/mongodb/source.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let feed: Feed;
const hour = 3_600_000;
const day = 24 * hour;
const settings = { zone: 'Asia/Shanghai', providers: [] };
const documents = Array.from({ length: 20 }, (_, i) => ({
  _id: new ObjectId(),
  session_id: `s${i}`,
  created_at: new Date(Date.now() - hour),
  expires_at: new Date(Date.now() + (i + 1) * hour),
}));
const ended = { ...documents[0]!, _id: new ObjectId(), session_id: 'ended', expires_at: new Date(Date.now() - hour) };

/** This process's clock; the servers keep theirs. */
const clockIsOff = (ms: number) => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms });
};
afterEach(() => void vi.useRealTimers());

beforeAll(async () => {
  world = await World.open('keys');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions']);
  await enroll(resources, 'sessions', 'sessions');
  feed = (await feedsOf(resources)).get('sessions')!;
  await world.source.collection('sessions').insertMany([...documents, ended]);
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

const ttl = (i: number) => world.redis.pttl(`session:s${i}`);
const expectTtl = async (i: number) => {
  expect(await ttl(i)).toBeGreaterThan((i + 1) * hour - 600_000);
  expect(await ttl(i)).toBeLessThanOrEqual((i + 1) * hour);
};
const apply = async () => {
  const version = { time: await clusterTimeOf(world.source), op: 0 };
  const changes = [...documents, ended].map((document) => ({
    feed,
    id: sourceId(document._id),
    version,
    bytes: serialize(document),
  }));
  await inTransaction(resources.postgres, 'testing', (client) => applyChanges(resources, client, changes, settings));
};
const sample = () =>
  compareSample(
    resources,
    {
      collection: 'sessions',
      batchId: 'test',
      settings: (readSettings({ sampleMinimum: 100 }) as { settings: Settings }).settings,
      transform: { ...settings, asOf: Date.now() },
    },
    () => undefined,
  );
const evidence = () =>
  check(
    resources,
    feed.mapping,
    [{ id: feed.collectionId, source: 'sessions' }],
    documents.map(({ _id }) => ({
      collectionId: feed.collectionId,
      source: 'sessions',
      id: sourceId(_id),
      place: null,
      keys: [],
    })),
    { ...settings, asOf: Date.now() },
    () => undefined,
  );
const outside = async () => {
  const slice = new Slice(60_000, new AbortController().signal, () => undefined);
  const order = { ...settings, configurationDirectory: 'configuration', rowsPerSecond: 0 };
  const verifier = await verifierOf(resources, order, 0, slice);
  const ground = verifier.grounds[0]!;
  const expectation = new Expectation(ground);
  const transform = verifier.transformAt(await clusterTimeOf(world.source));
  const images = [...documents, ended].map((one) =>
    expectation.image(expectation.read(serialize(one), transform), () => null),
  );
  return compareOutside(verifier, ground, images, 200);
};

test.each([2 * day, -2 * day])('a writer whose clock is %d ms off', async (off) => {
  await world.redis.flushdb();
  await world.rows('truncate migration_control.ledger');
  await world.rows('truncate sessions');
  clockIsOff(off);
  await apply();
  for (const i of documents.keys()) await expectTtl(i);
  expect(await world.redis.exists('session:ended')).toBe(0);
});

test.each([2 * day, -2 * day])('the copy by a worker whose clock is %d ms off', async (off) => {
  await world.redis.flushdb();
  await world.rows('truncate migration_control.announced_keys');
  const path = `sessions/0/${off}`;
  const lines = [...documents, ended].map((document) =>
    JSON.stringify({
      key: document.session_id,
      value: { session_id: document.session_id },
      expiresAt: document.expires_at.getTime(),
      rank: '1',
      sourceId: sourceId(document._id),
    }),
  );
  await resources.spool.make(path);
  const text = lines.join('\n');
  await resources.spool.store(path, 'keys', text);
  const files = [{ file: 'keys', bytes: Buffer.byteLength(text), target: 'session_keys', store: 'redis' }];
  await resources.spool.store(path, manifestFile, JSON.stringify({ files }));
  const order = {
    collection: 'sessions',
    source: 'sessions',
    collectionId: feed.collectionId,
    chunk: 0,
    segment: 0,
    extracted: { reference: { path }, version: (await clusterTimeOf(world.source)).toString() },
  } as unknown as LoadOrder;
  clockIsOff(off);
  expect(await loadOutside(resources, order, 'redis', () => undefined)).toMatchObject({ stale: 0 });
  for (const i of documents.keys()) await expectTtl(i);
  expect(await world.redis.exists('session:ended')).toBe(0);
  const announced = await world.rows<{ key: string }>('select key from migration_control.announced_keys');
  expect(announced.filter(({ key }) => /session|s\d+$/.test(key))).toEqual([]);
  expect(announced.map(({ key }) => ownVault().openText('redis key', key)).sort()).toEqual(
    documents.map((one) => `session:${one.session_id}`).sort(),
  );
});

test.each([0, 2 * day, -2 * day])(
  'comparing with a clock %d ms off finds nothing where nothing is wrong',
  async (off) => {
    await world.redis.flushdb();
    await world.rows('truncate migration_control.ledger');
    await world.rows('truncate sessions');
    await apply();
    clockIsOff(off);
    expect(await sample()).toMatchObject({ status: 'passed', details: { total_samples: 21, evicted: 0 } });
    expect(await outside()).toEqual({ findings: new Map(), absent: [] });
  },
);

test('keys that are gone are counted and no difference; a value that is another is one', async () => {
  await world.redis.del('session:s1', 'session:s2', 'session:s3');
  expect(await sample()).toMatchObject({
    status: 'passed',
    details: { total_samples: 21, successful_validations: 21, evicted: 3 },
  });
  expect(await evidence()).toEqual({ checked: 20, failed: 0, missing: 0, corrupted: 0, evicted: 3 });
  expect((await outside()).absent.map((one) => one.row.key)).toEqual(['s1', 's2', 's3']);

  for (const value of ['{"session_id":"another"}', 'no JSON']) {
    await world.redis.set('session:s4', value, 'KEEPTTL');
    const record_id = sourceId(documents[4]!._id);
    expect(await sample()).toMatchObject({
      status: 'failed',
      details: { evicted: 3, sample_details: [{ record_id, status: 'different', differs: ['session_keys'] }] },
    });
    expect(await evidence()).toMatchObject({ failed: 1, missing: 0, corrupted: 1, evicted: 3 });
  }
});
