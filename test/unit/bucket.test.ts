// The published hash: its vectors, its evenness, and that a user never goes back while the percentage grows.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ObjectId } from 'bson';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bucketOf, userKey } from '../../traffic/bucket.ts';

test('the vectors', async () => {
  const file = new URL('../../traffic/bucket-vectors.json', import.meta.url);
  const { vectors } = JSON.parse(await readFile(file, 'utf8')) as { vectors: { key: string; bucket: number }[] };
  expect(vectors.length).toBeGreaterThan(40);
  for (const { key, bucket } of vectors) expect(bucketOf(key), key.slice(0, 30)).toBe(bucket);
});

test.each([
  ['sequential numbers', (i: number) => String(i)],
  ['ObjectIds of one process', (i: number) => `68f9b1c2d3e4f5a6b7${i.toString(16).padStart(6, '0')}`],
  ['names with a number', (i: number) => `user-${i}`],
  ['random ids', (i: number) => createHash('sha256').update(String(i)).digest('hex').slice(0, 24)],
])('%s fall evenly into every tenth', (_, key) => {
  const tenths = new Array<number>(10).fill(0);
  for (let i = 0; i < 100_000; i++) tenths[Math.floor(bucketOf(key(i)) / 10)]!++;
  for (const count of tenths) expect(Math.abs(count - 10_000)).toBeLessThan(500);
});

test('a bucket is a whole number from 0 to 99, whatever the key', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (key) => {
      const bucket = bucketOf(key);
      return Number.isInteger(bucket) && bucket >= 0 && bucket < 100 && bucket === bucketOf(key);
    }),
  );
});

test('who is on the new system at one percentage is there at every greater one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(100), fc.nat(100), (key, one, other) => {
      const [less, more] = [Math.min(one, other), Math.max(one, other)];
      return bucketOf(key) >= less || bucketOf(key) < more;
    }),
  );
});

test('keys of user ids', () => {
  expect(userKey(new ObjectId('68f9b1c2d3e4f5a6b7c8d9e0'))).toBe('68f9b1c2d3e4f5a6b7c8d9e0');
  expect([
    userKey('a'),
    userKey(42),
    userKey(42n),
    userKey(''),
    userKey(null),
    userKey(undefined),
    userKey({}),
    userKey({ _bsontype: 'ObjectId' }),
  ]).toEqual(['a', '42', '42', undefined, undefined, undefined, undefined, undefined]);
});
