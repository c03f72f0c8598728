// A snapshot that is there: nothing of it is believed before every file has been read and compared with the manifest.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { manifestSchema, refuseName, type Manifest, type ManifestPart } from '../../core/checkpoints.ts';
import { KnownFailure } from '../../core/failures.ts';
import { ownVault } from '../../control/vault.ts';
import { decryption } from './cipher.ts';
import { decompressor } from './codec.ts';
import { ContentDigest, formOf, Records } from './digest.ts';
import { manifestDigestFile, manifestFile } from './draft.ts';

export const damaged = (folder: string, why: string): KnownFailure =>
  new KnownFailure('CheckpointDamaged', `The snapshot in ${folder} is damaged: ${why}. Nothing was changed.`);

export class Snapshot {
  readonly folder: string;
  readonly manifest: Manifest;
  /** SHA-256 of the manifest, which holds those of all files: names the whole content. */
  readonly sha256: string;

  private constructor(folder: string, manifest: Manifest, sha256: string) {
    this.folder = folder;
    this.manifest = manifest;
    this.sha256 = sha256;
  }

  /** undefined where there is none. Throws CheckpointDamaged where the manifest is not what was written. */
  static async open(folder: string): Promise<Snapshot | undefined> {
    const read = (file: string) => readFile(join(folder, file)).catch(missing);
    const [text, digests] = [await read(manifestFile), await read(manifestDigestFile)];
    if (!text) {
      const there = await stat(folder).catch(missing);
      if (there) throw damaged(folder, `it has no ${manifestFile}`);
      return undefined;
    }
    if (!digests) throw damaged(folder, `it has no ${manifestDigestFile}`);
    const sha256 = createHash('sha256').update(text).digest('hex');
    if (digests.toString('latin1') !== `${sha256}  ${manifestFile}\n`)
      throw damaged(folder, `${manifestFile} and ${manifestDigestFile} do not agree`);
    let input: unknown;
    try {
      input = JSON.parse(text.toString('utf8'));
    } catch {
      throw damaged(folder, `${manifestFile} is no JSON`);
    }
    const format = (input as { format?: unknown } | null)?.format;
    if (format !== 1)
      throw new KnownFailure(
        'CheckpointRefused',
        `The snapshot in ${folder} is of format ${String(format)}, and this version of Causeway reads format 1.`,
      );
    const manifest = manifestSchema.safeParse(input);
    if (!manifest.success)
      throw damaged(folder, `${manifestFile} is incomplete (${manifest.error.issues[0]!.path.join('.')})`);
    return new Snapshot(folder, manifest.data, sha256);
  }

  /** Reads every file: sizes, digests, and what they hold once decompressed. */
  async verify(say: (what: string) => void): Promise<void> {
    for (const part of this.manifest.parts) {
      say(`verifying ${part.store} ${part.name}`);
      for (const file of part.files) await this.#verifyFile(file);
      const digest = new ContentDigest();
      const records = new Records(formOf(part.store));
      for await (const chunk of this.read(part)) for (const record of records.of(chunk)) digest.add(record);
      if (records.left > 0 || digest.records !== part.records || digest.hex !== part.digest)
        throw damaged(this.folder, `${part.store} ${part.name} does not hold what the manifest says`);
    }
  }

  async #verifyFile({ name, bytes, sha256 }: ManifestPart['files'][number]): Promise<void> {
    const path = join(this.folder, name);
    const there = await stat(path).catch(missing);
    if (!there) throw damaged(this.folder, `${name} is missing`);
    if (there.size !== bytes) throw damaged(this.folder, `${name} has ${there.size} bytes instead of ${bytes}`);
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
    if (hash.digest('hex') !== sha256) throw damaged(this.folder, `the SHA-256 of ${name} is another`);
  }

  /** A part's bytes, decrypted and decompressed. Throws VaultError where this process does not have the key. */
  async *read(part: ManifestPart): AsyncGenerator<Buffer> {
    const { secret } = ownVault().fileKey(this.manifest.key);
    for (const { name } of part.files) {
      const file = createReadStream(join(this.folder, name));
      const clear = decryption(secret, name);
      const out = decompressor(this.manifest.codec);
      file.on('error', (error) => clear.destroy(error));
      clear.on('error', (error) => out.destroy(error));
      try {
        for await (const chunk of file.pipe(clear).pipe(out)) yield chunk as Buffer;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code?.startsWith('Z') || code?.startsWith('ERR_'))
          throw damaged(this.folder, `${name} cannot be read (${code})`);
        throw error;
      } finally {
        file.destroy();
        clear.destroy();
      }
    }
  }

  /** A part's records, some hundreds at a time. */
  async *records(part: ManifestPart): AsyncGenerator<Buffer[]> {
    const records = new Records(formOf(part.store));
    let batch: Buffer[] = [];
    let size = 0;
    for await (const chunk of this.read(part))
      for (const record of records.of(chunk)) {
        batch.push(record);
        size += record.length;
        if (batch.length < recordsAtOnce && size < bytesAtOnce) continue;
        yield batch;
        batch = [];
        size = 0;
      }
    if (batch.length > 0) yield batch;
  }

  parts(store: ManifestPart['store']): ManifestPart[] {
    return this.manifest.parts.filter((part) => part.store === store);
  }
}

const recordsAtOnce = 500;
const bytesAtOnce = 4 * 1024 * 1024;

/** Names of the snapshots in a folder, sorted; drafts are none. */
export async function snapshotsIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && refuseName(entry.name) === undefined && !entry.name.includes('.part-'))
    .map((entry) => entry.name)
    .sort();
}

function missing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}
