// The guard in MongoDB: versions in a collection beside the target's, compared and written in the transaction that writes the documents.
import { Int32, Long } from 'bson';
import type { ClientSession, Db } from 'mongodb';
import { decode } from '../../core/bson/decode.ts';
import { serverKeyOf } from '../../core/bson/equal-ids.ts';
import { isNewer, passes, type DecidedBy, type Version } from '../../core/guard.ts';
import { KnownFailure } from '../../core/failures.ts';
import { idOf, sourceId, sourceIdOf } from '../../core/identity.ts';
import { mongo, type WrittenDatabase } from './connection.ts';
import { deleteIds, insertRaw, replaceRaw } from './raw-write.ts';

/** A document as it should stand, or none: then a tombstone stays in the guard, so that an older write finds it (docs/decisions/0010-outside-guards.md). */
export interface DocumentWrite {
  readonly id: unknown;
  readonly version: Version;
  /** Its BSON. */
  readonly document: Uint8Array | undefined;
}

interface Guard {
  readonly _id: unknown;
  readonly v: Long;
  readonly o: Int32;
}

export const guardOf = (collection: string): string => `${collection}.causeway`;

/** Returns how many were stale. A crash leaves all of it or nothing. */
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
  const newest = await withoutOthers(session, db, collection, newestPerId(writes), writes);
  const ids = [...newest.values()].map((one) => one.id);
  const held = await guards.find({ _id: { $in: ids } } as never, { session, raw: true }).toArray();
  const versions = new Map(
    (held as unknown as Uint8Array[]).map((raw) => [serverKeyOf(idOf(raw)), versionOf(decode(raw) as never)]),
  );
  const fresh = [...newest].filter(([key, one]) => passes(one.version, versions.get(key), by));
  if (fresh.length === 0) return writes.length;
  const added = fresh.flatMap(([key, one]) => (versions.has(key) ? [] : [one]));
  const changed = fresh.flatMap(([key, one]) => (versions.has(key) ? [one] : []));
  // Two writers of one document both write its guard, so one of them meets a write conflict and begins again.
  if (added.length > 0) {
    await guards.insertMany(
      added.map((one) => ({ _id: one.id, ...guardOfVersion(one.version) })),
      { session },
    );
    await insertRaw(
      db,
      collection,
      added.flatMap((one) => one.document ?? []),
      { session },
    );
  }
  if (changed.length > 0) {
    await guards.bulkWrite(
      changed.map((one) => ({
        updateOne: { filter: { _id: one.id } as never, update: { $set: guardOfVersion(one.version) } },
      })),
      { session },
    );
    const gone = changed.flatMap((one) => (one.document === undefined ? [one.id] : []));
    await deleteIds(db, collection, gone, { session });
    const there = changed.flatMap(({ id, document }) => (document === undefined ? [] : [{ id, bytes: document }]));
    await replaceRaw(db, collection, there, { session });
  }
  return writes.length - fresh.length;
}

/**
 * Without removals of a document that stands under an id that is equal to the server and not the same, such as 1 and 1.0 of two source collections:
 * it is another's. A document for which there is no room beside such a one is refused, with the ledger's word that it is.
 */
async function withoutOthers(
  session: ClientSession,
  db: Db,
  collection: string,
  newest: Map<string, DocumentWrite>,
  writes: readonly DocumentWrite[],
): Promise<Map<string, DocumentWrite>> {
  const doubtful = [...newest.values()].filter(({ id }) => !hasOneForm(id)).map(({ id }) => id);
  if (doubtful.length === 0) return newest;
  const options = { session, projection: { _id: 1 }, raw: true };
  const there = await db
    .collection(collection)
    .find({ _id: { $in: doubtful } } as never, options)
    .toArray();
  const leaving = new Set(writes.filter((one) => one.document === undefined).map((one) => sourceId(one.id)));
  const mine = new Map(newest);
  for (const raw of there as unknown as Uint8Array[]) {
    const key = serverKeyOf(idOf(raw));
    const one = newest.get(key)!;
    if (sourceIdOf(raw) === sourceId(one.id) || leaving.has(sourceIdOf(raw))) continue;
    if (one.document)
      throw new KnownFailure(
        'TargetConflict',
        `${collection} has a document under a number that is equal to this one's _id and of another type`,
      );
    mine.delete(key);
  }
  return mine;
}

/** Of these the server knows no other form. */
const hasOneForm = (id: unknown): boolean =>
  typeof id === 'string' || (typeof id === 'object' && (id as { _bsontype?: string } | null)?._bsontype === 'ObjectId');

/** Of ids that are one to the server, such as 1 and 1.0, the newest write. */
function newestPerId(writes: readonly DocumentWrite[]): Map<string, DocumentWrite> {
  const newest = new Map<string, DocumentWrite>();
  for (const one of writes) {
    const key = serverKeyOf(one.id);
    const other = newest.get(key);
    if (!other || !isNewer(other.version, one.version)) newest.set(key, one);
  }
  return newest;
}

const guardOfVersion = (version: Version) => ({ v: Long.fromBigInt(version.time), o: new Int32(version.op) });
const versionOf = (guard: Guard): Version => ({
  time: BigInt(guard.v.toString()),
  op: Number(guard.o),
});
