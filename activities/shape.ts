// One document on its way into every target: transformed, encoded for its loaders, or set aside with a reason. No I/O.
import { serialize } from 'bson';
import xxhash from 'xxhash-wasm';
import { ownVault, type Vault } from '../control/vault.ts';
import { decodeDocument } from '../core/bson/decode.ts';
import { typeAt } from '../core/bson-type.ts';
import type { Version } from '../core/guard.ts';
import { sourceIdOf } from '../core/identity.ts';
import { Quarantined } from '../core/quarantine.ts';
import type { Mapping, Outcome } from '../mappings/mapping.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { transformDocument } from '../mappings/transform.ts';
import { encoderOf, type Encode } from '../stores/postgres/copy.ts';
import { encodeError, ledgerEncoder, type LedgerRow } from '../stores/postgres/ledger.ts';
import { Reference, type Row, type TableTarget } from '../stores/postgres/target.ts';
import type { KeyRow, KeysTarget } from '../stores/redis/target.ts';
import type { Target } from '../stores/store.ts';

const hasher = await xxhash();

/** xxHash64 of a document's BSON, signed as PostgreSQL keeps it. */
export const digestOf = (bytes: Uint8Array): bigint => BigInt.asIntN(64, hasher.h64Raw(bytes));

/** Why a document is set aside: the rule, the field's path and a sentence without the value. */
export interface Why {
  readonly rule: string;
  readonly path: string;
  readonly message: string;
}

/** A document as its loaders take it. `lines` are in the order of the mapping's targets; `held` waits for its references. */
export interface Shaped {
  readonly id: string;
  readonly version: Version;
  readonly state: 'loaded' | 'quarantined' | 'skipped' | 'deleted';
  readonly ledger: string;
  readonly error: string | undefined;
  readonly lines: readonly (readonly [target: string, line: string | Uint8Array])[];
  /** The document in each MongoDB target, and the keys in each Redis target. */
  readonly outcome: Outcome;
}

export interface Image {
  readonly id: string;
  readonly version: Version;
  readonly bytes: Uint8Array;
  readonly document: Record<string, unknown>;
  /** Its fields stand in an order that no target keeps: the ledger keeps its bytes. */
  readonly reordered: boolean;
}

/** A document that loads; its references may still have to be resolved. Kept without its decoded form, which is larger. */
export interface Loading extends Omit<Image, 'document'> {
  readonly digest: bigint;
  readonly outcome: Outcome;
  readonly refers: boolean;
}

/** Shapes the documents of one source collection. */
export class Shaper {
  readonly #mapping: Mapping;
  readonly #source: string;
  readonly #encoders: ReadonlyMap<string, (id: string, row: Outcome[string][number]) => string | Uint8Array>;
  readonly #ledger: (row: LedgerRow) => string;
  readonly #vault: Vault;
  readonly #timed: TableTarget | undefined;
  readonly #keyed: readonly KeysTarget[];

