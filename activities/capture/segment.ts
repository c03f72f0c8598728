// Captured changes as bytes: what lies between the reader and a lane.
import { deserialize, Int32, Long, serialize } from 'bson';
import xxhash from 'xxhash-wasm';
import type { Version } from '../../core/guard.ts';
import type { Change, Feed } from '../apply.ts';

const hasher = await xxhash();

/** One key, one lane: sibling collections share tables, so the same id in two of them is one key. */
export const laneOf = (feed: Feed, id: string, lanes: number): number =>
  hasher.h32(`${feed.mapping.collection}\t${id}`) % lanes;

/** A header document, then the document's own bytes, untouched; none for a delete. */
export function encodeChange(change: Change): Buffer {
  const header = serialize({
    c: new Int32(change.feed.collectionId),
    i: change.id,
    t: Long.fromBigInt(change.version.time),
    o: new Int32(change.version.op),
    d: change.bytes !== undefined,
  });
  return change.bytes ? Buffer.concat([header, change.bytes]) : Buffer.from(header);
}

interface Header {
  readonly c: number;
  readonly i: string;
  readonly t: Long;
  readonly o: number;
  readonly d: boolean;
}

export function decodeChanges(content: Buffer, feeds: ReadonlyMap<number, Feed>): Change[] {
  const changes: Change[] = [];
  for (let at = 0; at < content.byteLength;) {
    const header = deserialize(content.subarray(at, (at += content.readInt32LE(at))), {
      promoteLongs: false,
    }) as Header;
    const version: Version = { time: BigInt(header.t.toString()), op: header.o };
    const bytes = header.d ? content.subarray(at, (at += content.readInt32LE(at))) : undefined;
    const feed = feeds.get(header.c);
    if (!feed) throw new RangeError(`captured changes name a collection ${header.c} that is not enrolled`);
    changes.push({ feed, id: header.i, version, bytes });
  }
  return changes;
}

/** Where a batch of changes is kept; its content is encrypted for this place and no other. */
export const capturedPlace = (lane: number, segment: bigint): string => `captured/${lane}/${segment}`;
