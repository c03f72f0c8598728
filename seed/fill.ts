// Writes one collection: batches made in order, a few of them on their way to the server at a time.
import { calculateObjectSize } from 'bson';
import type { Db } from 'mongodb';
import type { Generator, Planted } from './generator.ts';
import type { Document } from './shape.ts';

const IN_FLIGHT = 3;
const BATCH_BYTES = 4 * 1024 * 1024;

export interface Batch {
  readonly documents: readonly Document[];
  readonly planted: readonly Planted[];
}

/** The whole collection in index order; a batch ends at the collection's document count or at 4 MB. */
export function* batches(generator: Generator): globalThis.Generator<Batch, void, undefined> {
  const large = generator.shape.batch < 500;
  let documents: Document[] = [];
  let planted: Planted[] = [];
  let bytes = 0;
  for (let index = 0; index < generator.plan.count; index++) {
    const made = generator.make(index);
    documents.push(made.document);
    if (made.planted) planted.push(made.planted);
    if (large) bytes += calculateObjectSize(made.document);
    if (documents.length >= generator.shape.batch || bytes >= BATCH_BYTES) {
      yield { documents, planted };
      [documents, planted, bytes] = [[], [], 0];
    }
  }
  if (documents.length > 0) yield { documents, planted };
}

interface Listener {
  /** Before a batch is sent, in index order. */
  made(batch: Batch): Promise<void>;
  /** After a batch is stored; `total` is the number of documents stored so far. */
  stored(total: number): void;
}

/** Memory is bounded by the batches in flight. The first failed insert stops the rest and is thrown. */
export async function fill(db: Db, generator: Generator, listener: Listener): Promise<void> {
  const collection = db.collection<Document>(generator.shape.collection);
  const inFlight = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;
  let total = 0;
  const insert = async (batch: Batch): Promise<void> => {
    try {
      await collection.insertMany(batch.documents as Document[], { ordered: false });
      total += batch.documents.length;
      listener.stored(total);
    } catch (error) {
      failure ??= { error };
    }
  };
  for (const batch of batches(generator)) {
    await listener.made(batch);
    const pending: Promise<void> = insert(batch).finally(() => inFlight.delete(pending));
    inFlight.add(pending);
    if (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
    if (failure) break;
  }
  await Promise.all(inFlight);
  if (failure) throw failure.error;
}
