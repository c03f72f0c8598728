// Configuration files as they stand on this host, and put back, each atomically.
import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

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
  await mkdir(dirname(path), { recursive: true });
  const part = `${path}.${randomUUID()}.part`;
  const handle = await open(part, 'wx', 0o600);
  try {
    await handle.writeFile(Buffer.from(content, 'base64'));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(part, path);
}

export const removeFile = (path: string): Promise<void> => rm(path, { force: true });
