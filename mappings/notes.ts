// What a transform wants remembered about one document: conversions that were not plain, and values no column can hold.
import { EJSON } from 'bson';

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

  /** Keeps the source's value, because the column's value alone does not give it back. */
  keep(path: string, value: unknown): void {
    const plain: unknown = typeof value === 'string' ? value : EJSON.serialize({ v: value }, { relaxed: false })['v'];
    (this.#original ??= {})[path] = withoutNul(plain);
  }

  get warnings(): readonly string[] {
    return this.#warnings ?? [];
  }

  residual(): Record<string, unknown> | undefined {
    if (!this.#warnings && !this.#original) return undefined;
    return { ...(this.#warnings && { warnings: this.#warnings }), ...(this.#original && { original: this.#original }) };
  }
}

/** jsonb takes no U+0000, so text that has one is kept as `{ $utf8: base64 }`. */
function withoutNul(value: unknown): unknown {
  if (typeof value === 'string')
    return value.includes('\u0000') ? { $utf8: Buffer.from(value, 'utf8').toString('base64') } : value;
  if (Array.isArray(value)) return value.map(withoutNul);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutNul(inner)]));
}
