// Documents written back to the old system: guarded by a version of their own, past the validation that keeps other writers out.
import { Long } from 'bson';
import { MongoServerError, type ClientSession, type Db } from 'mongodb';
import { KnownFailure } from '../../core/failures.ts';
import { idFromSourceId, idsFrom } from '../../core/identity.ts';
import { isSuperseded, type WriteOrder } from '../../core/write-back.ts';
import { mongo, type WrittenDatabase } from './connection.ts';
import { deleteIds, documentRefused, replaceRaw } from './raw-write.ts';
import { versionOf } from './source.ts';

/** Beside the old collections; goes with decommission, or when everything is undone. */
export const writeBackGuard = 'causeway_reverse';

export interface WriteBack {
  readonly id: string;
  /** The whole document, or undefined: it is deleted. */
  readonly bytes: Uint8Array | undefined;
  /** Digest of `bytes`; 0 for a delete. */
  readonly digest: bigint;
}

interface Guard {
  readonly _id: string;
  /** Under which anchor (core/write-back.ts). */
  readonly a: Long;
  readonly v: Long;
  readonly d: Long;
}

const guardId = (collection: string, id: string): string => `${collection}\t${id}`;
const bytesAtOnce = 8 * 1024 * 1024;

/** What was written last under this anchor to each document, as a digest; ids that were never written are not in the map. */
export async function lastWrittenBack(
  db: Db,
  collection: string,
  ids: readonly string[],
  anchor: bigint,
): Promise<Map<string, bigint>> {
  return mongo('reading what was written back', async () => {
    const found = await db
      .collection<Guard>(writeBackGuard)
      .find(
        { _id: { $in: ids.map((id) => guardId(collection, id)) }, a: Long.fromBigInt(anchor) },
        { promoteLongs: false },
      )
      .toArray();
    return new Map(found.map((guard) => [guard._id.slice(collection.length + 1), BigInt(guard.d.toString())]));
  });
}

export interface WritingBack {
  readonly collection: string;
  /** Its version must grow from call to call. */
  readonly order: WriteOrder;
  /** By `performance.now()`: a caller that hung for so long has been replaced, and what it would write may be old, though no guard says so. */
  readonly until: number;
}

/**
 * Writes in transactions of a few megabytes. Throws StoreBusy, and has not written the document, where another has written it later: the caller was
 * thought dead. Returns a cluster time that all writes are included in.
 */
export async function writeBack(
  source: WrittenDatabase,
  { collection, order, until }: WritingBack,
  writes: readonly WriteBack[],
): Promise<bigint> {
  return mongo(`writing back to ${collection}`, async () => {
    const session = await source.session();
    try {
      for (const batch of batchesOf(writes))
        await session.withTransaction(
          () => {
            if (performance.now() > until) throw new KnownFailure('StoreBusy', 'writing back took too long');
            return write(session, source.db, { collection, order, writes: batch });
          },
          {
            readConcern: { level: 'snapshot' },
            writeConcern: { w: 'majority' },
          },
        );
      return versionOf(session.operationTime!);
    } finally {
      await session.endSession();
    }
  });
}

function* batchesOf(writes: readonly WriteBack[]): Generator<WriteBack[]> {
  let batch: WriteBack[] = [];
  let bytes = 0;
  for (const one of writes) {
    const size = one.bytes?.byteLength ?? 0;
    if (batch.length > 0 && bytes + size > bytesAtOnce) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(one);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

interface Batch {
  readonly collection: string;
  readonly order: WriteOrder;
  readonly writes: readonly WriteBack[];
}

async function write(session: ClientSession, db: Db, { collection, order, writes }: Batch): Promise<void> {
  const guards = db.collection<Guard>(writeBackGuard);
  const held = await guards
    .find({ _id: { $in: writes.map((one) => guardId(collection, one.id)) } }, { session, promoteLongs: false })
    .toArray();
  const later = held.filter((guard) => isSuperseded(orderOf(guard), order)).length;
  // What is not written must not be taken for written.
  if (later > 0)
    throw new KnownFailure(
      'StoreBusy',
      `${later} documents of ${collection} were written back by another, later; they are looked at again.`,
    );
  await guards.bulkWrite(
    writes.map(({ id, digest }) => ({
      updateOne: {
        filter: { _id: guardId(collection, id) },
        update: {
          $set: { a: Long.fromBigInt(order.anchor), v: Long.fromBigInt(order.version), d: Long.fromBigInt(digest) },
        },
        upsert: true,
      },
    })),
    { session },
  );
  const there = writes.filter((one) => one.bytes !== undefined);
  const gone = writes.filter((one) => one.bytes === undefined);
  // Removals first: a unique value may pass from one document of the batch to another.
  const options = { session, bypassDocumentValidation: true };
  await deleteIds(db, collection, idsFrom(gone.map(({ id }) => id)), options).catch(refused);
  const replacements = there.map(({ id, bytes }) => ({ id: idFromSourceId(id), bytes: bytes! }));
  await replaceRaw(db, collection, replacements, options).catch(refused);
}

/** A guard without an anchor is older than any. */
const orderOf = ({ a, v }: Partial<Guard>): WriteOrder => ({
  anchor: BigInt(a?.toString() ?? -1),
  version: BigInt(v?.toString() ?? -1),
});

/** Removes all guards. In a target they are nothing but the marks of fences. */
export const dropGuards = (db: Db): Promise<unknown> =>
  mongo('removing what guarded the reverse replication', () =>
    db
      .collection(writeBackGuard)
      .drop()
      .catch((error: { codeName?: string }) => {
        if (error.codeName !== 'NamespaceNotFound') throw error;
      }),
  );

/** A document that the server does not take, for which trying again is no help. */
function refused(error: unknown): never {
  if (error instanceof MongoServerError && error.errmsg === documentRefused)
    throw new KnownFailure('TargetConflict', `a document could not be written back, code ${Number(error.code)}`);
  throw error;
}
