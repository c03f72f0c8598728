// How many bytes a value has, without throwing: the compiled reader declines what is malformed.
import { bsonType } from '../../../core/bson/reader.ts';

const fixed = new Int8Array(256).fill(-1);
for (const [type, size] of [
  [bsonType.double, 8],
  [bsonType.objectId, 12],
  [bsonType.bool, 1],
  [bsonType.date, 8],
  [bsonType.null, 0],
  [bsonType.int, 4],
  [bsonType.timestamp, 8],
  [bsonType.long, 8],
  [bsonType.decimal, 16],
] as const)
  fixed[type] = size;

/** -1: it does not end before `limit`, or is of a kind that only the slow path reads. */
export function sizeOf(bytes: Buffer, type: number, at: number, limit: number): number {
  const size = fixed[type]!;
  if (size >= 0) return at + size <= limit ? size : -1;
  if (at + 5 > limit) return -1;
  if (type === bsonType.string) {
    const length = bytes.readInt32LE(at);
    return length >= 1 && at + 4 + length <= limit && bytes[at + 3 + length] === 0 ? length + 4 : -1;
  }
  return -1;
}
