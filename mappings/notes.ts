// What a transform wants remembered about one document: conversions that were not plain, and values no column can hold.
import { Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import { setOwn } from '../core/bson/decode.ts';
import { valueOfText } from '../core/bson/parse.ts';
import { bufferOf, elementsIn } from '../core/bson/reader.ts';

/**
 * The residual of one document. `residual()` returns what belongs under `_causeway` in the row's jsonb column, or undefined when
 * every field can be rebuilt from the columns alone: `{ warnings: [rule...], original: { path: canonical Extended JSON } }`.
 */
export class Notes {
  #warnings: string[] | undefined;
  #original: Record<string, unknown> | undefined;

  /** The value at `path` was converted in a way a person may want to know of; `rule` is a short name such as `timestamp_zone_assumed`. */
  warn(rule: string): void {
    this.#warnings ??= [];
    if (!this.#warnings.includes(rule)) this.#warnings.push(rule);
  }

  /** Keeps the source's value, because the column's value alone does not give it back: in Extended JSON, and in its bytes where that is not enough. */
  keep(path: string, value: unknown): void {
    setOwn((this.#original ??= {}), path, keptForm(value));
  }

  /** Keeps the bytes of the value at `path`. */
  keepBytes(path: string, value: unknown): void {
    setOwn((this.#original ??= {}), path, inBytes(value));
  }

  get warnings(): readonly string[] {
    return this.#warnings ?? [];
  }

  residual(): Record<string, unknown> | undefined {
    if (!this.#warnings && !this.#original) return undefined;
    return { ...(this.#warnings && { warnings: this.#warnings }), ...(this.#original && { original: this.#original }) };
  }
}

/** What was kept, as Extended JSON. */
export function keptJson(kept: unknown): unknown {
  if (Array.isArray(kept)) return kept.map(keptJson);
  if (kept === null || typeof kept !== 'object') return kept;
  const { $utf8: encoded, ...more } = kept as { $utf8?: unknown };
  if (typeof encoded === 'string' && Object.keys(more).length === 0)
    return Buffer.from(encoded, 'base64').toString('utf8');
  return renamed(kept, keptJson);
}

function keptForm(value: unknown): unknown {
  if (typeof value === 'string') return withoutNul(value);
  const json = withoutNul(EJSON.serialize({ v: value }, { relaxed: false })['v']);
  return isPlainly(value) || isPlainTree(value) || isThere(json, value) ? json : inBytes(value);
}

/** Lists and documents of such values, under names that no order, path or Extended JSON takes for something else. */
export function isPlainTree(value: unknown): boolean {
  if (typeof value === 'string') return !value.includes('\u0000');
  if (value instanceof Double) return Number.isFinite(value.value);
  if (isPlainly(value)) return true;
  if (Array.isArray(value)) return value.every(isPlainTree);
  if (typeof value !== 'object' || value === null) return false;
  if ('_bsontype' in value || value instanceof RegExp) return false;
  for (const name in value)
    if (
      !/^[A-Za-z_][\w-]*$/.test(name) ||
      name === '__proto__' ||
      !isPlainTree((value as Record<string, unknown>)[name])
    )
      return false;
  return true;
}

/** Values that Extended JSON is known to give back. */
export const isPlainly = (value: unknown): boolean =>
  value === null ||
  typeof value === 'string' ||
  typeof value === 'boolean' ||
  value instanceof Int32 ||
  value instanceof Double ||
  value instanceof Long ||
  value instanceof Date ||
  value instanceof ObjectId;

function isThere(json: unknown, value: unknown): boolean {
  const { type, bytes } = bytesOf(value);
  const back = valueOfText(JSON.stringify(keptJson(json)));
  return back?.type === type && Buffer.compare(back.bytes, bytes) === 0;
}

function inBytes(value: unknown): { readonly $bson: string } {
  const { type, bytes } = bytesOf(value);
  return { $bson: type.toString(16).padStart(2, '0') + bytes.toString('hex') };
}

function bytesOf(value: unknown): { readonly type: number; readonly bytes: Buffer } {
  const document = bufferOf(serialize({ v: value }));
  const { type, at, end } = [...elementsIn(document)][0]!;
  return { type, bytes: document.subarray(at, end) };
}

/** jsonb takes no U+0000, so text that has one is kept as `{ $utf8: base64 }`. */
function withoutNul(value: unknown): unknown {
  if (typeof value === 'string')
    return value.includes('\u0000') ? { $utf8: Buffer.from(value, 'utf8').toString('base64') } : value;
  if (Array.isArray(value)) return value.map(withoutNul);
  return value === null || typeof value !== 'object' ? value : renamed(value, withoutNul);
}

/** The same names, `__proto__` too. */
function renamed(value: object, make: (inner: unknown) => unknown): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) setOwn(result, key, make(inner));
  return result;
}
