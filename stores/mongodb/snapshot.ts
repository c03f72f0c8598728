// Target collections at one moment, undecoded; and put back: loaded beside the old ones, which they then replace.
import { deserialize, EJSON, Long, serialize } from 'bson';
import { MongoServerError, Timestamp, type ClientSession, type Db, type Document } from 'mongodb';
import { KnownFailure } from '../../core/failures.ts';
import { closingOf } from './close.ts';
import { mongo, unhurried, type WrittenDatabase } from './connection.ts';
import { insertRaw } from './raw-write.ts';
import { versionOf } from './source.ts';

const undecoded = { fieldsAsRaw: { firstBatch: true, nextBatch: true } };
/** Every type as it is. */
const exact = { promoteValues: false, promoteLongs: false, bsonRegExp: true };
const batchSize = 1000;

interface Cursor {
  readonly id: unknown;
  readonly firstBatch?: Buffer[];
  readonly nextBatch?: Buffer[];
  readonly atClusterTime?: Timestamp;
}

/**
 * A moment of a database that can be read for a while. Where the server reads at a cluster time (MongoDB 5 and newer), as long as it keeps
 * history (`minSnapshotHistoryWindowInSeconds`, 300 by default). Elsewhere by a transaction, for a minute.
 */
export class Moment {
  readonly read: 'clusterTime' | 'transaction';
  readonly clusterTime: bigint;
  readonly #db: Db;
  readonly #session: ClientSession;
  readonly #time: Timestamp | undefined;

  private constructor(db: Db, session: ClientSession, now: Timestamp, exact: boolean) {
    this.#db = db;
    this.#session = session;
    this.read = exact ? 'clusterTime' : 'transaction';
    this.#time = exact ? now : undefined;
    this.clusterTime = versionOf(now);
  }

  /** `any`: a collection that is there. Whatever was acknowledged before the call is seen, nothing that begins after it. */
  static async now({ db, session: open }: WrittenDatabase, any: string): Promise<Moment> {
    return mongo('fixing a moment', async () => {
      const { operationTime } = (await db.command({ ping: 1 })) as { operationTime: Timestamp };
      // Causal consistency would add a second time to what says its time itself.
      const session = await open({ causalConsistency: false });
      if (await readsAt(db, session, any, operationTime)) return new Moment(db, session, operationTime, true);
      session.startTransaction({ readConcern: { level: 'snapshot' } });
      await db.command({ find: any, limit: 1, singleBatch: true }, { session });
      return new Moment(db, session, operationTime, false);
    });
  }

  /** A collection's documents, a server batch at a time. */
  async *documents(collection: string): AsyncGenerator<Buffer[]> {
    const readConcern = this.#time && { readConcern: { level: 'snapshot', atClusterTime: this.#time } };
    let cursor = await this.#command(collection, { find: collection, filter: {}, batchSize, ...readConcern });
    for (;;) {
      const batch = cursor.firstBatch ?? cursor.nextBatch ?? [];
      if (batch.length > 0) yield batch;
      if (String(cursor.id) === '0') return;
      cursor = await this.#command(collection, { getMore: Long.fromString(String(cursor.id)), collection, batchSize });
    }
  }

