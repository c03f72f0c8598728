// Writing documents into a target collection: the newest version wins, an older one is refused, a repeated one changes nothing.
import { Int32, Long } from 'bson';
import { MongoBulkWriteError, type Collection, type Db, type Document } from 'mongodb';
import { mongo } from './connection.ts';
import { guardField } from './schema.ts';

const duplicateKey = 11000;

/** Documents with `_id`, all of one version. Returns how many were stale. */
export async function loadDocuments(
  db: Db,
  collection: string,
  documents: readonly Document[],
  version: bigint,
  opIndex: number,
): Promise<number> {
  if (documents.length === 0) return 0;
  const guard = { v: Long.fromBigInt(version), o: new Int32(opIndex) };
  const stamped = documents.map((document) => ({ ...document, [guardField]: guard }));
  return mongo(`loading ${collection}`, async () => {
    const target = db.collection(collection);
    const there = await insertNew(target, stamped);
    return there.length === 0 ? 0 : replaceOlder(target, there, version, opIndex);
  });
}

/** Inserts what is not there yet and returns the rest. Almost always everything is new, so this is the fast way. */
async function insertNew(target: Collection, documents: Document[]): Promise<Document[]> {
  try {
    await target.insertMany(documents, { ordered: false });
    return [];
  } catch (error) {
    if (!(error instanceof MongoBulkWriteError)) throw error;
    const failed = Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors];
    const other = failed.find((one) => one.code !== duplicateKey);
    if (other) throw Object.assign(error, { code: other.code });
    return failed.map((one) => documents[one.index]!);
  }
}

/** A document already there is replaced only by a greater (version, opIndex). */
async function replaceOlder(
  target: Collection,
  documents: Document[],
  version: bigint,
  opIndex: number,
): Promise<number> {
  const at = Long.fromBigInt(version);
  const older = {
    $or: [{ [`${guardField}.v`]: { $lt: at } }, { [`${guardField}.v`]: at, [`${guardField}.o`]: { $lt: opIndex } }],
  };
  const result = await target.bulkWrite(
    documents.map((document) => ({
      replaceOne: { filter: { _id: document['_id'], ...older }, replacement: document },
    })),
    { ordered: false },
  );
  return documents.length - result.matchedCount;
}
