// The main scan: a source collection in key order, piece by piece, each against what PostgreSQL, MongoDB and Redis hold of the same keys.
import { setTimeout as sleep } from 'node:timers/promises';
import { closePiece, type Scan, type Suspect } from '../../control/verification.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { keyText } from '../../stores/mongodb/source.ts';
import { restoreKeys } from './absent.ts';
import { add, bucketCount, bucketOf, isEqual, merge, noDigest, type Digest } from './canonical.ts';
import { readId } from './bytes.ts';
import { Expectation, type Expected } from './expected.ts';
import { compareOutside } from './outside.ts';
import { analyse, bucketDigests, keyDigests, type Ground, type Keys } from './read-back.ts';
import { OrderedRead } from './reader.ts';
import { resolverFor } from './references.ts';
import { sourceNow, Throttle, type Verifier } from './verifier.ts';

const documentsAtOnce = 20_000;
const bytesAtOnce = 8 * 1024 * 1024;

/** Where the scan stands: the last key, and the last ObjectId among the keys. */
interface Position {
  readonly key: string | null;
  readonly objectId: string | null;
}
const start: Position = { key: null, objectId: null };

/** Returns false when the slice was over before the scan. */
export async function scanDocuments(verifier: Verifier, scan: Scan): Promise<boolean> {
  const { resources, slice, run, order } = verifier;
  const ground = verifier.scope.find((one) => one.collectionId === scan.collectionId)!;
  const expectation = new Expectation(ground);
  const throttle = new Throttle(order.rowsPerSecond);
  let position = scan.position === null ? start : (JSON.parse(scan.position) as Position);
  if (scan.position === null) await analyse(resources.postgres, ground);
  const { db } = resources.source;
  const exists = (await collectionNames(db)).includes(ground.source);
  const { averageBytes } = exists ? await weigh(db, ground.source) : { averageBytes: 0 };
  const read = await OrderedRead.open(verifier, ground.source, position.key, averageBytes);
  try {
    const pieces = new Pieces(read, throttle.atOnce(documentsAtOnce));
    for (let documents = await pieces.next(); !slice.over(); documents = await pieces.next()) {
      const { parts, next } = partsOf(documents, position);
      const suspects: Suspect[] = [];
      let evicted = 0;
      let restored = 0;
      for (const part of parts) {
        const found = await comparePart(verifier, expectation, part, read.version, averageBytes);
        suspects.push(...found.suspects.map((id) => suspectOf(ground, id)));
        evicted += found.evicted;
        restored += found.restored;
      }
      const done = documents.length === 0;
      await closePiece(resources.postgres, run, scan, {
        position: JSON.stringify(next),
        compared: documents.length,
        evicted,
        restored,
        done,
        suspects,
      });
      if (done) return true;
      position = next;
      await sleep(throttle.after(documents.length));
    }
    return false;
  } finally {
    await read.close();
  }
}

export const suspectOf = ({ mapping, collectionId }: Ground, id: string): Suspect => ({
  kind: 'document',
  collectionId,
  mapping: mapping.collection,
  id,
});

/** Documents and the keys they are compared over. */
interface Part {
  readonly documents: readonly Buffer[];
  readonly keys: Keys;
}

/**
 * A piece in two parts: its ObjectIds over the range since the last one, what has another id by list. Servers do not agree how ids of different
 * types are sorted, but ObjectIds rise among themselves. Behind the last document lies the rest of the range.
 */
function partsOf(documents: readonly Buffer[], position: Position): { parts: Part[]; next: Position } {
  const last = documents.at(-1);
  if (!last) return { parts: [{ documents: [], keys: { after: position.objectId, upTo: null } }], next: position };
  const ranged = documents.filter(hasObjectId);
  const listed = documents.filter((raw) => !hasObjectId(raw));
  const lastRanged = ranged.at(-1);
  const objectId = lastRanged ? textOfId(lastRanged) : position.objectId;
  const parts: Part[] = [];
  if (lastRanged) parts.push({ documents: ranged, keys: { after: position.objectId, upTo: objectId } });
  if (listed.length > 0) parts.push({ documents: listed, keys: { ids: listed.map(textOfId) } });
  return { parts, next: { key: keyText(last), objectId } };
}