  async #command(collection: string, command: Document): Promise<Cursor> {
    return mongo(`reading ${collection}`, async () => {
      try {
        const options = { ...undecoded, session: this.#session } as never;
        return ((await this.#db.command(command, options)) as { cursor: Cursor }).cursor;
      } catch (error) {
        throw tooOld(error) ?? error;
      }
    });
  }

  async close(): Promise<void> {
    if (this.#session.inTransaction()) await this.#session.abortTransaction().catch(() => undefined);
    await this.#session.endSession().catch(() => undefined);
  }
}

/**
 * A server that does not know the option reads its present and names that time, which may be the one asked for: asked is what it read a
 * second earlier. Only one that names that moment has looked back.
 */
async function readsAt(db: Db, session: ClientSession, collection: string, time: Timestamp): Promise<boolean> {
  const earlier = new Timestamp({ t: time.getHighBitsUnsigned() - 1, i: time.getLowBitsUnsigned() });
  try {
    const readConcern = { level: 'snapshot', atClusterTime: earlier };
    const command = { find: collection, limit: 1, singleBatch: true, readConcern };
    const { cursor } = (await db.command(command, { session })) as { cursor: Cursor };
    return cursor.atClusterTime?.equals(earlier) === true;
  } catch (error) {
    if (error instanceof MongoServerError) return false;
    throw error;
  }
}

/** 239 SnapshotTooOld, 246 SnapshotUnavailable, 251 NoSuchTransaction: it was ended for its age. */
function tooOld(error: unknown): KnownFailure | undefined {
  if (!(error instanceof MongoServerError) || ![239, 246, 251, 290].includes(Number(error.code))) return undefined;
  return new KnownFailure(
    'CheckpointRefused',
    'The target MongoDB no longer holds the moment of the checkpoint: reading its collections took longer than the server keeps history. Raise minSnapshotHistoryWindowInSeconds (default 300) there, then create the checkpoint again.',
  );
}

export interface CollectionShape {
  /** Options and indexes as BSON in base64: Extended JSON has no words for the operator `$regex`. In snapshots from before, Extended JSON. */
  readonly options: string;
  readonly indexes: string;
}

/** One that we have closed is described with the validation it had before. */
export async function shapeOf(db: Db, collection: string): Promise<CollectionShape> {
  return mongo(`describing ${collection}`, async () => {
    const [found] = await db.listCollections({ name: collection }, exact).toArray();
    const indexes = await db.collection(collection).listIndexes(exact).toArray();
    const own = indexes.filter((index) => index['name'] !== '_id_');
    const options = (found as { options?: Document } | undefined)?.options ?? {};
    const before = closingOf(options)?.before;
    return { options: kept(before ? { ...withoutValidation(options), ...before } : options), indexes: kept(own) };
  });
}

function withoutValidation(options: Document): Document {
  const { validator: _validator, validationLevel: _level, validationAction: _action, ...others } = options;
  return others;
}

const kept = (value: unknown): string => Buffer.from(serialize({ value })).toString('base64');

/** What `kept` keeps, with the types it had. */
function read(text: string): unknown {
  if (/^[{[]/.test(text)) return EJSON.parse(text, { relaxed: false });
  return deserialize(Buffer.from(text, 'base64'), exact)['value'];
}

export const sideOf = (collection: string): string => `${collection}.causeway.restored`;

/** An empty collection of the shape, in the place of one that an attempt before may have left. */
export async function makeSide(db: Db, collection: string, shape: CollectionShape): Promise<void> {
  await mongo(`making a place for ${collection}`, async () => {
    const side = sideOf(collection);
    await db
      .collection(side)
      .drop()
      .catch((error: unknown) => {
        if (!(error instanceof MongoServerError) || error.code !== 26) throw error;
      });
    await db.createCollection(side, read(shape.options) as Document);
    for (const { key, v: _version, ns: _namespace, ...options } of read(shape.indexes) as Document[])
      await db.collection(side).createIndex(key as never, { ...options, ...unhurried });
  });
}

export async function fillSide(db: Db, collection: string, documents: readonly Buffer[]): Promise<void> {
  // Validators are the application's; what stood there when it was saved is put back as it stood.
  const options = { unordered: true, bypassDocumentValidation: true };
  await mongo(`restoring ${collection}`, () => insertRaw(db, sideOf(collection), documents, options));
}

/** The side collection takes the name. Its options are set once more: some servers lose them in a rename. */
export async function swap(db: Db, collection: string, shape: CollectionShape): Promise<void> {
  await mongo(`putting ${collection} in place`, async () => {
    await db.collection(sideOf(collection)).rename(collection, { dropTarget: true });
    const { validator, validationLevel, validationAction } = read(shape.options) as Document;
    if (validator !== undefined)
      await db.command({
        collMod: collection,
        validator,
        ...(validationLevel !== undefined && { validationLevel }),
        ...(validationAction !== undefined && { validationAction }),
      });
  });
}

/** A collection as it stands now. */
export async function* present(db: Db, collection: string): AsyncGenerator<Buffer[]> {
  const command = (document: Document) =>
    mongo(
      `reading ${collection}`,
      async () => ((await db.command(document, { ...undecoded, session } as never)) as { cursor: Cursor }).cursor,
    );
  const session = db.client.startSession();
  try {
    let cursor = await command({ find: collection, filter: {}, batchSize });
    for (;;) {
      const batch = cursor.firstBatch ?? cursor.nextBatch ?? [];
      if (batch.length > 0) yield batch;
      if (String(cursor.id) === '0') return;
      cursor = await command({ getMore: Long.fromString(String(cursor.id)), collection, batchSize });
    }
  } finally {
    await session.endSession();
  }
}
