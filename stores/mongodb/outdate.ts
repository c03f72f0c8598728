// For repairs: guards set back, so that a document is written again although its version is there already.
import { Int32, Long } from 'bson';
import type { Db } from 'mongodb';
import { mongo } from './connection.ts';
import { guardOf } from './loader.ts';

/**
 * To be called by whoever holds the documents' ledger rows, right before they are written with a version read from the source now. A document
 * without a guard gets one, so that what stands there is replaced.
 */
export async function outdateDocuments(db: Db, collection: string, ids: readonly unknown[]): Promise<void> {
  if (ids.length === 0) return;
  const oldest = { v: Long.fromNumber(0), o: new Int32(0) };
  await mongo(`setting back guards of ${collection}`, () =>
    db.collection(guardOf(collection)).bulkWrite(
      ids.map((_id) => ({ updateOne: { filter: { _id } as never, update: { $set: oldest }, upsert: true } })),
      { ordered: false },
    ),
  );
}
