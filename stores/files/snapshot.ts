// Configuration files as they stand on this host, and put back, each atomically.
import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, writePrivately } from '../../spool/private.ts';

/** `content`: base64, so that a file comes back byte for byte. */
export interface FileRecord {
  readonly path: string;
  readonly content: string;
}

/** A file that is not on this host has no record. */
export async function readFiles(paths: readonly string[]): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  for (const path of paths) {
    const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (content) records.push({ path, content: content.toString('base64') });
  }
  return records;
}

export async function putFile({ path, content }: FileRecord): Promise<void> {
  await makeFolder(dirname(path));
  await writePrivately(path, Buffer.from(content, 'base64'));
}

export const removeFile = (path: string): Promise<void> => rm(path, { force: true });
