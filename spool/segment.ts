// Documents on their way, by reference: a segment is a folder of files on this host, written once, complete when its manifest is there.
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream, type ReadStream, type WriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KnownFailure } from '../core/failures.ts';

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
    await mkdir(this.#at(path), { recursive: true });
  }

  write(path: string, file: string): WriteStream {
    return createWriteStream(this.#at(path, file));
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

  async store(path: string, file: string, content: string | Uint8Array): Promise<void> {
    const target = this.#at(path, file);
    const part = `${target}.${randomUUID()}.part`;
    await writeFile(part, content);
    await rename(part, target);
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

  /** Removes everything of one collection, or all of it. */
  async clear(collection = ''): Promise<void> {
    for (const entry of await readdir(this.#at(collection)).catch(() => []))
      await rm(this.#at(collection, entry), { recursive: true, force: true });
  }
}

const lost = (path: string) =>
  new KnownFailure('SpoolLost', `The spool of this host has no segment ${path}; it is read from the source again.`);
