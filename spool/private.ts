// Files as Causeway writes them: everything may hold documents, keys or addresses, so only the account that runs it may read them (docs/settings.md).
import { randomUUID } from 'node:crypto';
import { closeSync, fchmodSync, openSync } from 'node:fs';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';

export const privateFile = 0o600;
export const privateFolder = 0o700;

/** Makes the folder and those above it that are missing; one that is there keeps its mode, which is somebody else's decision. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: privateFolder });
}

/** A folder that belongs to Causeway alone: also one that an older release or a looser hand has made is closed to others. */
export async function makeOwnFolder(path: string): Promise<void> {
  await makeFolder(path);
  await chmod(path, privateFolder);
}

/** Whole or not at all, and on the disk when it returns. A file of another mode that stood there is replaced, not written into. */
export async function writePrivately(path: string, content: string | Uint8Array): Promise<void> {
  const part = `${path}.${randomUUID()}.part`;
  try {
    const handle = await open(part, 'wx', privateFile);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Opens a log for appending, hands over its descriptor and closes it. */
export function withLog<T>(path: string, use: (descriptor: number) => T): T {
  const descriptor = openSync(path, 'a', privateFile);
  try {
    fchmodSync(descriptor, privateFile);
    return use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
