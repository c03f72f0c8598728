// For repairs: guards set back, so that a document is written again although its version is there already.
import { Int32, Long } from 'bson';
import type { Db } from 'mongodb';
import { mongo } from './connection.ts';
import { guardId, guardOf } from './guards.ts';

/**
 * To be called by whoever holds the documents' ledger rows, right before they are written with a version read from the source now. `own`: those of which
 * no other source collection has its document there. What stands there is taken for theirs, also where it has no guard, and replaced or removed.
 */
export async function outdateDocuments(
  db: Db,
  { collection, owner }: { readonly collection: string; readonly owner: number },
  ids: readonly string[],
  own: ReadonlySet<string>,
): Promise<void> {
  if (ids.length === 0) return;
  const oldest = { v: Long.fromNumber(0), o: new Int32(0) };
  await mongo(`setting back guards of ${collection}`, () =>
    db.collection<{ _id: string }>(guardOf(collection)).bulkWrite(
      ids.map((id) => ({
        updateOne: {
          filter: { _id: guardId(owner, id) },
          update: { $set: { ...oldest, l: own.has(id) } },
          upsert: true,
        },
      })),
      { ordered: false },
    ),
  );
}
