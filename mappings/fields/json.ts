// Any BSON value as JSON that PostgreSQL's jsonb accepts, keeping what JSON cannot say.
import { Decimal128, Double, EJSON, Int32, Long } from 'bson';
import { setOwn } from '../../core/bson/decode.ts';
import type { Notes } from '../notes.ts';

/**
 * Plain JSON where it says the same: text, booleans, null, Int32, fractional and integral Doubles as numbers.
 * Other BSON types become canonical Extended JSON objects. NaN and infinities become null and NUL characters are removed;
 * in both cases, and for integral Doubles, the original is kept in the notes under its path.
 */
export function toJson(value: unknown, path: string, notes: Notes): unknown {
  if (typeof value === 'string') return plainText(value, path, notes);
  if (value === null || typeof value === 'boolean') return value;
  if (value instanceof Int32) return value.value;
  if (value instanceof Double) return plainDouble(value, path, notes);
  if (value === undefined) return null;
  if (Array.isArray(value)) return value.map((item, i) => toJson(item, `${path}.${i}`, notes));
  if (typeof value === 'number') return Number.isFinite(value) ? value : notFinite(value, path, notes);
  // What EJSON makes of a date, without its detours: almost every document has one.
  if (value instanceof Date) return { $date: { $numberLong: String(value.getTime()) } };
  if (isBsonScalar(value)) return EJSON.serialize({ v: value }, { relaxed: false })['v'];
  const result: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value as object)) {
    setOwn(result, plainText(key, `${path}.${key}`, notes), toJson(inner, `${path}.${key}`, notes));
  }
  return result;
}

/** A BSON value that is one thing, though JavaScript shows it as an object. */
export function isBsonScalar(value: unknown): boolean {
  if (value instanceof Date || value instanceof RegExp || value instanceof Long || value instanceof Decimal128)
    return true;
  return typeof value === 'object' && value !== null && '_bsontype' in value;
}

function plainText(value: string, path: string, notes: Notes): string {
  if (!value.includes('\u0000')) return value;
  notes.warn('nul_removed');
  notes.keep(path, value);
  return value.replaceAll('\u0000', '');
}

function plainDouble(value: Double, path: string, notes: Notes): number | null {
  const number = value.value;
  if (!Number.isFinite(number)) return notFinite(value, path, notes);
  if (Number.isInteger(number)) notes.keep(path, value);
  return Object.is(number, -0) ? 0 : number;
}

function notFinite(value: unknown, path: string, notes: Notes): null {
  notes.warn('not_finite_to_null');
  notes.keep(path, value);
  return null;
}
