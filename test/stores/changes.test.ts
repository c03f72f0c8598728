// The change stream of a source: positions survive being kept as JSON, and a change without a kept image is looked up.
import { Binary } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { ChangeStream, type ChangeEvent } from '../../stores/mongodb/changes.ts';
import { tokenOf, tokenText } from '../../stores/mongodb/token.ts';
import { World } from '../support/world.ts';

let world: World;
let source: ReturnType<typeof openMongo>;
beforeAll(async () => {
  world = await World.open('changes');
  source = openMongo(world.environment['SOURCE_MONGODB_URL']!, 'source');
});
afterAll(async () => {
  await source.client.close();
  await world.close();
});

async function read(stream: ChangeStream, count: number): Promise<ChangeEvent[]> {
  const events: ChangeEvent[] = [];
  for (const until = Date.now() + 10_000; events.length < count && Date.now() < until;)
    events.push(...(await stream.next()).events.filter((event) => event.kind === 'document'));
  return events;
}

test('a token with binary data beside its text comes back as it was', () => {
  const token = { _data: '8265', _typeBits: new Binary(Buffer.from([0x82, 0x01])) };
  expect(tokenOf(JSON.parse(tokenText(token)) as Record<string, unknown>)).toEqual(token);
});

test('images were asked for, and one collection of the database keeps none', async () => {
  await world.source.createCollection('keeps', { changeStreamPreAndPostImages: { enabled: true } });
  await world.source.createCollection('others');
  for (const name of ['keeps', 'others']) await world.source.collection(name).insertOne({ _id: 1 as never, n: 0 });
  const stream = await ChangeStream.open(source, 'post-images', undefined, { awaitMs: 100 });
  try {
    await world.source.collection('keeps').updateOne({ _id: 1 as never }, { $set: { n: 1 } });
    await world.source.collection('others').updateOne({ _id: 1 as never }, { $set: { n: 1 } });
    await world.source.collection('keeps').updateOne({ _id: 1 as never }, { $set: { n: 2 } });
    const events = await read(stream, 3);
    expect(events.map((event) => [event.collection, event.bytes instanceof Uint8Array])).toEqual([
      ['keeps', true],
      ['others', true],
      ['keeps', true],
    ]);
    const resumed = await ChangeStream.open(source, 'updateLookup', stream.position, { awaitMs: 100 });
    await world.source.collection('others').insertOne({ _id: 2 as never });
    expect((await read(resumed, 1)).map((event) => event.collection)).toEqual(['others']);
    await resumed.close();
  } finally {
    await stream.close();
  }
});
