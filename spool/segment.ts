// Documents on their way, by reference: a segment is a folder of files on this host, written once, complete when its manifest is there.
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, type ReadStream, type WriteStream } from 'node:fs';
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KnownFailure } from '../core/failures.ts';
import { makeOwnFolder, privateFile, writePrivately } from './private.ts';

/** What history holds of a segment: no documents, only where they are and how many. */
export interface SegmentReference {
  /** Path under the spool, `<collection>/<chunk>/<segment>-<hash>`. */
  readonly path: string;
  readonly documents: number;
  readonly bytes: number;
}

export class Spool {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  #at(path: string, file = ''): string {
    if (path.split('/').includes('..')) throw new RangeError('a segment path leaves the spool');
    return join(this.folder, path, file);
  }

  async make(path: string): Promise<void> {
    // Each step by itself: `recursive` leaves the mode of what is there, and a spool of an older release was open to everybody.
    const steps = path.split('/');
    await makeOwnFolder(this.folder);
    for (let i = 1; i <= steps.length; i++) await makeOwnFolder(this.#at(steps.slice(0, i).join('/')));
  }

  write(path: string, file: string): WriteStream {
    return createWriteStream(this.#at(path, file), { mode: privateFile });
  }

  read(path: string, file: string): ReadStream {
    return createReadStream(this.#at(path, file), { highWaterMark: 256 * 1024 });
  }

  /** A whole file. Throws SpoolLost when the host no longer has it. */
  async bytes(path: string, file: string): Promise<Buffer> {
    return readFile(this.#at(path, file)).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' ? lost(path) : error;
    });
  }

  async has(path: string, file: string): Promise<boolean> {
    return stat(this.#at(path, file)).then(
      () => true,
      () => false,
    );
  }

  async store(path: string, file: string, content: string | Uint8Array): Promise<void> {
    await writePrivately(this.#at(path, file), content);
  }

  async json<T>(path: string, file: string): Promise<T> {
    return JSON.parse((await this.bytes(path, file)).toString('utf8')) as T;
  }

  async move(from: string, to: string): Promise<void> {
    if (from === to) return;
    await rm(this.#at(to), { recursive: true, force: true });
    await rename(this.#at(from), this.#at(to));
  }

  async forget(path: string): Promise<void> {
    await rm(this.#at(path), { recursive: true, force: true });
  }

  /** All segments and drafts: the folders that hold files, with when each was last written into. */
  async segments(under = ''): Promise<{ readonly path: string; readonly changedAt: Date }[]> {
    const entries = await readdir(this.#at(under), { withFileTypes: true }).catch(() => []);
    const found: { path: string; changedAt: Date }[] = [];
    for (const entry of entries.filter((one) => one.isDirectory()))
      found.push(...(await this.segments(under === '' ? entry.name : `${under}/${entry.name}`)));
    if (under === '' || entries.every((entry) => entry.isDirectory())) return found;
    const changedAt = (await stat(this.#at(under)).catch(() => undefined))?.mtime;
    return changedAt ? [...found, { path: under, changedAt }] : found;
  }

  /** Removes everything of one collection, or all of it. */
  async clear(collection = ''): Promise<void> {
    for (const entry of await readdir(this.#at(collection)).catch(() => []))
      await rm(this.#at(collection, entry), { recursive: true, force: true });
  }
}

/** The process that writes a draft stands in its name, so that a draft whose process is gone is known for what it is. */
export const draftName = (segment: number): string => `draft-${segment}-${process.pid}-${randomUUID()}`;

/** What a folder's name says: the process of a draft, or the number of a segment that is complete; undefined for any other name. */
export function segmentName(name: string): { readonly draftOf: number } | { readonly segment: number } | undefined {
  const draft = /^draft-\d+-(\d+)-[0-9a-f-]{36}$/.exec(name);
  if (draft) return { draftOf: Number(draft[1]) };
  const whole = /^(\d+)-[0-9a-f]{16}$/.exec(name);
  return whole ? { segment: Number(whole[1]) } : undefined;
}

const lost = (path: string) =>
  new KnownFailure('SpoolLost', `The spool of this host has no segment ${path}; it is read from the source again.`);
