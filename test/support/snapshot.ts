// Reads a checkpoint's files with zlib and node's own ciphers, and the stores with their drivers; knows nothing of the code under test.
import { createDecipheriv, createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Redis } from 'ioredis';
import type { World } from './world.ts';

interface Part {
  readonly store: string;
  readonly name: string;
  readonly records: number;
  readonly digest: string;
  readonly files: { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  readonly columns?: { readonly name: string }[];
}

export interface ManifestRead {
  readonly name: string;
  readonly createdAt: string;
  readonly barrierMs: number;
  readonly migration: string;
  readonly mappings: Record<string, number>;
  readonly routing: Record<string, { percentage: number }>;
  readonly workflow: { phase: string };
  readonly cut: { at: string };
  readonly parts: Part[];
}

export class SnapshotRead {
  readonly folder: string;
  readonly manifest: ManifestRead;

  private constructor(folder: string, manifest: ManifestRead) {
    this.folder = folder;
    this.manifest = manifest;
  }

  static async open(folder: string): Promise<SnapshotRead> {
    return new SnapshotRead(folder, JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as ManifestRead);
  }

  part(store: string, name: string): Part {
    const found = this.manifest.parts.find((part) => part.store === store && part.name === name);
    if (!found) throw new Error(`the snapshot has no ${store} ${name}`);
    return found;
  }

  async bytes(store: string, name: string): Promise<Buffer> {
    const files = this.part(store, name).files.map(async (file) =>
      gunzipSync(decrypted(await readFile(join(this.folder, file.name)), file.name)),
    );
    return Buffer.concat(await Promise.all(files));
  }

  async lines(store: string, name: string): Promise<string[]> {
    return (await this.bytes(store, name)).toString('utf8').split('\n').slice(0, -1);
  }

  /** Rows of a table by column, as COPY writes them; null is null. */
  async rows(table: string): Promise<Record<string, string | null>[]> {
    const { columns } = this.part('postgres', table);
    return (await this.lines('postgres', table)).map((line) =>
      Object.fromEntries(
        line.split('\t').map((value, i) => [columns![i]!.name, value === '\\N' ? null : unescape(value)]),
      ),
    );
  }

  async documents(collection: string): Promise<Buffer[]> {
    return bsonOf(await this.bytes('mongodb', collection));
  }

  async keys(): Promise<KeyLine[]> {
    return (await this.lines('redis', 'session:')).map((line) => JSON.parse(line) as KeyLine);
  }
}

/** As docs/runbook/6-checkpoints.md says: nonce of 12 bytes, ciphertext, tag of 16 bytes. */
function decrypted(file: Buffer, name: string): Buffer {
  const secret = Buffer.from(process.env['CAUSEWAY_QUARANTINE_KEY']!.split(',')[0]!, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', secret, file.subarray(0, 12));
  decipher.setAAD(Buffer.from(name));
  decipher.setAuthTag(file.subarray(-16));
  return Buffer.concat([decipher.update(file.subarray(12, -16)), decipher.final()]);
}

export interface KeyLine {
  readonly k: string;
  readonly e: number;
  readonly v?: string;
  readonly h?: string[];
}

const unescape = (value: string): string =>
  value.replace(/\\(.)/g, (_, c: string) => ({ n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v' })[c] ?? c);

function bsonOf(bytes: Buffer): Buffer[] {
  const documents: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readInt32LE(at))
    documents.push(bytes.subarray(at, at + bytes.readInt32LE(at)));
  return documents;
}

/** Of things in any order. */
export const contentOf = (things: readonly (Buffer | string)[]): string =>
  createHash('sha256')
    .update(
      things
        .map((thing) => createHash('sha256').update(thing).digest('hex'))
        .sort()
        .join(),
    )
    .digest('hex');

/** What is only in the one or only in the other, shortened. */
export function differenceOf(before: readonly string[], after: readonly string[]): string[] {
  const [left, right] = [new Set(before), new Set(after)];
  const only = (mark: string, a: Set<string>, b: Set<string>) =>
    [...a]
      .filter((one) => !b.has(one))
      .map((one) => `${mark} ${one.length > 300 ? `${one.slice(0, 120)} ... ${one.slice(-160)}` : one}`);
  const lengths = before.length === after.length ? [] : [`${before.length} rows and ${after.length}`];
  return [...lengths, ...only('-', left, right), ...only('+', right, left)].slice(0, 20);
}

/** A table's rows now, each as a line of text that tells rows apart. */
export async function tableNow(world: World, table: string): Promise<string[]> {
  const rows = await world.rows<{ line: string }>(`select to_jsonb(t)::text as line from ${table} t`);
  return rows.map((row) => row.line);
}

export async function documentsNow(world: World, collection: string): Promise<Buffer[]> {
  return (await world.target.collection(collection).find({}, { raw: true }).toArray()) as unknown as Buffer[];
}

/** Keys now, without what dies within a minute of now. */
export async function keysNow(redis: Redis): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const key of await redis.keys('session:*')) {
    const value = await redis.get(key);
    if (value !== null) found.set(key, value);
  }
  return found;
}