  /** `vault`: encrypts documents that are set aside, whoever writes them. */
  constructor(mapping: Mapping, source: string, collectionId: number, vault: Vault = ownVault()) {
    this.#mapping = mapping;
    this.#vault = vault;
    this.#source = source;
    this.#encoders = new Map(
      mapping.targets.filter((target) => target.store !== 'files').map((target) => [target.name, encoderFor(target)]),
    );
    this.#ledger = ledgerEncoder(collectionId, mapping.version);
    this.#timed = mapping.targets.find(
      (target): target is TableTarget => target.store === 'postgres' && (target as TableTarget).time !== undefined,
    );
    this.#keyed = mapping.targets.filter((target): target is KeysTarget => target.store === 'redis');
  }

  /** `lost`: another document keeps a unique value of this one. */
  shape(image: Image, settings: TransformSettings, lost?: Why): Shaped | Loading {
    const { id, version, bytes, document, reordered } = image;
    const digest = digestOf(bytes);
    if (lost) return this.setAside(image, lost, digest);
    const result = transformDocument(this.#mapping, document, settings);
    if (result.state === 'loaded')
      return { id, version, bytes, reordered, digest, outcome: result.outcome, refers: hasReference(result.outcome) };
    if (result.state === 'quarantined') return this.setAside(image, result, digest);
    const row = { sourceId: id, version, state: 'skipped' as const, rule: result.rule, digest };
    return this.#shaped(image, 'skipped', this.#ledger(row));
  }

  /** Encodes all of a document's rows: what a column cannot take sets the document aside as a whole. */
  encode({ digest, outcome, ...image }: Loading): Shaped {
    const lines: [string, string | Uint8Array][] = [];
    try {
      for (const [name, rows] of Object.entries(outcome)) {
        const encode = this.#encoders.get(name)!;
        for (const one of rows) lines.push([name, encode(image.id, one)]);
      }
    } catch (error) {
      if (!(error instanceof Quarantined) && !(error instanceof TypeError)) throw error;
      const { rule, path } = error instanceof Quarantined ? error : { rule: 'mapping_failed', path: '' };
      return this.setAside(
        { ...image, ...decodeDocument(image.bytes) },
        { rule, path, message: error.message },
        digest,
      );
    }
    const { id, version, bytes, reordered } = image;
    const place = this.#timed && ((outcome[this.#timed.name]?.[0] as Row | undefined)?.[this.#timed.time!] as number);
    const ledger = this.#ledger({
      sourceId: id,
      version,
      state: 'loaded',
      digest,
      place,
      keys: this.keysOf(outcome, version).map((key) => this.#vault.sealText('redis key', key)),
      kept: reordered ? this.#vault.sealKept(bytes) : undefined,
    });
    return { id, version, state: 'loaded', ledger, error: undefined, lines, outcome };
  }

  setAside(image: Image, why: Why, digest = digestOf(image.bytes)): Shaped {
    const { id: key, version, document } = image;
    const error = encodeError({
      collection: this.#mapping.collection,
      sourceCollection: this.#source,
      sourceId: key,
      mappingVersion: this.#mapping.version,
      rule: why.rule,
      path: why.path,
      message: why.message,
      document: this.aside(image),
      bsonType: this.typeFound(document, why.path),
    });
    const row = { sourceId: key, version, state: 'quarantined' as const, rule: why.rule, digest };
    return { ...this.#shaped(image, 'quarantined', this.#ledger(row)), error };
  }

  /** A quarantined document as JSON: the whole of it, encrypted. */
  aside({ id, bytes }: Pick<Image, 'id' | 'bytes'>): string {
    return JSON.stringify(this.#vault.seal({ collection: this.#mapping.collection, sourceId: id }, bytes));
  }

  /** Of what stands at `path`, which names fields by their first names. */
  typeFound(document: Record<string, unknown>, path: string): string {
    const found = typeAt(document, path);
    if (found !== 'missing') return found;
    const [first, ...rest] = path.split('.');
    const others = Object.entries(this.#mapping.otherNames).flatMap(([other, name]) => (name === first ? [other] : []));
    const types = others.map((other) => typeAt(document, [other, ...rest].join('.')));
    return types.find((type) => type !== 'missing') ?? 'missing';
  }

  tombstone(id: string, version: Version): Shaped {
    const row = { sourceId: id, version, state: 'skipped' as const, digest: 0n, deleted: true };
    return this.#shaped({ id, version }, 'deleted', this.#ledger(row));
  }

  get hasKeys(): boolean {
    return this.#keyed.length > 0;
  }

  /** Redis keys that a document has as of its version, prefix included: what had expired by then has none. */
  keysOf(outcome: Outcome, version: Version): string[] {
    const asOf = Number(version.time >> 32n) * 1000;
    return this.#keyed.flatMap(({ name, prefix }) =>
      ((outcome[name] ?? []) as readonly KeyRow[]).filter((row) => row.expiresAt > asOf).map((row) => prefix + row.key),
    );
  }

  #shaped({ id, version }: Pick<Image, 'id' | 'version'>, state: Shaped['state'], ledger: string): Shaped {
    return { id, version, state, ledger, error: undefined, lines: [], outcome: {} };
  }
}

export const isLoading = (shaped: Shaped | Loading): shaped is Loading => 'refers' in shaped;

export function imageOf(bytes: Uint8Array, version: Version): Image {
  return { id: sourceIdOf(bytes), version, bytes, ...decodeDocument(bytes) };
}

/** What the ledger keeps of a document beside its digest: its bytes, encrypted, where no target holds the order of its fields. */
export const keptOf = (bytes: Uint8Array | undefined): Buffer | undefined =>
  bytes && decodeDocument(bytes).reordered ? ownVault().sealKept(bytes) : undefined;

/** A row per line for PostgreSQL, BSON for MongoDB, a JSON line per key for Redis, nothing for projections of a table. */
function encoderFor(target: Target): (id: string, row: Outcome[string][number]) => string | Uint8Array {
  if (target.store === 'postgres')
    return encoderOf(target as TableTarget) as Encode as (id: string, row: unknown) => string;
  if (target.store === 'mongodb')
    return (_, document) => serialize(document as Record<string, unknown>, { ignoreUndefined: true });
  if (target.store === 'redis') return (id, row) => `${JSON.stringify({ ...(row as KeyRow), sourceId: id })}\n`;
  throw new TypeError(`target ${target.name} of store ${target.store} takes no rows`);
}

function hasReference(outcome: Outcome): boolean {
  for (const name in outcome)
    for (const row of outcome[name]!)
      for (const column in row) if ((row as Row)[column] instanceof Reference) return true;
  return false;
}
