// The pure parts of checkpoints: names, digests, records out of chunks, and documents that keep their bytes.
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BSON } from 'mongodb';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { keyVariable } from '../../control/vault.ts';
import { nameAt, refuseName } from '../../core/checkpoints.ts';
import { RawValue } from '../../core/bson/raw-value.ts';
import { Draft } from '../../stores/snapshots/draft.ts';
import { Snapshot } from '../../stores/snapshots/snapshot.ts';
import { ContentDigest, Records } from '../../stores/snapshots/digest.ts';

test('a name that is accepted is one step down and nowhere else', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[./a-z\\%-]{1,12}$/)), (name) => {
      if (refuseName(name) !== undefined) return;
      const url = new URL(`file:///snapshots/m/${encodeURIComponent(name)}/manifest.json`);
      expect(url.pathname).toBe(`/snapshots/m/${name}/manifest.json`);
      expect(name).not.toMatch(/[/\\]|\.\.|^\.|\.part-/);
    }),
  );
  for (const good of ['before-cutover', '2026.11.25', nameAt(new Date()), 'A_1'])
    expect(refuseName(good)).toBeUndefined();
  for (const bad of ['', '..', 'a..b', 'a.', 'data', 'x.part-1', 'a\n', 'é']) expect(refuseName(bad)).toBeDefined();
  expect(nameAt(new Date('2026-11-25T02:23:02.123Z'))).toBe('20261125T022302Z');
});

const digestOf = (records: readonly Uint8Array[]): string => {
  const digest = new ContentDigest();
  for (const record of records) digest.add(record);
  return digest.hex;
};

test('a digest knows every record and how often it is there, and no order', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { minLength: 1 }), fc.nat(), (records, seed) => {
      const digest = digestOf(records);
      const at = seed % records.length;
      expect(digestOf([...records.slice(at), ...records.slice(0, at)].reverse())).toBe(digest);
      expect(digestOf(records.toSpliced(at, 1))).not.toBe(digest);
      expect(digestOf([...records, records[at]!])).not.toBe(digest);
      const flipped = Uint8Array.from([...records[at]!, 0]);
      expect(digestOf(records.toSpliced(at, 1, flipped))).not.toBe(digest);
    }),
  );
});

test('records come whole out of chunks of any size', () => {
  const documents = [{}, { a: 1 }, { b: 'x'.repeat(300) }, { c: { d: [1, 2] } }].map((one) =>
    Buffer.from(BSON.serialize(one)),
  );
  const lines = ['', 'a\tb', 'x'.repeat(70)].map((line) => Buffer.from(`${line}\n`));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.constantFrom('bson' as const, 'lines' as const), (size, form) => {
      const whole = form === 'bson' ? documents : lines;
      const bytes = Buffer.concat(whole);
      const records = new Records(form);
      const found: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size)
        found.push(...[...records.of(bytes.subarray(at, at + size))].map((one) => Buffer.from(one)));
      expect(found).toEqual(whole);
      expect(records.left).toBe(0);
    }),
  );
});

test('documents keep their bytes, also those whose fields look like numbers', () => {
  const fields = new Map<string, unknown>([
    ['_id', new BSON.ObjectId()],
    ['10', new BSON.Int32(1)],
    [
      '2',
      new Map<string, unknown>([
        ['b', new BSON.Double(1)],
        [
          '1',
          [
            new Map([
              ['9', 'x'],
              ['0', null],
            ]),
          ],
        ],
      ]),
    ],
    ['long', BSON.Long.fromString('9007199254740993')],
    ['pattern', new BSON.BSONRegExp('a', 'ix')],
    ['symbol', new BSON.BSONSymbol('s')],
    ['time', new BSON.Timestamp({ t: 5, i: 6 })],
    ['binary', new BSON.Binary(Buffer.from('ab'), 5)],
    ['decimal', BSON.Decimal128.fromString('1.10')],
    ['low', new BSON.MinKey()],
  ]);
  const raw = Buffer.from(BSON.serialize(fields));
  expect(Buffer.from(BSON.serialize({ d: new RawValue(3, raw) })).subarray(7, -1)).toEqual(raw);
  const plain = Buffer.from(BSON.serialize({ a: new BSON.Double(1), b: [null, 'x'] }));
  expect(Buffer.from(BSON.serialize({ d: new RawValue(3, plain) })).subarray(7, -1)).toEqual(plain);
});

test('a snapshot is read back whole with its key, holds nothing in the clear, and says which key it needs', async () => {
  const folder = join(await mkdtemp(join(tmpdir(), 'causeway-snapshot-')), 'one');
  vi.stubEnv(keyVariable, randomBytes(32).toString('base64'));
  const draft = await Draft.open(folder);
  const part = draft.part('redis', 'session:');
  const lines = Array.from({ length: 3000 }, (_, i) => `{"k":"session:bearer-${i}","e":1}\n`);
  for (const line of lines) await part.write(Buffer.from(line));
  const manifest = {
    format: 1, migration: 'm', name: 'one', createdAt: '', run: 'r', codec: draft.codec, key: draft.key,
    cut: { at: '', lsn: '', captured: null, mongodb: { read: 'transaction', clusterTime: '' } },
    barrierMs: 0, controlSchema: [], mappings: {}, routing: {}, workflow: null, sequences: [], parts: [await part.end()],
  } as const; // prettier-ignore
  await draft.finish({ ...manifest, controlSchema: [], sequences: [], parts: [...manifest.parts] }, () => undefined);
  const snapshot = (await Snapshot.open(folder))!;
  await snapshot.verify(() => undefined);
  const read: Buffer[] = [];
  for await (const chunk of snapshot.read(snapshot.manifest.parts[0]!)) read.push(chunk);
  expect(Buffer.concat(read).toString()).toBe(lines.join(''));
  for (const name of await readdir(folder)) expect((await readFile(join(folder, name))).includes('bearer')).toBe(false);
  vi.stubEnv(keyVariable, randomBytes(32).toString('base64'));
  await expect(snapshot.verify(() => undefined)).rejects.toThrow(`encrypted with key ${draft.key}`);
  vi.unstubAllEnvs();
});
