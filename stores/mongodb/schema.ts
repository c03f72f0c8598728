// Makes and removes the collections that mappings declare, with validator and indexes.
import type { Db } from 'mongodb';
import { mongo, unhurried } from './connection.ts';
import { guardOf } from './guards.ts';
import type { CollectionTarget } from './target.ts';

export async function collectionNames(db: Db): Promise<string[]> {
  return mongo('listing collections', async () => {
    const found = await db.listCollections({}, { nameOnly: true }).toArray();
    return found
      .map((collection) => String(collection.name))
      .filter((collection) => !collection.startsWith('system.'))
      .sort();
  });
}

/** Makes the collection and its guard, or brings validator and indexes of an existing one up to date. */
export async function makeCollection(db: Db, target: CollectionTarget): Promise<void> {
  await mongo(`making ${target.name}`, async () => {
    const options = {
      validator: { $jsonSchema: target.schema },
      validationLevel: 'strict' as const,
      validationAction: 'error' as const,
    };
    const there = await collectionNames(db);
    if (there.includes(target.name)) await db.command({ collMod: target.name, ...options });
    else await db.createCollection(target.name, options);
    if (!there.includes(guardOf(target.name))) await db.createCollection(guardOf(target.name));
    for (const index of target.indexes) await db.collection(target.name).createIndex(index, { ...unhurried });
  });
}

export async function dropCollection(db: Db, collection: string): Promise<void> {
  await mongo(`dropping ${collection}`, () => db.collection(collection).drop());
}

export async function emptyCollection(db: Db, collection: string): Promise<void> {
  await mongo(`emptying ${collection}`, () => db.collection(collection).deleteMany({}));
}
