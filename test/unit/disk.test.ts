// Room on the disk for the embedded servers: measured, said, and required before anything is started.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freeAt, refusalOfRoom, sizeOf } from '../../stack/disk.ts';

const MiB = 1024 * 1024;

test('what lies in a folder is what it takes on the disk, however deep', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'causeway-disk-'));
  try {
    await mkdir(join(folder, 'a', 'b'), { recursive: true });
    await writeFile(join(folder, 'a', 'b', 'file'), Buffer.alloc(MiB, 1));
    await writeFile(join(folder, 'other'), Buffer.alloc(MiB, 1));
    const size = await sizeOf(folder);
    expect(size).toBeGreaterThanOrEqual(2 * MiB);
    expect(size).toBeLessThan(2.2 * MiB);
    expect(await sizeOf(join(folder, 'not-there'))).toBe(0);
    expect(await freeAt(folder)).toBeGreaterThan(0);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('servers are refused where there is less room than they need, what they have already taken aside', () => {
  expect(refusalOfRoom('/here', 2000 * MiB, { postgres: 0, redis: 0 })).toBeUndefined();
  expect(refusalOfRoom('/here', 300 * MiB, { postgres: 700 * MiB, redis: 0 })).toBeUndefined();
  expect(refusalOfRoom('/here', 300 * MiB, { postgres: 0, redis: 0 })).toMatch(
    /disk of \/here: 300 MiB are free, and postgres, redis need 900 MiB.*CAUSEWAY_HOME.*stack status/,
  );
});
