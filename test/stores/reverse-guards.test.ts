// What guards the writes back to the old system: what an earlier anchor left behind counts for nothing, and what was not written does not count as done.
import { Long, ObjectId, serialize } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Resources } from '../../activities/resources.ts';
import { armReverse, clearGuards, disarmReverse } from '../../activities/reverse/arm.ts';
import { digestOf } from '../../activities/shape.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { lastWrittenBack, writeBack, writeBackGuard } from '../../stores/mongodb/write-back.ts';
import { cuttable } from '../support/cuttable.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
const collection = 'kept';
let world: World;
let resources: Resources;
beforeAll(async () => {
  world = await World.open('guards');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

const guards = () => world.source.collection<{ _id: string }>(writeBackGuard);
const old = async (id: ObjectId) => (await world.source.collection(collection).findOne({ _id: id }))?.['n'] as unknown;
const back = (id: ObjectId, n: number, order: { anchor: bigint; version: bigint }) => {
  const bytes = serialize({ _id: id, n });
  return writeBack(resources.source, { collection, order, until: performance.now() + 10_000 }, [
    { id: id.toHexString(), bytes, digest: digestOf(bytes) },
  ]);
};

test.each([
  ['of a version without anchors', {}],
  ['of an earlier anchor', { a: Long.fromNumber(6) }],
])('a guard left over %s keeps nothing from being written, however high its version', async (_, more) => {
  const id = new ObjectId();
  await guards().insertOne({
    _id: `${collection}\t${id.toHexString()}`,
    ...more,
    v: Long.fromNumber(1e9),
    d: Long.ZERO,
  } as never);
  expect(await lastWrittenBack(world.source, collection, [id.toHexString()], 7n)).toEqual(new Map());
  await back(id, 1, { anchor: 7n, version: 1n });
  expect(await old(id)).toBe(1);
  expect((await lastWrittenBack(world.source, collection, [id.toHexString()], 7n)).size).toBe(1);
});

test('who was thought dead is told that another has written later; who writes the same again has written', async () => {
  const id = new ObjectId();
  await back(id, 1, { anchor: 7n, version: 5n });
  await expect(back(id, 2, { anchor: 7n, version: 4n })).rejects.toMatchObject({ type: 'StoreBusy' });
  await expect(back(id, 2, { anchor: 6n, version: 99n })).rejects.toThrow(/written back by another, later/);
  expect(await old(id)).toBe(1);
  await back(id, 1, { anchor: 7n, version: 5n });
  await back(id, 3, { anchor: 8n, version: 1n });
  expect(await old(id)).toBe(3);
});

test('guards that could not be removed are removed later: by who takes down again, by housekeeping, by who anchors anew', async () => {
  const line = await cuttable(world.environment['SOURCE_MONGODB_URL']!);
  const { client, db } = openMongo(line.url, 'source');
  const away = { ...resources, source: { ...resources.source, client, db } } as Resources;
  await db.command({ ping: 1 });
  line.cut();
  try {
    for (const later of [
      () => disarmReverse(resources),
      () => clearGuards(resources),
      () => armReverse(resources, settings),
    ]) {
      await armReverse(resources, settings);
      await guards().insertOne({ _id: 'left over' });
      await expect(disarmReverse(away)).rejects.toMatchObject({ type: 'StoreUnreachable' });
      expect(await guards().countDocuments({ _id: 'left over' })).toBe(1);
      await later();
      expect(await guards().countDocuments({ _id: 'left over' })).toBe(0);
      expect(await world.rows('select store from migration_control.guards_to_drop')).toEqual([]);
    }
  } finally {
    await client.close(true);
  }
  // Where one stands, its guards stay.
  await guards().insertOne({ _id: 'mine' });
  await world.pool.query(`insert into migration_control.guards_to_drop (store) values ('source')`);
  await clearGuards(resources);
  expect(await guards().countDocuments({ _id: 'mine' })).toBe(1);
});

test('each anchor is later than the one before', async () => {
  const anchor = async () =>
    BigInt((await world.rows<{ anchor: string }>('select anchor from migration_control.reverse_position'))[0]!.anchor);
  const first = await anchor();
  await disarmReverse(resources);
  await world.source.collection(collection).insertOne({});
  await armReverse(resources, settings);
  expect(await anchor()).toBeGreaterThan(first);
});