const idFirst = Buffer.from('_id\u0000', 'latin1');
const objectIdType = 7;

/** Whether a document's `_id` is an ObjectId. Most servers keep it first; one that does not is decoded. */
function hasObjectId(raw: Buffer): boolean {
  if (raw.subarray(5, 9).equals(idFirst)) return raw[4] === objectIdType;
  return readId(raw).isObjectId;
}

/** A range read in pieces, limited in number and bytes of documents; an empty one at the end. */
class Pieces {
  readonly #read: OrderedRead;
  readonly #most: number;
  #held: Buffer[] = [];
  #at = 0;
  #ended = false;

  constructor(read: OrderedRead, most: number) {
    this.#read = read;
    this.#most = most;
  }

  async next(): Promise<Buffer[]> {
    const documents: Buffer[] = [];
    let bytes = 0;
    while (documents.length < this.#most) {
      if (this.#at === this.#held.length) await this.#fill();
      const raw = this.#held[this.#at];
      if (!raw || (documents.length > 0 && bytes + raw.byteLength > bytesAtOnce)) break;
      documents.push(raw);
      bytes += raw.byteLength;
      this.#at++;
    }
    return documents;
  }

  async #fill(): Promise<void> {
    if (this.#ended) return;
    this.#held = await this.#read.next();
    this.#at = 0;
    this.#ended = this.#held.length === 0;
  }
}

/** Keys of the part that are not equal on both sides, or were changing. */
async function comparePart(
  verifier: Verifier,
  expectation: Expectation,
  { documents, keys }: Part,
  version: bigint,
  averageBytes: number,
): Promise<{ suspects: string[]; evicted: number; restored: number }> {
  const { resources } = verifier;
  const { ground } = expectation;
  const now = await sourceNow(resources);
  // The database works while this process does.
  const readingBack = bucketDigests(resources.postgres, ground, keys, now);
  readingBack.catch(() => undefined);
  const settings = verifier.transformAt(version);
  const reads = documents.map((raw) => expectation.read(raw, settings));
  const resolve = await resolverFor(
    verifier,
    reads.flatMap((read) => expectation.referencesOf(read)),
  );
  const ours = new Map<string, Digest>();
  const sums = Array.from({ length: bucketCount }, noDigest);
  const images: Expected[] = [];
  for (const read of reads) {
    const image = expectation.image(read, resolve);
    const digest = noDigest();
    for (const item of image.items) add(digest, item);
    ours.set(image.id, digest);
    merge(sums[bucketOf(ground.source, image.id)]!, digest);
    if (ground.mapping.targets.some((target) => target.store === 'mongodb' || target.store === 'redis'))
      images.push(image);
  }
  const suspects = new Set<string>();
  const outside = await compareOutside(verifier, ground, images, averageBytes);
  for (const id of outside.findings.keys()) suspects.add(id);
  const theirs = await readingBack;
  const unequal = sums.flatMap((sum, bucket) => (isEqual(sum, theirs.get(bucket) ?? noDigest()) ? [] : [bucket]));
  if (unequal.length > 0) {
    const within = new Set(unequal);
    const there = await keyDigests(resources.postgres, ground, keys, unequal, now);
    for (const [id, digest] of ours)
      if (within.has(bucketOf(ground.source, id)) && !isEqual(digest, there.get(id) ?? noDigest())) suspects.add(id);
    for (const id of there.keys()) if (!ours.has(id)) suspects.add(id);
  }
  const digests = new Map(reads.map((read) => [read.id, read.digest]));
  const restored = verifier.order.restoreKeys ? await restoreKeys(verifier, ground, outside.absent, digests) : 0;
  return { suspects: [...suspects], evicted: outside.absent.length - restored, restored };
}

const textOfId = (raw: Uint8Array): string => readId(raw).id;
