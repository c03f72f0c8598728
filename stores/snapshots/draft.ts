// A snapshot being written: under a temporary name until all of its files, the manifest last, are on the disk.
import { createHash, randomUUID, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Manifest, ManifestPart } from '../../core/checkpoints.ts';
import { makeFolder, privateFile, privateFolder } from '../../spool/private.ts';
import { ownVault } from '../../control/vault.ts';
import { encryption } from './cipher.ts';
import { bestCodec, compressor, type Codec } from './codec.ts';
import { ContentDigest, formOf, Records } from './digest.ts';

export const manifestFile = 'manifest.json';
/** In the form of `sha256sum`. */
export const manifestDigestFile = 'manifest.sha256';

/** Bytes of a file before compression: a copy that broke off, or one flipped byte, costs no more than this. */
const fileBytes = 32 * 1024 * 1024;

export type FileEntry = ManifestPart['files'][number];

export class Draft {
  readonly codec: Codec = bestCodec();
  /** Its files are encrypted with this process's key. */
  readonly #key = ownVault().fileKey();
  readonly #target: string;
  readonly #folder: string;

  private constructor(target: string) {
    this.#target = target;
    this.#folder = `${target}.part-${randomUUID()}`;
  }

  /** What earlier attempts at the same snapshot have left is removed. */
  static async open(target: string): Promise<Draft> {
    await makeFolder(dirname(target));
    for (const entry of await readdir(dirname(target)))
      if (entry.startsWith(`${basename(target)}.part-`))
        await rm(join(dirname(target), entry), { recursive: true, force: true });
    const draft = new Draft(target);
    await mkdir(draft.#folder, { mode: privateFolder });
    return draft;
  }

  /** Id of the key that its files are encrypted with; the manifest says it. */
  get key(): string {
    return this.#key.id;
  }

  part(store: ManifestPart['store'], name: string): PartWriter {
    return new PartWriter({ folder: this.#folder, codec: this.codec, secret: this.#key.secret }, store, name);
  }

  /** The last step but the rename: from then on the snapshot is whole. Returns the manifest's SHA-256. */
  async finish(manifest: Manifest, beforeRename: () => void): Promise<string> {
    const text = `${JSON.stringify(manifest, null, 1)}\n`;
    const digest = createHash('sha256').update(text).digest('hex');
    await writeDurably(join(this.#folder, manifestDigestFile), `${digest}  ${manifestFile}\n`);
    await writeDurably(join(this.#folder, manifestFile), text);
    await syncFolder(this.#folder);
    beforeRename();
    await rename(this.#folder, this.#target);
    await syncFolder(dirname(this.#target));
    return digest;
  }

  async discard(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, 'wx', privateFile);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

interface Form {
  readonly folder: string;
  readonly codec: Codec;
  readonly secret: Buffer;
}

/** One table, collection or keyspace, in files of bounded size. */
export class PartWriter {
  readonly #form: Form;
  readonly #store: ManifestPart['store'];
  readonly #name: string;
  readonly #digest = new ContentDigest();
  readonly #records: Records;
  readonly #files: FileEntry[] = [];
  #file: OpenFile | undefined;

  constructor(form: Form, store: ManifestPart['store'], name: string) {
    this.#form = form;
    this.#store = store;
    this.#name = name;
    this.#records = new Records(formOf(store));
  }

  get records(): number {
    return this.#digest.records;
  }

  async write(bytes: Buffer): Promise<void> {
    for (const record of this.#records.of(bytes)) this.#digest.add(record);
    this.#file ??= new OpenFile(this.#form, this.#fileName());
    await this.#file.write(bytes);
    if (this.#file.taken >= fileBytes) await this.#close();
  }

  async end(): Promise<ManifestPart> {
    await this.#close();
    if (this.#records.left > 0) throw new RangeError(`${this.#name} ends in the middle of a record`);
    return {
      store: this.#store,
      name: this.#name,
      records: this.#digest.records,
      digest: this.#digest.hex,
      files: this.#files,
    };
  }

  async #close(): Promise<void> {
    if (this.#file) this.#files.push(await this.#file.end());
    this.#file = undefined;
  }

  #fileName(): string {
    const number = String(this.#files.length + 1).padStart(5, '0');
    const ending = this.#form.codec === 'gzip' ? 'gz' : 'zst';
    const safe = encodeURIComponent(this.#name).replace(/[!'()*~]/g, '_');
    return `${this.#store}.${safe}.${number}.${ending}.enc`;
  }
}

class OpenFile {
  readonly #name: string;
  readonly #input: Transform;
  readonly #hash: Hash = createHash('sha256');
  readonly #written: Promise<void>;
  #bytes = 0;
  taken = 0;

  constructor({ folder, codec, secret }: Form, name: string) {
    this.#name = name;
    this.#input = compressor(codec);
    const tap = new Transform({
      transform: (chunk: Buffer, _, done) => {
        this.#hash.update(chunk);
        this.#bytes += chunk.length;
        done(null, chunk);
      },
    });
    const out = createWriteStream(join(folder, name), { flags: 'wx', mode: privateFile, flush: true });
    this.#written = pipeline(this.#input, encryption(secret, name), tap, out);
    this.#written.catch(() => undefined);
  }

  async write(bytes: Buffer): Promise<void> {
    this.taken += bytes.length;
    if (!this.#input.write(bytes)) await Promise.race([once(this.#input, 'drain'), this.#written]);
  }

  async end(): Promise<FileEntry> {
    this.#input.end();
    await this.#written;
    return { name: this.#name, bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }
}
