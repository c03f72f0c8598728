// The guard in MongoDB: versions in a collection beside the target's, compared and written in the transaction that writes the documents.
import { Int32, Long } from 'bson';
import type { ClientSession, Db, Document } from 'mongodb';
import { passes, type DecidedBy, type Version } from '../../core/guard.ts';
import { mongo, type WrittenDatabase } from './connection.ts';

/** A document as it should stand, or none: then a tombstone stays in the guard, so that an older write finds it (docs/decisions/0010-outside-guards.md). */
export interface DocumentWrite {
  readonly id: unknown;
  readonly version: Version;
  readonly document: Document | undefined;
}

interface Guard {
  readonly _id: unknown;
  readonly v: Long;
  readonly o: Int32;
}

export const guardOf = (collection: string): string => `${collection}.causeway`;

/** At most one write per document. Returns how many were stale. A crash leaves all of it or nothing. */
export async function writeDocuments(
  target: WrittenDatabase,
  collection: string,
  writes: readonly DocumentWrite[],
  by: DecidedBy = 'guard',
): Promise<number> {
  if (writes.length === 0) return 0;
  return mongo(`loading ${collection}`, async () => {
    const session = await target.session();
    try {
      return await session.withTransaction(() => write(session, target.db, collection, writes, by), {
        readConcern: { level: 'snapshot' },
        writeConcern: { w: 'majority' },
      });
    } finally {
      await session.endSession();
    }
  });
}

async function write(
  session: ClientSession,
  db: Db,
  collection: string,
  writes: readonly DocumentWrite[],
  by: DecidedBy,
): Promise<number> {
  const guards = db.collection<Guard>(guardOf(collection));
  const target = db.collection<{ _id: unknown }>(collection);
  const ids = writes.map((one) => one.id);
  const held = await guards.find({ _id: { $in: ids } } as never, { session, promoteValues: false }).toArray();
  const versions = new Map(held.map((guard) => [keyOf(guard._id), versionOf(guard)]));
  const fresh = writes.filter((one) => passes(one.version, versions.get(keyOf(one.id)), by));
  if (fresh.length === 0) return writes.length;
  const added = fresh.filter((one) => !versions.has(keyOf(one.id)));
  const changed = fresh.filter((one) => versions.has(keyOf(one.id)));
  // Two writers of one document both write its guard, so one of them meets a write conflict and begins again.
  if (added.length > 0) {
    await guards.insertMany(
      added.map((one) => ({ _id: one.id, ...guardOfVersion(one.version) })),
      { session },
    );
    const documents = added.flatMap((one) => (one.document === undefined ? [] : [one.document]));
    if (documents.length > 0) await target.insertMany(documents as { _id: unknown }[], { session });
  }
  if (changed.length > 0) {
    await guards.bulkWrite(
      changed.map((one) => ({
        updateOne: { filter: { _id: one.id } as never, update: { $set: guardOfVersion(one.version) } },
      })),
      { session },
    );
    await target.bulkWrite(
      changed.map((one) =>
        one.document === undefined
          ? { deleteOne: { filter: { _id: one.id } as never } }
          : { replaceOne: { filter: { _id: one.id } as never, replacement: one.document as never, upsert: true } },
      ),
      { session },
    );
  }
  return writes.length - fresh.length;
}

const guardOfVersion = (version: Version) => ({ v: Long.fromBigInt(version.time), o: new Int32(version.op) });
const versionOf = (guard: Guard): Version => ({
  time: BigInt(guard.v.toString()),
  op: Number(guard.o),
});
/** Numbers of equal value are one `_id` to the server, whatever their type. */
const keyOf = (id: unknown): string => {
  const { _bsontype: type } = (id ?? {}) as { _bsontype?: string };
  if (type === 'Int32' || type === 'Double' || type === 'Long' || typeof id === 'number') return `n${String(id)}`;
  return type === 'ObjectId' ? String(id) : JSON.stringify(id);
};
