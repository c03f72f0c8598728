// The answers to the exam: one line per dirty document, written as the documents are.
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { finished } from 'node:stream/promises';
import { makeFolder, privateFile } from '../spool/private.ts';
import type { Planted } from './generator.ts';

export interface PlantedHeader {
  readonly seed: number;
  readonly documents: number;
  readonly dirty: number;
  readonly now: string;
  /** Documents per source collection. */
  readonly collections: Readonly<Record<string, number>>;
}

/** Has its name only once it is complete. */
export class PlantedFile {
  readonly #path: string;
  readonly #stream: WriteStream;

  private constructor(path: string, stream: WriteStream) {
    this.#path = path;
    this.#stream = stream;
  }

  static async create(path: string, header: PlantedHeader): Promise<PlantedFile> {
    await makeFolder(dirname(path));
    await rm(`${path}.partial`, { force: true });
    const stream = createWriteStream(`${path}.partial`, { mode: privateFile });
    await once(stream, 'open');
    const file = new PlantedFile(path, stream);
    await file.#line(header);
    return file;
  }

  async write(planted: readonly Planted[]): Promise<void> {
    for (const one of planted) await this.#line(one);
  }

  async complete(): Promise<void> {
    this.#stream.end();
    await finished(this.#stream);
    await rename(`${this.#path}.partial`, this.#path);
  }

  abandon(): void {
    this.#stream.destroy();
  }

  async #line(value: unknown): Promise<void> {
    if (!this.#stream.write(`${JSON.stringify(value)}\n`)) await once(this.#stream, 'drain');
  }
}
