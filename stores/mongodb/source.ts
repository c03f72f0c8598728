// Reading a source collection: a range of keys in key order, undecoded, stamped with a cluster time taken before the read.
import type { ClientSession, Collection, Db, FindCursor, Filter, MongoClient, Timestamp } from 'mongodb';
import { decodeValue } from '../../core/bson/decode.ts';
import { valueOfText } from '../../core/bson/parse.ts';
import { elementNamed } from '../../core/bson/reader.ts';
import { textOfValue } from '../../core/bson/text.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { mongo, prompt, scanning, unhurried } from './connection.ts';

/** Keys after `after` up to and including `upTo`, as the text of `_id` (core/bson/text.ts); null is before the first, after the last. */
export interface KeyRange {
  readonly after: string | null;
  readonly upTo: string | null;
}

/** A document's key as a bound of ranges. */
export function keyText(document: Uint8Array): string {
  const { type, at, end } = elementNamed(document, '_id')!;
  return textOfValue(type, document.subarray(at, end));
}
function keyValue(text: string): unknown {
  const { type, bytes } = valueOfText(text)!;
  return decodeValue(type, bytes);
}

/** Compares across BSON types as the server sorts them; `find({_id: {$gt}})` would skip every other type (docs/decisions/0005-chunks.md). */
export function rangeFilter(range: KeyRange): Filter<Record<string, unknown>> {
  const bounds = [
    ...(range.after === null ? [] : [{ $gt: ['$_id', { $literal: keyValue(range.after) }] }]),
    ...(range.upTo === null ? [] : [{ $lte: ['$_id', { $literal: keyValue(range.upTo) }] }]),
  ];
  return bounds.length === 0 ? {} : { $expr: bounds.length === 1 ? bounds[0]! : { $and: bounds } };
}

/** seconds * 2^32 + increment: a cluster time as one number that sorts. */
export const versionOf = (time: Timestamp): bigint =>
  (BigInt(time.getHighBitsUnsigned()) << 32n) | BigInt(time.getLowBitsUnsigned());
/** A server's cluster time now: whatever was written before is not later. */
export const clusterTimeOf = (db: Db): Promise<bigint> =>
  mongo('asking for the time', async () => versionOf((await db.command({ ping: 1 }, { ...prompt }))['operationTime']));
export const millisecondsOf = (version: bigint): number => Number(version >> 32n) * 1000;

const replyBytes = 1024 * 1024;

/** Documents to ask for at once, so that a reply holds about a megabyte whatever a document weighs. */
export const batchFor = (averageBytes: number, most: number): number =>
  Math.max(1, Math.min(most, Math.floor(replyBytes / Math.max(1, averageBytes))));

/** The cluster time of a reply, but no later than `atMost`: a lower stamp is always true, a higher one hides changes. */
export const stampOf = (session: ClientSession, atMost: bigint | undefined): bigint => {
  const said = versionOf(session.operationTime!);
  return atMost !== undefined && atMost < said ? atMost : said;
};

/** An open read of one range. `version` holds for every document it returns: none is older. */
export class RangeRead {
  readonly version: bigint;
  readonly #session: ClientSession;
  readonly #cursor: FindCursor<Buffer>;

  private constructor(version: bigint, session: ClientSession, cursor: FindCursor<Buffer>) {
    this.version = version;
    this.#session = session;
    this.#cursor = cursor;
  }

  /**
   * `averageBytes` is what a document of the collection weighs; it bounds what the driver holds at once. `atMost`: up to where the change stream
   * had shown everything before this was called.
   */
  static open(
    client: MongoClient,
    db: Db,
    collection: string,
    range: KeyRange,
    averageBytes: number,
    atMost?: bigint,
  ): Promise<RangeRead> {
    return mongo(`opening ${collection}`, async () => {
      const session = client.startSession({ causalConsistency: true });
      await db.command({ ping: 1 }, { session });
      const version = stampOf(session, atMost);
      const batchSize = batchFor(averageBytes, 5000);
      const source = db.collection(collection) as unknown as Collection<Record<string, unknown>>;
      const cursor = source
        .find(rangeFilter(range), {
          session,
          raw: true,
          batchSize,
          readConcern: { level: 'majority' },
          ...scanning(db),
        })
        // Without a hint: the embedded server takes the order of an index it is told to use for the one that was asked for, and a range that
        // is resumed after its last key would leave documents out.
        .sort({ _id: 1 });
      return new RangeRead(version, session, cursor as unknown as FindCursor<Buffer>);
    });
  }

