// What a snapshot keeps of a collection beside its documents: options and indexes, put back with every type, in their order.
import { BSONRegExp, Decimal128, Double, EJSON, Int32, Long, serialize } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fillSide, makeSide, shapeOf, swap } from '../../stores/mongodb/snapshot.ts';
import { World } from '../support/world.ts';

let world: World;
const name = 'shaped';
beforeAll(async () => {
  world = await World.open('shape');
  await world.target.createCollection(name, {
    validator: {
      zone: { $in: ['b', 'a'] },
      at: { $gte: new Date('2020-02-03T04:05:06.789Z') },
      name: { $regex: new BSONRegExp('^a.*b$', 'is') },
      code: { $regex: '^x', $options: 'i', $ne: 'xyz' },
      cost: { $lt: Decimal128.fromString('100.50') },
      counts: { $nin: [new Int32(1), new Double(2), Long.fromNumber(3)] },
    },
    validationLevel: 'moderate',
    validationAction: 'warn',
  });
  await world.target.collection(name).createIndex({ b: -1, a: 1 }, { name: 'both', unique: true });
});
afterAll(() => world.close());

const exact = { promoteValues: false, promoteLongs: false, bsonRegExp: true };
async function standing(): Promise<string[]> {
  const [found] = await world.target.listCollections({ name }, exact).toArray();
  const indexes = await world.target.collection(name).listIndexes(exact).toArray();
  const bytes = (value: object) => Buffer.from(serialize(value)).toString('latin1');
  return [bytes((found as unknown as { options: object }).options), ...indexes.map(bytes)];
}

test('put back, the collection has the options and the indexes it had', async () => {
  const before = await standing();
  const shape = await shapeOf(world.target, name);
  await makeSide(world.target, name, shape);
  await fillSide(world.target, name, [Buffer.from(serialize({ _id: 1 as never, zone: 'a' }))]);
  await swap(world.target, name, shape);
  expect(await standing()).toEqual(before);
  expect(await world.target.collection(name).countDocuments()).toBe(1);
});

test('a shape that an earlier version has kept is put back', async () => {
  const options = EJSON.stringify({ validator: { a: { $exists: true } } }, { relaxed: false });
  const indexes = EJSON.stringify([{ v: 2, key: { c: 1 }, name: 'c_1' }] as never, { relaxed: false });
  const shape = { options, indexes };
  await makeSide(world.target, name, shape);
  await swap(world.target, name, shape);
  const [found] = await world.target.listCollections({ name }).toArray();
  expect((found as unknown as { options: object }).options).toMatchObject({ validator: { a: { $exists: true } } });
  expect(await world.target.collection(name).indexExists('c_1')).toBe(true);
});
