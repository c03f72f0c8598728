// Documents written as the bytes they are: nothing is decoded, reordered or replaced on the way to the server.
import { serialize } from 'bson';
import { MongoServerError, type ClientSession, type Db } from 'mongodb';
import { DocumentSequence } from 'mongodb/lib/cmap/commands.js';
import { bsonType, bufferOf, elementsIn } from '../../core/bson/reader.ts';
import { RawValue } from '../../core/bson/raw-value.ts';
import { KnownFailure } from '../../core/failures.ts';
import { isKeptByUpdate } from './kept-by-update.ts';

export interface RawDocument {
  /** As the driver takes it. */
  readonly id: unknown;
  readonly bytes: Uint8Array;
}

export interface RawOptions {
  readonly session?: ClientSession;
  readonly bypassDocumentValidation?: boolean;
  /** Go on after a document that was refused; the first refusal is thrown at the end. */
  readonly unordered?: boolean;
}

/** What an error says that stands for one document, not for the command. */
export const documentRefused = 'a document was refused';

const exactly = { ignoreUndefined: false };

/**
 * Documents of a command as the wire protocol's section of their own, as the driver's bulk writes send them. Some servers parse what stands in the
 * command's body as Extended JSON: of a field `{"$numberDecimal": "0.05"}` they make another value.
 */
function sequence(field: string, documents: Iterable<Uint8Array>): DocumentSequence {
  const made = new DocumentSequence(field);
  for (const bytes of documents) made.push({}, bytes);
  return made;
}

/** The driver makes a command in a buffer of 17 MiB; a document of 16 MiB fits by itself. */
const bytesAtOnce = 8 * 1024 * 1024;

export const insertRaw = (db: Db, collection: string, documents: readonly Uint8Array[], options: RawOptions = {}) =>
  inBatches(db, collection, documents, options, (batch) => ({
    insert: collection,
    documents: sequence('documents', batch),
  }));

/**
 * The document of each `_id` is replaced, or comes to be. What an update does not keep as its bytes, though an insert does, is deleted and inserted: in
 * the transaction that the caller has begun.
 */
export async function replaceRaw(
  db: Db,
  collection: string,
  documents: readonly RawDocument[],
  options: RawOptions = {},
): Promise<void> {
  const others = documents.filter(({ bytes }) => !isKeptByUpdate(bytes));
  await deleteIds(
    db,
    collection,
    others.map(({ id }) => id),
    options,
  );
  const inserted = others.map(({ bytes }) => bytes);
  if (inserted.length > 0) await insertRaw(db, collection, inserted, options);
  await replace(
    db,
    collection,
    documents.filter((one) => !others.includes(one)),
    options,
  );
}

async function replace(
  db: Db,
  collection: string,
  replacements: readonly RawDocument[],
  options: RawOptions,
): Promise<void> {
  const ids = new Map(replacements.map(({ id, bytes }) => [bytes, id]));
  const documents = replacements.map(({ bytes }) => bytes);
  await inBatches(db, collection, documents, options, (batch) => ({
    update: collection,
    updates: sequence(
      'updates',
      batch.map((bytes) =>
        serialize({ q: { _id: ids.get(bytes) }, u: new RawValue(bsonType.object, bytes), upsert: true }, exactly),
      ),
    ),
  }));
}

export async function deleteIds(
  db: Db,
  collection: string,
  ids: readonly unknown[],
  { session }: RawOptions = {},
): Promise<void> {
  if (ids.length === 0) return;
  const deletes = sequence(
    'deletes',
    ids.map((id) => serialize({ q: { _id: id }, limit: 1 }, exactly)),
  );
  throwWriteErrors(await db.command({ delete: collection, deletes }, { ...(session && { session }) }));
}

async function inBatches(
  db: Db,
  collection: string,
  documents: readonly Uint8Array[],
  { session, bypassDocumentValidation, unordered }: RawOptions,
  command: (batch: readonly Uint8Array[]) => Record<string, unknown>,
): Promise<void> {
  const bypassEmptyTsReplacement = documents.some(hasEmptyTimestamp);
  if (bypassEmptyTsReplacement && !(await keepsEmptyTimestamps(db, collection)))
    throw new KnownFailure(
      'TargetConflict',
      `a document of ${collection} holds an empty timestamp, which this server would replace by its own time: it does not know bypassEmptyTsReplacement`,
    );
  let refused: unknown;
  for (const batch of batchesOf(documents)) {
    const reply = await db.command(
      {
        ...command(batch),
        ...(unordered && { ordered: false }),
        ...(bypassDocumentValidation && { bypassDocumentValidation }),
        ...(bypassEmptyTsReplacement && { bypassEmptyTsReplacement }),
      },
      { ...(session && { session }) },
    );
    try {
      throwWriteErrors(reply);
    } catch (error) {
      if (!unordered) throw error;
      refused ??= error;
    }
  }
  if (refused) throw refused as Error;
}

function* batchesOf(documents: readonly Uint8Array[]): Generator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for (const one of documents) {
    if (batch.length > 0 && bytes + one.byteLength > bytesAtOnce) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(one);
    bytes += one.byteLength;
  }
  if (batch.length > 0) yield batch;
}

/** A command reports a document's refusal in its answer. The message may quote values: only the code is kept. */
function throwWriteErrors(reply: { writeErrors?: readonly { code?: unknown }[] }): void {
  const [first] = reply.writeErrors ?? [];
  if (first) throw new MongoServerError({ code: Number(first.code), errmsg: documentRefused });
}

/** Servers take a timestamp of zeros, in a field of the document itself, for "now". */
export function hasEmptyTimestamp(bytes: Uint8Array): boolean {
  const buffer = bufferOf(bytes);
  for (const { type, nameAt, nameEnd, at } of elementsIn(buffer))
    if (
      type === bsonType.timestamp &&
      buffer.readBigInt64LE(at) === 0n &&
      buffer.toString('latin1', nameAt, nameEnd) !== '_id'
    )
      return true;
  return false;
}

const unknownField = 40415;
const keeping = new WeakMap<object, Promise<boolean>>();

/** Whether the server can be told to leave them; asked once, by an update that finds nothing. */
function keepsEmptyTimestamps(db: Db, collection: string): Promise<boolean> {
  const known = keeping.get(db.client);
  if (known) return known;
  const updates = [{ q: { _id: { $in: [] } }, u: { $set: { v: 0 } } }];
  const asked = db.command({ update: collection, updates, bypassEmptyTsReplacement: true }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof MongoServerError && error.code === unknownField) return false;
      keeping.delete(db.client);
      throw error;
    },
  );
  keeping.set(db.client, asked);
  return asked;
}
