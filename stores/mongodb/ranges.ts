// Splitting a collection into ranges of keys that tile all of its key space, sized by what opening a range costs on this server.
import type { Db } from 'mongodb';
import { mongo, unhurried } from './connection.ts';
import { keyText, rangeFilter, type KeyRange } from './source.ts';

export interface CollectionCost {
  readonly documents: number;
  readonly averageBytes: number;
  /** What opening a range in the middle costs, ms: little with an index on `_id` that serves ranges, a scan without. */
  readonly openMs: number;
}

/** Documents and bytes as the server counts them. */
export async function weigh(
  db: Db,
  collection: string,
): Promise<{ documents: number; bytes: number; averageBytes: number }> {
  return mongo(`weighing ${collection}`, async () => {
    const stats = await db.command({ collStats: collection });
    const documents = Number(stats['count'] ?? 0);
    const bytes = Number(stats['size'] ?? 0);
    return { documents, bytes, averageBytes: documents === 0 ? 0 : bytes / documents };
  });
}

/** Above this a sample of documents is no cheap way to a sample of keys: not every server projects before it answers. */
const heavyBytes = 16 * 1024;

/** Keys that split the collection into about `parts` equal ones. Mixed `_id` types sort as the server sorts them. */
export async function splitKeys(db: Db, collection: string, parts: number, averageBytes: number): Promise<string[]> {
  if (parts <= 1) return [];
  const keys = averageBytes > heavyBytes ? await everyKey(db, collection) : await sampledKeys(db, collection, parts);
  const picked = Array.from({ length: parts - 1 }, (_, i) => keys[Math.floor(((i + 1) * keys.length) / parts)]);
  return [...new Set(picked.filter((key) => key !== undefined))];
}

async function sampledKeys(db: Db, collection: string, parts: number): Promise<string[]> {
  return mongo(`sampling keys of ${collection}`, async () => {
    const pipeline = [
      { $sample: { size: Math.max(200, parts * 40) } },
      { $project: { _id: 1 } },
      { $sort: { _id: 1 } },
    ];
    return (
      await db
        .collection(collection)
        .aggregate<Buffer>(pipeline, { raw: true, allowDiskUse: true, ...unhurried })
        .toArray()
    ).map(keyText);
  });
}

/** Heavy documents are few: all their keys. Bounds that are out of order would tile nothing, so the server is told no index (see RangeRead). */
async function everyKey(db: Db, collection: string): Promise<string[]> {
  return mongo(`reading keys of ${collection}`, async () => {
    const keys: string[] = [];
    const cursor = db
      .collection(collection)
      .find<Buffer>({}, { raw: true, projection: { _id: 1 }, batchSize: 1000, ...unhurried })
      .sort({ _id: 1 });
    for await (const raw of cursor) keys.push(keyText(raw));
    return keys;
  });
}

/** How long the server takes to find the first document after a key in the middle, ms; the better of two tries. */
export async function measureOpen(db: Db, collection: string, middle: string): Promise<number> {
  return mongo(`measuring a range of ${collection}`, async () => {
    const times: number[] = [];
    for (let i = 0; i < 2; i++) {
      const started = performance.now();
      await db
        .collection(collection)
        .find(rangeFilter({ after: middle, upTo: null }), { raw: true })
        .sort({ _id: 1 })
        .limit(1)
        .toArray();
      times.push(performance.now() - started);
    }
    return Math.min(...times);
  });
}

/** (MinKey, k1], (k1, k2], ... (kn, MaxKey): no key is left out and none stands in two. */
export function tile(keys: readonly string[]): KeyRange[] {
  const bounds = [null, ...keys, null];
  return bounds.slice(1).map((upTo, i) => ({ after: bounds[i]!, upTo }));
}
