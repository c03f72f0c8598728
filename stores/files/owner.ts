// Whose a folder of configuration files is. Two migrations that were given the same folder would overwrite each other's.
import { readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeFolder, writePrivately } from '../../spool/private.ts';

/** Beside the folder, since an application may read all that is in it; inside where nothing may be written beside it. */
const places = (folder: string): readonly string[] => [
  join(dirname(folder), `.${basename(folder)}.causeway-owner`),
  join(folder, '.causeway-owner'),
];

/** undefined: nobody has marked the folder. */
export async function markOf(folder: string): Promise<Record<string, string> | undefined> {
  for (const place of places(folder)) {
    const text = await readFile(place, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw error;
    });
    if (text !== undefined) return JSON.parse(text) as Record<string, string>;
  }
  return undefined;
}

export async function setMark(folder: string, mark: Readonly<Record<string, string>>): Promise<void> {
  await makeFolder(folder);
  const [beside, inside] = places(folder) as [string, string];
  const text = JSON.stringify(mark);
  await writePrivately(beside, text).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EACCES' && error.code !== 'EPERM' && error.code !== 'EROFS') throw error;
    return writePrivately(inside, text);
  });
}

export async function removeMark(folder: string): Promise<void> {
  for (const place of places(folder))
    await rm(place, { force: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EACCES' && error.code !== 'ENOTDIR') throw error;
    });
}
