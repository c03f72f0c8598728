// A range is read in the order of its keys, whatever order its documents were written in: a copy that is resumed after a key relies on it.
import { Int32, ObjectId, deserialize, serialize } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RangeRead, keyText } from '../../stores/mongodb/source.ts';
import { World } from '../support/world.ts';

let world: World;
const ids = Array.from({ length: 3000 }, (_, i) =>
  ObjectId.createFromHexString((i % 7 === 0 ? 1_600_000_000 - i : 1_700_000_000 + i).toString(16).padEnd(24, '0')),
);

beforeAll(async () => {
  world = await World.open('order');
  await world.source.collection('order').insertMany(ids.map((_id, i) => ({ _id, n: new Int32(i) })));
});
afterAll(() => world.close());

async function read(after: string | null): Promise<string[]> {
  const range = await RangeRead.open(world.source.client, world.source, 'order', { after, upTo: null }, 100);
  try {
    const found: string[] = [];
    for (let batch = await range.next(700); batch.length > 0; batch = await range.next(700))
      found.push(...batch.map((raw) => String(deserialize(raw)['_id'])));
    return found;
  } finally {
    await range.close();
  }
}

test('keys come in their order, and resumed after any of them the rest comes', async () => {
  const sorted = ids.map(String).sort();
  expect(await read(null)).toEqual(sorted);
  expect(await read(keyText(serialize({ _id: new ObjectId(sorted[1000]!) })))).toEqual(sorted.slice(1001));
});
