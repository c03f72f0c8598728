// Transform: a segment's documents through their mapping, into files that the loaders only have to move.
import { randomUUID } from 'node:crypto';
import { saveLongKeys } from '../control/long-keys.ts';
import { versionOfRead } from '../core/guard.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { requireKey } from '../control/sealing.ts';
import type { FileReference, Spool, SpoolFile } from '../spool/segment.ts';
import { millisecondsOf } from '../stores/mongodb/source.ts';
import { encodeUnresolved } from '../stores/postgres/ledger.ts';
import { resolveReferences } from '../stores/postgres/references.ts';
import type { Row } from '../stores/postgres/target.ts';
import { Breath } from './breath.ts';
import type { Extracted } from './extract.ts';
import { documentsFile } from './extract.ts';
import { mappingOf, type Resources } from './resources.ts';
import { lostMessage, type Winner } from './lost.ts';
import { imageOf, isLoading, Shaper, type Loading, type Shaped } from './shape.ts';

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
  readonly files: readonly ({ readonly store: string; readonly target: string } & FileReference)[];
  readonly ledger: FileReference;
  readonly errors: FileReference | undefined;
  readonly unresolved: FileReference | undefined;
  readonly mappingVersion: number;
  /** For who has to make the documents once more, one by one. */
  readonly settings: TransformOrder['settings'];
}

export const manifestFile = 'manifest.json';
/** Lines are gathered until there are so many. */
const flushBytes = 128 * 1024;

/** One output file; lines are gathered so that a file is written in few, larger pieces. */
class Output {
  readonly #name: string;
  readonly #file: SpoolFile;
  #lines: (string | Uint8Array)[] = [];
  #size = 0;

  constructor(spool: Spool, path: string, file: string) {
    this.#name = file;
    this.#file = spool.write(path, file);
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
    await this.#file.write(text);
  }

  async close(): Promise<FileReference> {
    await this.flush();
    return { file: this.#name, bytes: await this.#file.end() };
  }

  /** For who gives up. */
  abandon(): Promise<void> {
    return this.#file.close().catch(() => undefined);
  }
}

/** Deterministic for one segment and state of `users` and elections: run twice it writes the same rows; only ciphertexts differ. */
export async function transformSegment(
  resources: Resources,
  order: TransformOrder,
  losers: ReadonlyMap<string, { rule: string; path: string; winner?: Winner | undefined }>,
): Promise<Transformation> {
  await requireKey(resources.postgres);
  const { spool } = resources;
  const mapping = mappingOf(resources, order.collection);
  const path = order.extracted.reference.path;
  const version = versionOfRead(BigInt(order.extracted.version));
  const settings: TransformSettings = { ...order.settings, asOf: millisecondsOf(version.time) };
  const raw = await spool.bytes(path, { file: documentsFile, bytes: order.extracted.reference.bytes });
  // An attempt that was thought dead may still write: the manifest names the files of one attempt.
  const attempt = randomUUID().slice(0, 8);
  const own = (file: string) => `${file}.${attempt}`;
  // Files are rendered from a table once the collection is copied; they take no rows.
  const all: Output[] = [];
  const output = (file: string) => {
    const one = new Output(spool, path, own(file));
    all.push(one);
    return one;
  };
  const outputs = new Map(
    mapping.targets
      .filter((target) => target.store !== 'files')
      .map((target) => [target.name, { target, output: output(`${target.store}-${target.name}`) }]),
  );
  const [ledger, errors, unresolved] = [output('ledger'), output('errors'), output('unresolved')];
  const shaper = new Shaper(mapping, order.source, order.collectionId);
  const counts = { loaded: 0, quarantined: 0, skipped: 0 };
  const waiting: Loading[] = [];
  let missing = 0;

  const write = (one: Shaped) => {
    for (const [name, line] of one.lines) outputs.get(name)!.output.add(line);
    ledger.add(one.ledger);
    if (one.error !== undefined) errors.add(one.error);
    counts[one.state as keyof typeof counts]++;
  };

  const breath = new Breath();
  try {
    for (let at = 0, next = 0; at < raw.byteLength; at = next) {
      await breath.take();
      next = at + raw.readInt32LE(at);
      const image = imageOf(raw.subarray(at, next), version);
      const lost = losers.size === 0 ? undefined : losers.get(image.id);
      const shaped = shaper.shape(
        image,
        settings,
        lost && { ...lost, message: lostMessage(mapping, lost.path, lost.winner) },
      );
      if (!isLoading(shaped)) write(shaped);
      else if (shaped.refers) waiting.push(shaped);
      else write(shaper.encode(shaped));
      for (const one of all) await one.flush(flushBytes);
    }
    const referring = waiting.map(({ id, outcome }) => ({ id, rows: Object.values(outcome).flat() as Row[] }));
    for (const one of await resolveReferences(resources.postgres, referring)) {
      unresolved.add(encodeUnresolved(order.collectionId, one.id, one.parent, one.column, one.key));
      missing++;
    }
    for (const held of waiting) {
      await breath.take();
      write(shaper.encode(held));
    }

    const files = [];
    for (const { target, output } of outputs.values())
      files.push({ store: target.store, target: target.name, ...(await output.close()) });
    const [ledgerFile, errorsFile, unresolvedFile] = [
      await ledger.close(),
      await errors.close(),
      await unresolved.close(),
    ];
    const manifest: Manifest = {
      ...counts,
      files,
      ledger: ledgerFile,
      errors: counts.quarantined > 0 ? errorsFile : undefined,
      unresolved: missing > 0 ? unresolvedFile : undefined,
      mappingVersion: mapping.version,
      settings: order.settings,
    };
    await saveLongKeys(resources.postgres);
    await spool.store(path, manifestFile, JSON.stringify(manifest));
    return counts;
  } finally {
    for (const one of all) await one.abandon();
  }
}
