// Transform: a segment's documents through their mapping, into files that the loaders only have to move.
import { once } from 'node:events';
import type { WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { deserialize, EJSON, serialize } from 'bson';
import xxhash from 'xxhash-wasm';
import { sourceId } from '../core/identity.ts';
import { Quarantined } from '../core/quarantine.ts';
import { redact } from '../core/redact.ts';
import type { Mapping, Outcome } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { transformDocument } from '../mappings/transform.ts';
import type { Spool } from '../spool/segment.ts';
import { millisecondsOf } from '../stores/mongodb/source.ts';
import { encoderOf, type Encode } from '../stores/postgres/copy.ts';
import { encodeError, ledgerEncoder } from '../stores/postgres/ledger.ts';
import { resolveReferences } from '../stores/postgres/references.ts';
import { Reference, type Row, type TableTarget } from '../stores/postgres/target.ts';
import type { KeyRow } from '../stores/redis/target.ts';
import type { Target } from '../stores/store.ts';
import type { Extracted } from './extract.ts';
import { documentsFile } from './extract.ts';
import { mappingOf, type Resources } from './resources.ts';

export interface TransformOrder {
  readonly collection: string;
  readonly source: string;
  readonly collectionId: number;
  readonly extracted: Extracted;
  readonly settings: Omit<TransformSettings, 'asOf'>;
}

export interface Transformation {
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
}

/** What the loaders find beside the files: which there are, written last. */
export interface Manifest extends Transformation {
  readonly files: readonly { readonly store: string; readonly target: string; readonly file: string }[];
  readonly ledger: string;
  readonly errors: string | undefined;
  readonly mappingVersion: number;
}

export const manifestFile = 'manifest.json';
const decoding = { promoteValues: false, promoteLongs: false } as const;
const hasher = await xxhash();
const signed = (digest: bigint): bigint => BigInt.asIntN(64, digest);

/** One output file; lines are gathered so that a file is written in few, larger pieces. */
class Output {
  readonly file: string;
  readonly #stream: WriteStream;
  #lines: (string | Uint8Array)[] = [];
  #size = 0;

  constructor(spool: Spool, path: string, file: string) {
    this.file = file;
    this.#stream = spool.write(path, file);
  }

  add(line: string | Uint8Array): void {
    this.#lines.push(line);
    this.#size += line.length;
  }

  async flush(atLeast = 0): Promise<void> {
    if (this.#size === 0 || this.#size < atLeast) return;
    const text =
      typeof this.#lines[0] === 'string'
        ? Buffer.from(this.#lines.join(''))
        : Buffer.concat(this.#lines as Uint8Array[]);
    this.#lines = [];
    this.#size = 0;
    if (!this.#stream.write(text)) await once(this.#stream, 'drain');
  }

  async close(): Promise<void> {
    await this.flush();
    this.#stream.end();
    await finished(this.#stream);
  }
}

type Held = { readonly id: string; readonly outcome: Outcome; readonly digest: bigint; readonly bytes: Buffer };

/** Deterministic for one segment and state of `users` and elections: run twice it writes the same files. */
export async function transformSegment(
  resources: Resources,
  order: TransformOrder,
  losers: ReadonlyMap<string, { rule: string; path: string }>,
): Promise<Transformation> {
  const { spool } = resources;
  const mapping = mappingOf(resources, order.collection);
  const path = order.extracted.reference.path;
  const version = BigInt(order.extracted.version);
  const settings: TransformSettings = { ...order.settings, asOf: millisecondsOf(version) };
  const raw = await spool.bytes(path, documentsFile);
  // Files are rendered from a table once the collection is copied; they take no rows.
  const outputs = new Map(
    mapping.targets
      .filter((target) => target.store !== 'files')
      .map((target) => [
        target.name,
        { target, output: new Output(spool, path, `${target.store}-${target.name}`), encode: encoderFor(target) },
      ]),
  );
  const ledger = new Output(spool, path, 'ledger');
  const errors = new Output(spool, path, 'errors');
  const encodeLedger = ledgerEncoder(order.collectionId, version, mapping.version);
  const placeOf = placeFinder(mapping);
  const counts = { loaded: 0, quarantined: 0, skipped: 0 };
  const waiting: Held[] = [];

  const setAside = (
    id: string,
    digest: bigint,
    document: Record<string, unknown>,
    why: { rule: string; path: string; message: string },
  ) => {
    counts.quarantined++;
    ledger.add(encodeLedger({ sourceId: id, state: 'quarantined', rule: why.rule, digest }));
    const identity = {
      collection: mapping.collection,
      sourceCollection: order.source,
      sourceId: id,
      mappingVersion: mapping.version,
    };
    errors.add(
      encodeError({
        ...identity,
        rule: why.rule,
        path: why.path,
        message: why.message,
        document: quarantinedDocument(document),
      }),
    );
  };

  /** Encodes all of a document's rows before writing any: what a column cannot take sets the document aside as a whole. */
  const write = ({ id, outcome, digest, bytes }: Held) => {
    const lines: [Output, string | Uint8Array][] = [];
    try {
      for (const [name, rows] of Object.entries(outcome)) {
        const { output, encode } = outputs.get(name)!;
        for (const one of rows) lines.push([output, encode(id, one)]);
      }
    } catch (error) {
      if (!(error instanceof Quarantined) && !(error instanceof TypeError)) throw error;
      const why = error instanceof Quarantined ? error : { rule: 'mapping_failed', path: '' };
      setAside(id, digest, deserialize(bytes, decoding), { rule: why.rule, path: why.path, message: error.message });
      return;
    }
    for (const [output, line] of lines) output.add(line);
    ledger.add(encodeLedger({ sourceId: id, state: 'loaded', digest, place: placeOf(outcome) }));
    counts.loaded++;
  };

  for (let at = 0, next = 0; at < raw.byteLength; at = next) {
    next = at + raw.readInt32LE(at);
    const bytes = raw.subarray(at, next);
    const document = deserialize(bytes, decoding);
    const id = sourceId(document['_id']);
    const digest = signed(hasher.h64Raw(bytes));
    const lost = losers.size === 0 ? undefined : losers.get(id);
    const result = lost
      ? { state: 'quarantined' as const, ...lost, message: lostMessage(lost.path) }
      : transformDocument(mapping, document, settings);
    if (result.state === 'loaded') {
      const held = { id, outcome: result.outcome, digest, bytes };
      if (hasReference(result.outcome)) waiting.push(held);
      else write(held);
    } else if (result.state === 'quarantined') {
      setAside(id, digest, document, result);
    } else {
      counts.skipped++;
      ledger.add(encodeLedger({ sourceId: id, state: 'skipped', rule: result.rule, digest }));
    }
    for (const { output } of outputs.values()) await output.flush(128 * 1024);
    await ledger.flush(128 * 1024);
    await errors.flush(128 * 1024);
  }
  await resolveReferences(resources.postgres, waiting.flatMap(({ outcome }) => Object.values(outcome).flat()) as Row[]);
  waiting.forEach(write);

  const files = [];
  for (const { target, output } of outputs.values()) {
    await output.close();
    files.push({ store: target.store, target: target.name, file: output.file });
  }
  await ledger.close();
  await errors.close();
  const manifest: Manifest = {
    ...counts,
    files,
    ledger: ledger.file,
    errors: counts.quarantined > 0 ? errors.file : undefined,
    mappingVersion: mapping.version,
  };
  await spool.store(path, manifestFile, JSON.stringify(manifest));
  return counts;
}

const lostMessage = (path: string): string => `another document of the collection has the same ${path} and is kept`;

/** A row per line for PostgreSQL, BSON for MongoDB, a JSON line per key for Redis, nothing for projections of a table. */
function encoderFor(target: Target): (id: string, row: Outcome[string][number]) => string | Uint8Array {
  if (target.store === 'postgres')
    return encoderOf(target as TableTarget) as Encode as (id: string, row: unknown) => string;
  if (target.store === 'mongodb')
    return (_, document) => serialize(document as Record<string, unknown>, { ignoreUndefined: true });
  if (target.store === 'redis') return (id, row) => `${JSON.stringify({ ...(row as KeyRow), sourceId: id })}\n`;
  throw new TypeError(`target ${target.name} of store ${target.store} takes no rows`);
}

function placeFinder(mapping: Mapping): (outcome: Outcome) => number | undefined {
  const timed = mapping.targets.find(
    (target): target is TableTarget => target.store === 'postgres' && (target as TableTarget).time !== undefined,
  );
  if (!timed) return () => undefined;
  return (outcome) => (outcome[timed.name]?.[0] as Row | undefined)?.[timed.time!] as number | undefined;
}

function hasReference(outcome: Outcome): boolean {
  for (const name in outcome)
    for (const row of outcome[name]!)
      for (const column in row) if ((row as Row)[column] instanceof Reference) return true;
  return false;
}

/** Canonical Extended JSON, secrets redacted; a NUL, which jsonb refuses, stands as the six characters \u0000. */
function quarantinedDocument(document: Record<string, unknown>): string {
  const json = redact(EJSON.serialize(document, { relaxed: false }));
  return JSON.stringify(json).replace(/\\u0000/g, '\\\\u0000');
}
