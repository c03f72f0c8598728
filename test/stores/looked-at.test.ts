// A conditional write that was not applied is no write: whoever makes one looks at what stands instead, or waits for whoever was first.
import type { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { feedsOf } from '../../activities/apply.ts';
import { openCapture } from '../../activities/capture/open.ts';
import { readAgain } from '../../activities/capture/redo.ts';
import { markTargets } from '../../activities/identity.ts';
import { planChunks } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { keepConflicts } from '../../activities/reverse/told.ts';
import { makePostgres } from '../../activities/targets.ts';
import { lostSidesOf } from '../../control/conflicts.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { ownVault } from '../../control/vault.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

const settings = (readSettings({}) as { settings: Settings }).settings;
let world: World;
let resources: Resources;
beforeAll(async () => {
  world = await World.open('looked_at');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions']);
  await world.source.collection('sessions').insertMany(
    Array.from({ length: 40 }, (_, i) => ({
      _id: `s${String(i).padStart(3, '0')}` as unknown as ObjectId,
      session_id: `s${i}`,
    })),
  );
});
afterAll(async () => {
  await resources?.close();
  await world?.close();
});

test('two plans made at once: one stands, and tiles the keys', async () => {
  const plan = (chunkDocuments: number) =>
    planChunks(resources, 'sessions', ['sessions'], { ...settings, chunkDocuments, parallelism: 4 }, () => undefined);
  for (let n = 0; n < 5; n++) {
    await world.rows('truncate migration_control.chunks');
    const [a, b] = await Promise.all([plan(4 + n), plan(20)]);
    expect(a!.chunks).toEqual(b!.chunks);
    const rows = await world.rows<{ lower_id: string | null; upper_id: string | null }>(
      'select lower_id, upper_id from migration_control.chunks order by chunk',
    );
    expect(rows.map((row) => row.lower_id)).toEqual([null, ...rows.slice(0, -1).map((row) => row.upper_id)]);
    expect(rows.at(-1)!.upper_id).toBeNull();
  }
});

test('capture opened twice at once, with other numbers of lanes: the lanes are those of the stream that stands', async () => {
  for (let n = 0; n < 3; n++) {
    await world.rows('truncate migration_control.capture_stream, migration_control.capture_position');
    const open = (captureLanes: number) =>
      openCapture(resources, { ...settings, collections: ['sessions'], captureLanes });
    const [a, b] = await Promise.all([open(2), open(7)]);
    expect(a).toEqual(b);
    expect(await world.rows('select lane from migration_control.capture_position')).toHaveLength(a!.lanes);
  }
});

test("targets that two migrations mark at once are the first one's", async () => {
  for (let n = 0; n < 5; n++) {
    await world.redis.del('causeway:owner');
    await world.target.collection('causeway_owner').deleteMany({});
    const outcomes = await Promise.allSettled(
      ['one', 'two'].map((migration) => markTargets(resources, { migration, stores: 'f'.repeat(12) })),
    );
    expect(outcomes.filter((one) => one.status === 'fulfilled').length).toBeLessThanOrEqual(1);
    for (const one of outcomes)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ type: 'ForeignStores' });
    const kept = await world.redis.hgetall('causeway:owner');
    await expect(markTargets(resources, { migration: 'three', stores: 'a'.repeat(12) })).rejects.toMatchObject({
      type: 'ForeignStores',
    });
    expect(await world.redis.hgetall('causeway:owner')).toEqual(kept);
  }
});

test('a document that is just being read again is noted once more for what came after that read', async () => {
  const feed = (await feedsOf(resources)).get('sessions')!;
  await world.pool.query(
    `insert into migration_control.redo (collection_id, source_id, reason) values ($1, 'x', 'waits')`,
    [feed.collectionId],
  );
  const reading = await world.pool.connect();
  await reading.query(`begin; select 1 from migration_control.redo where source_id = 'x' for update`);
  const lost = Buffer.from('the other side');
  const keeping = inTransaction(resources.postgres, 'testing', (client) =>
    keepConflicts(client, feed, [{ id: 'x', kept: 'old', lost }]),
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  await reading.query(`delete from migration_control.redo where source_id = 'x'; commit`);
  reading.release();
  await keeping;
  expect(await world.rows(`select reason from migration_control.redo where source_id = 'x'`)).toEqual([
    { reason: 'late write' },
  ]);
  // What was not kept is not in the clear, and is read again.
  const [row] = await world.rows<{ document: Buffer }>('select document from migration_control.reverse_conflicts');
  expect(row!.document.includes('other side')).toBe(false);
  expect(await lostSidesOf(resources.postgres, 'sessions', ['x'])).toMatchObject([{ kept: 'old', document: lost }]);
});

test('a long key that another process has shortened is looked up before its document is taken for gone', async () => {
  const feed = (await feedsOf(resources)).get('sessions')!;
  const key = 'k'.repeat(1500);
  await world.source.collection('sessions').insertOne({ _id: key as unknown as ObjectId, session_id: 'long' });
  const shortened = `long:${key.length + 2}:${'5'.repeat(32)}`;
  await world.pool.query('insert into migration_control.long_keys values ($1, $2)', [shortened, JSON.stringify(key)]);
  // The digest is another's: only that it is asked for can be seen here.
  const { idsKnown } = await import('../../control/long-keys.ts');
  expect(await idsKnown(resources.postgres, [shortened])).toEqual([key]);
  expect(await readAgain(resources, feed, [shortened])).toHaveLength(1);
});

test("bytes that the ledger keeps are encrypted alike each time, and only with the migration's key", () => {
  const bytes = Buffer.from('a document');
  const sealed = ownVault().sealKept(bytes);
  expect(ownVault().sealKept(bytes)).toEqual(sealed);
  expect(sealed.includes('document')).toBe(false);
  expect(ownVault().openKept(sealed)).toEqual(bytes);
  sealed[sealed.length - 1]! ^= 1;
  expect(() => ownVault().openKept(sealed)).toThrow(/does not decrypt/);
});
