// The published hash that decides where a user's reads go: the same in every language (docs/routing.md, bucket-vectors.json).
import { crc32 } from 'node:zlib';

/** 0 to 99: CRC-32 (IEEE 802.3, as in zlib) of the key's UTF-8 bytes, modulo 100. In Python: `zlib.crc32(key.encode()) % 100`. */
export const bucketOf = (key: string): number => crc32(key) % 100;

/** The key of a user id: text as it is, an ObjectId as its 24 hex digits, a number in decimal. undefined: there is no user. */
export function userKey(userId: unknown): string | undefined {
  if (typeof userId === 'string') return userId === '' ? undefined : userId;
  if (typeof userId === 'number' || typeof userId === 'bigint') return userId.toString();
  const id = userId as { _bsontype?: string; toHexString?: () => string } | null | undefined;
  return id?._bsontype === 'ObjectId' ? id.toHexString?.() : undefined;
}
