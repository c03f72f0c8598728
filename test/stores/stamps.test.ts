// Stamps and positions while transactions are under way: nothing is said to be included, or passed, that is still to come.
import { deserialize } from 'bson';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient, ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sourceId } from '../../core/identity.ts';
import { ChangeStream } from '../../stores/mongodb/changes.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('stamps');
});
afterAll(() => world.close());

test('a read holds every change up to its stamp, and the stream shows none that it said it had passed', async () => {
  const url = world.environment['SOURCE_MONGODB_URL']!;
  const writing = new MongoClient(url);
  const client = new MongoClient(url, { promoteValues: false, promoteLongs: false });
  const [db, source] = [writing.db(), { client, db: client.db() }];
  const ids = Array.from({ length: 40 }, () => new ObjectId());
  await db.collection('c').insertMany(ids.map((_id) => ({ _id, n: 0 })));
  const stream = await ChangeStream.open(source, 'updateLookup', undefined, { awaitMs: 5 });
  const [shown, reads] = [
    new Map<string, { n: number; time: bigint }[]>(),
    [] as { id: string; n: number; stamp: bigint }[],
  ];
  const nOf = (bytes: Uint8Array) => Number((deserialize(bytes) as { n: number }).n);
  let [passed, early, writes, over] = [0n, 0, 0, false];

  const write = async (w: number) => {
    for (let n = 1; !over; n++) {
      const session = writing.startSession();
      try {
        await session.withTransaction(async () => {
          const _id = ids[w * 10 + (n % 10)]!;
          await db.collection('c').replaceOne({ _id }, { n: n - 0.5 }, { session });
          await db.collection('c').replaceOne({ _id }, { n }, { session });
        });
        writes++;
      } finally {
        await session.endSession();
      }
      await sleep(Math.random() * 20);
    }
  };
  const follow = async () => {
    for (let quietSince = Date.now(); !over || Date.now() - quietSince < 500;) {
      const batch = await stream.next();
      if (batch.events.length > 0) quietSince = Date.now();
      for (const event of batch.events) {
        if (event.kind !== 'document') continue;
        if (event.version.time <= passed) early++;
        const all = shown.get(event.id) ?? [];
        shown.set(event.id, [...all, { n: nOf(event.bytes!), time: event.version.time }]);
      }
      if (batch.time > passed) passed = batch.time;
    }
  };
  const read = async () => {
    while (!over) {
      const { version, documents } = await readDocuments(client, source.db, 'c', ids, passed);
      for (const [id, bytes] of documents) reads.push({ id, n: nOf(bytes), stamp: version });
      await sleep(5);
    }
  };
  try {
    const all = [...[0, 1, 2, 3].map(write), follow(), read()];
    await sleep(4000);
    over = true;
    await Promise.all(all);
  } finally {
    await stream.close();
    await client.close();
    await writing.close();
  }
  const hidden = reads.filter(({ id, n, stamp }) => shown.get(id)?.some((one) => one.time <= stamp && one.n > n));
  expect(writes).toBeGreaterThan(20);
  expect({ early, hidden: hidden.length }).toEqual({ early: 0, hidden: 0 });
  expect(shown.get(sourceId(ids[0]))!.length).toBeGreaterThan(2);
});
