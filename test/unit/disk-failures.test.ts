// A disk that is full, broken, read-only or gone is told as what it is; and a segment that has not survived is lost, never shorter.
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { asFailure } from '../../activities/failing.ts';
import { Patience } from '../../activities/capture/slice.ts';
import { Spool } from '../../spool/segment.ts';
import { postgresFailure } from '../../stores/postgres/connection.ts';

const path = 'users/users/0/0-0123456789abcdef';
let home: string;
let spool: Spool;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'causeway-disk-'));
  spool = new Spool(home);
  await spool.make(path);
});
afterEach(() => rm(home, { recursive: true, force: true }));

const ofSystem = (code: string, syscall = 'write') =>
  Object.assign(new Error(`${code}: something, ${syscall}`), { code, syscall, path: '/var/causeway/spool/x' });
const lost = { type: 'SpoolLost' };

test.each([
  ['ENOSPC', 'DiskFull'],
  ['EDQUOT', 'DiskFull'],
  ['EIO', 'DiskUnusable'],
  ['EROFS', 'DiskUnusable'],
  ['EACCES', 'DiskUnusable'],
  ['EMFILE', 'DiskUnusable'],
  ['ENOENT', 'DiskUnusable'],
  ['ESTALE', 'DiskUnusable'],
])('%s is %s, tried again, and names the place', async (code, type) => {
  for (const failure of [asFailure(ofSystem(code)), asFailure(postgresFailure(ofSystem(code), 'loading'))])
    expect(failure).toMatchObject({
      type,
      nonRetryable: false,
      message: expect.stringContaining('/var/causeway/spool/x') as string,
    });
  const said: string[] = [];
  await new Patience({ say: (sentence) => void said.push(String(sentence)) }).after(ofSystem(code));
  expect(said[0]).toContain(code);
});

test('the same codes of a connection are no matter of the disk', () => {
  expect(postgresFailure(ofSystem('ENOENT', 'connect'), 'connecting')).not.toMatchObject({ type: 'DiskUnusable' });
});

test('what cannot be written is told to whoever writes, and to nobody else', async () => {
  const file = spool.write(path, 'documents.bson');
  await rm(home, { recursive: true });
  await expect(file.write(Buffer.from('x'))).rejects.toMatchObject(lost);
  await expect(spool.write(path, 'other').end()).rejects.toMatchObject(lost);
  await expect(spool.store(path, 'manifest.json', '{}')).rejects.toMatchObject(lost);
  await expect(spool.move(path, `${path}0`)).rejects.toMatchObject(lost);
});

test('a file that was cut off, is longer, or is gone is a lost segment, read whole or piece by piece', async () => {
  const file = spool.write(path, 'rows');
  await file.write(Buffer.from('one\ntwo\n'));
  await file.write(Buffer.from('three\n'));
  const bytes = await file.end();
  expect(bytes).toBe(14);
  const reference = { file: 'rows', bytes };
  expect((await spool.bytes(path, reference)).toString()).toBe('one\ntwo\nthree\n');
  expect(await text(spool.read(path, reference))).toBe('one\ntwo\nthree\n');
  await truncate(join(home, path, 'rows'), 8);
  await expect(spool.bytes(path, reference)).rejects.toMatchObject(lost);
  await expect(text(spool.read(path, reference))).rejects.toMatchObject(lost);
  expect(await spool.beginning(path, reference)).toBeUndefined();
  expect(String(await spool.beginning(path, { file: 'rows', bytes: 4 }))).toBe('one\n');
  await rm(join(home, path, 'rows'));
  await expect(spool.bytes(path, reference)).rejects.toMatchObject(lost);
  await expect(text(spool.read(path, reference))).rejects.toMatchObject(lost);
  await writeFile(join(home, path, 'manifest.json'), '{"files": [');
  await expect(spool.json(path, 'manifest.json')).rejects.toMatchObject(lost);
});
