// Documents on their way, by reference: a segment is a folder of files on this host, written once, complete when its manifest is there.
import { randomUUID } from 'node:crypto';
import { open, readdir, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
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

  write(path: string, file: string): SpoolFile {
    return new SpoolFile(path, this.#at(path, file));
  }

  /** A file's bytes one after another. Fails with SpoolLost where the host does not have all of it: rows that are missing would be missed by nobody. */
  read(path: string, { file, bytes }: FileReference): Readable {
    return Readable.from(pieces(path, this.#at(path, file), bytes), { objectMode: false });
  }

  /** A whole file. Throws SpoolLost when the host no longer has it, or has not all of it. */
  async bytes(path: string, { file, bytes }: FileReference): Promise<Buffer> {
    const content = await readFile(this.#at(path, file)).catch((error: unknown) => raise(path, error));
    if (content.byteLength !== bytes) throw lost(path);
    return content;
  }

  /** The beginning of a file that may be longer; undefined where the host does not have so much of it. */
  async beginning(path: string, { file, bytes }: FileReference): Promise<Buffer | undefined> {
    const content = await readFile(this.#at(path, file)).catch(() => undefined);
    return content && content.byteLength >= bytes ? content.subarray(0, bytes) : undefined;
  }

  async has(path: string, file: string): Promise<boolean> {
    return stat(this.#at(path, file)).then(
      () => true,
      () => false,
    );
  }

  async store(path: string, file: string, content: string | Uint8Array): Promise<void> {
    await writePrivately(this.#at(path, file), content).catch((error: unknown) => raise(path, error));
  }

  /** What `store` has written. Throws SpoolLost where it is not there, or not whole. */
  async json<T>(path: string, file: string): Promise<T> {
    const text = await readFile(this.#at(path, file), 'utf8').catch((error: unknown) => raise(path, error));
    try {
      return JSON.parse(text) as T;
    } catch {
      throw lost(path);
    }
  }

  async move(from: string, to: string): Promise<void> {
    if (from === to) return;
    await rm(this.#at(to), { recursive: true, force: true });
    await rename(this.#at(from), this.#at(to)).catch((error: unknown) => raise(from, error));
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

/** A file of a segment, and how long it is: one that is shorter has not survived its host. */
export interface FileReference {
  readonly file: string;
  readonly bytes: number;
}

/** A file that is being written. What goes wrong is told to whoever writes or ends it: the error of a stream that nobody listens to would end the process. */
export class SpoolFile {
  readonly #path: string;
  readonly #name: string;
  #handle: FileHandle | undefined;
  #bytes = 0;

  constructor(path: string, name: string) {
    this.#path = path;
    this.#name = name;
  }

  async write(content: Uint8Array): Promise<void> {
    try {
      const handle = await this.#opened();
      await handle.appendFile(content);
      this.#bytes += content.byteLength;
    } catch (error) {
      await this.close().catch(() => undefined);
      raise(this.#path, error);
    }
  }

  /** The file is there, also where nothing was written. Returns how many bytes it has. */
  async end(): Promise<number> {
    try {
      await this.#opened();
      await this.close();
      return this.#bytes;
    } catch (error) {
      return raise(this.#path, error);
    }
  }

  /** For who gives up. */
  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #opened(): Promise<FileHandle> {
    this.#handle ??= await open(this.#name, this.#bytes === 0 ? 'w' : 'a', privateFile);
    return this.#handle;
  }
}

const pieceBytes = 256 * 1024;

async function* pieces(path: string, name: string, bytes: number): AsyncGenerator<Buffer> {
  const handle = await open(name, 'r').catch((error: unknown) => raise(path, error));
  try {
    let read = 0;
    for await (const piece of handle.createReadStream({ autoClose: false, highWaterMark: pieceBytes })) {
      read += (piece as Buffer).byteLength;
      yield piece as Buffer;
    }
    if (read !== bytes) throw lost(path);
  } finally {
    await handle.close();
  }
}

const gone = new Set(['ENOENT', 'ENOTDIR', 'ESTALE']);

/** A folder of a segment goes with its files: then the segment is lost, and is read again. */
function raise(path: string, error: unknown): never {
  throw gone.has((error as NodeJS.ErrnoException).code ?? '') ? lost(path) : error;
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