  /** The next documents, undecoded: all that the driver holds, or one server round trip's worth. Empty at the end of the range. */
  async next(most: number): Promise<Buffer[]> {
    return mongo(`reading ${this.#cursor.namespace.collection}`, async () => {
      if (this.#cursor.bufferedCount() === 0) {
        const first = await this.#cursor.next();
        return first === null ? [] : [first, ...this.#cursor.readBufferedDocuments(Math.max(0, most - 1))];
      }
      return this.#cursor.readBufferedDocuments(most);
    });
  }

  async close(): Promise<void> {
    await this.#cursor.close().catch(() => undefined);
    await this.#session.endSession().catch(() => undefined);
  }
}

interface Batches {
  next(): Promise<Buffer | null>;
  readBufferedDocuments(): Buffer[];
  close(): Promise<void>;
}

/** A whole collection, undecoded, a server batch at a time. */
export async function* batchesOf(
  db: Db,
  collection: string,
  projection?: Record<string, 1>,
  batchSize = 1000,
): AsyncGenerator<Buffer[]> {
  const options = {
    raw: true,
    batchSize,
    readConcern: { level: 'majority' as const },
    ...scanning(db),
    ...(projection && { projection }),
  };
  const cursor = db.collection<Record<string, unknown>>(collection).find({}, options) as unknown as Batches;
  const next = () =>
    mongo(`reading ${collection}`, async () => {
      const first = await cursor.next();
      return first === null ? [] : [first, ...cursor.readBufferedDocuments()];
    });
  try {
    for (let batch = await next(); batch.length > 0; batch = await next()) yield batch;
  } finally {
    await cursor.close();
  }
}

/** Source ids of those of `ids` that the collection has. */
export async function idsAmong(db: Db, collection: string, ids: readonly unknown[]): Promise<string[]> {
  const filter = { _id: { $in: ids } } as Filter<Record<string, unknown>>;
  return mongo(`looking up ids in ${collection}`, async () => {
    const found = db
      .collection<Record<string, unknown>>(collection)
      .find(filter, { projection: { _id: 1 }, raw: true });
    return ((await found.toArray()) as unknown as Uint8Array[]).map(sourceIdOf);
  });
}

/** Random documents, undecoded. */
export async function* sampleOf(
  db: Db,
  collection: string,
  size: number,
  averageBytes: number,
): AsyncGenerator<Buffer> {
  const options = {
    raw: true,
    batchSize: batchFor(averageBytes, 500),
    readConcern: { level: 'majority' as const },
    ...unhurried,
  };
  const cursor = db.collection(collection).aggregate<Buffer>([{ $sample: { size } }], options);
  const next = () => mongo(`sampling ${collection}`, () => cursor.next());
  try {
    for (let raw = await next(); raw !== null; raw = await next()) yield raw;
  } finally {
    await cursor.close();
  }
}

/** The first documents in the order the server keeps them, undecoded: `count` at most, and no more than a few megabytes. */
export async function* headOf(db: Db, collection: string, count: number): AsyncGenerator<Buffer> {
  const cursor = db.collection(collection).find<Buffer>({}, { raw: true, batchSize: 4 }).limit(count);
  const next = () => mongo(`reading ${collection}`, () => cursor.next());
  let bytes = 0;
  try {
    for (let raw = await next(); raw !== null && bytes < 4 * replyBytes; raw = await next()) {
      bytes += raw.byteLength;
      yield raw;
    }
  } finally {
    await cursor.close();
  }
}

/**
 * Documents by `_id`, undecoded, with a cluster time that all of them include, `atMost` where given; ids that are not there are not in the map.
 */
export async function readDocuments(
  client: MongoClient,
  db: Db,
  collection: string,
  ids: readonly unknown[],
  atMost?: bigint,
): Promise<{ version: bigint; documents: Map<string, Uint8Array> }> {
  return mongo(`reading ${collection} again`, async () => {
    const session = client.startSession({ causalConsistency: true });
    try {
      await db.command({ ping: 1 }, { session });
      const version = stampOf(session, atMost);
      const options = { session, raw: true, readConcern: { level: 'majority' as const } };
      const found = (await db
        .collection(collection)
        .find({ _id: { $in: [...ids] } } as never, options)
        .toArray()) as unknown as Uint8Array[];
      return {
        version,
        documents: new Map(found.map((raw) => [sourceIdOf(raw), raw])),
      };
    } finally {
      await session.endSession();
    }
  });
}
