// Files that Causeway writes: each has a mode that was decided, and the spool keeps nothing longer than it is needed.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PlantedFile } from '../../seed/planted-file.ts';
import { makeFolder, withLog, writePrivately } from '../../spool/private.ts';
import { draftName, segmentName, Spool } from '../../spool/segment.ts';
import { checkout } from '../../stack/home.ts';
import { Draft } from '../../stores/snapshots/draft.ts';
import { writeFileAtomically } from '../../stores/files/loader.ts';

/** Every file and folder below, with its mode. */
function modesBelow(folder: string): { path: string; mode: number; isFolder: boolean }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    return { path, mode: statSync(path).mode & 0o777, isFolder: entry.isDirectory() };
  });
}

test('whatever is written is for its owner alone, also under the loosest umask and over an older, open file', async () => {
  const before = process.umask(0);
  try {
    const home = await mkdtemp(join(tmpdir(), 'causeway-modes-'));
    await mkdir(join(home, 'spool', 'users'), { recursive: true, mode: 0o755 });
    const spool = new Spool(join(home, 'spool'));
    await spool.make('users/users/0/0-0123456789abcdef');
    const stream = spool.write('users/users/0/0-0123456789abcdef', 'documents.bson');
    await stream.write(Buffer.from('x'));
    await stream.end();
    await spool.store('users/users/0/0-0123456789abcdef', 'manifest.json', '{}');
    await writeFile(join(home, 'settings.json'), 'older', { mode: 0o644 });
    await writeFileAtomically(join(home, 'settings.json'), { a: 1 });
    await writePrivately(join(home, 'page.html'), 'page');
    withLog(join(home, 'server.log'), () => undefined);
    const planted = await PlantedFile.create(join(home, 'planted.jsonl'), {
      seed: 1,
      documents: 1,
      dirty: 0,
      now: '',
      collections: {},
    });
    await planted.complete();
    const draft = await Draft.open(join(home, 'snapshots', 'one'));
    const part = draft.part('redis', 'keys');
    await part.end();
    await makeFolder(join(home, 'reports', 'deep'));
    const open = modesBelow(home).filter(({ mode, isFolder }) => mode !== (isFolder ? 0o700 : 0o600));
    expect(open).toEqual([]);
  } finally {
    process.umask(before);
  }
});

test('a folder that somebody else has made keeps its mode', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'causeway-modes-'));
  await chmod(folder, 0o755);
  await makeFolder(folder);
  expect((await stat(folder)).mode & 0o777).toBe(0o755);
});

test('no module writes a file without saying its mode', () => {
  const rooms = ['activities', 'assess', 'cli', 'control', 'core', 'lineage', 'mappings', 'report', 'seed', 'spool', 'stack', 'stores', 'traffic', 'workers', 'workflows']; // prettier-ignore
  const writes = /\b(writeFile|writeFileSync|appendFile|appendFileSync|copyFile|mkdir|mkdirSync|openSync|createWriteStream|open)\(/; // prettier-ignore
  const told = /private(File|Folder)|'r'|static async/;
  const silent: string[] = [];
  for (const room of rooms)
    for (const name of readdirSync(join(checkout, room), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const text = readFileSync(join(checkout, room, name), 'utf8');
      const fs = [...text.matchAll(/import \{([^}]*)\} from 'node:fs(?:\/promises)?'/g)].flatMap((match) =>
        match[1]!.split(',').map((one) => one.trim()),
      );
      for (const line of text.split('\n')) {
        const call = writes.exec(line)?.[1];
        if (call && fs.includes(call) && !told.test(line)) silent.push(`${room}/${name}: ${line.trim()}`);
      }
    }
  // Installed programs hold nothing of anybody's, and other homes share them.
  expect(silent.filter((one) => !one.startsWith('stack/install.ts'))).toEqual([]);
});

test('a draft says whose it is, a segment which it is, and other names say nothing', () => {
  expect(segmentName(draftName(3))).toEqual({ draftOf: process.pid });
  expect(segmentName('12-0123456789abcdef')).toEqual({ segment: 12 });
  for (const name of ['draft-1-x', '12', '12-xyz', 'users']) expect(segmentName(name)).toBeUndefined();
});

test('the spool lists its segments whatever the source collection is called', async () => {
  const spool = new Spool(await mkdtemp(join(tmpdir(), 'causeway-spool-')));
  expect(await spool.segments()).toEqual([]);
  await spool.make('users/a/b/0/0-0123456789abcdef');
  const child = spawnSync(process.execPath, ['-e', '']);
  await spool.make(`users/users/1/draft-0-${child.pid}-9c0ff1ce-0000-4000-8000-000000000000`);
  for (const one of [
    await spool.segments(),
    'users/a/b/0/0-0123456789abcdef',
    `users/users/1/draft-0-${child.pid}-9c0ff1ce-0000-4000-8000-000000000000`,
  ])
    if (typeof one === 'string') await spool.store(one, 'documents.bson', 'x');
    else expect(one).toEqual([]);
  await utimes(join(spool.folder, 'users/a/b/0/0-0123456789abcdef'), 1, 1);
  const found = await spool.segments();
  expect(found.map((one) => one.path.split('/').at(-1)!.split('-')[0]).sort()).toEqual(['0', 'draft']);
  expect(found.find((one) => one.path.startsWith('users/a/b'))!.changedAt.getTime()).toBe(1000);
});
