// Equality: of decoded BSON values by their bytes, and of column values by what PostgreSQL holds.
import { Double, Int32, serialize } from 'bson';
import { canonicalDecimal, canonicalJson } from '../back/json.ts';
import { roundHalfEven } from '../fields/number.ts';
import { Parent, Reference } from '../../stores/postgres/target.ts';
import type { SqlType } from './codec.ts';

/** Whether both are written in the same bytes; undefined is an absent field. */
export function sameBson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a === null || b === null) return false;
  if (typeof a !== 'object' || typeof b !== 'object') return false;
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof Int32 || b instanceof Int32) return a instanceof Int32 && b instanceof Int32 && a.value === b.value;
  if (a instanceof Double || b instanceof Double)
    return a instanceof Double && b instanceof Double && !Number.isNaN(a.value) && Object.is(a.value, b.value);
  return Buffer.compare(serialize({ v: a }), serialize({ v: b })) === 0;
}

/** The same text for values that a column of the type holds as one. */
export function canonOf(type: SqlType, value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (value instanceof Parent) return `${value.table} ${value.id}`;
  if (value instanceof Reference) return canonicalJson(value);
  if (Array.isArray(value) && type.endsWith('[]'))
    return `[${value.map((one) => canonOf(type.slice(0, -2) as SqlType, one)).join(',')}]`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  switch (type) {
    case 'jsonb':
      return canonicalJson(value);
    case 'timestamptz':
      return String(value as number);
    case 'double precision':
      return canonicalDecimal(String(Number(value)));
    case 'bigint':
    case 'integer':
      return canonicalDecimal(String(value as bigint));
    default:
      return type.startsWith('numeric') ? canonOfNumeric(type, String(value as string)) : JSON.stringify(value);
  }
}

function canonOfNumeric(type: string, text: string): string {
  const scale = Number(/,(\d+)/.exec(type)![1]);
  // PostgreSQL rounds a half away from zero: one more digit makes it more than a half.
  const beyond = (/^[+-]?\d*\.(\d+)$/.exec(text)?.[1]?.length ?? 0) > scale ? `${text}1` : text;
  return canonicalDecimal(/^[+-]?[\d.]/.test(text) ? roundHalfEven(beyond, scale).text : text);
}

/** Whether a column holds the same: a reference is the same as the row it would find. */
export function sameColumn(type: SqlType, a: unknown, b: unknown): boolean {
  if (a instanceof Reference && b instanceof Parent) return finds(a, b);
  if (b instanceof Reference && a instanceof Parent) return finds(b, a);
  if (a instanceof Parent && b instanceof Parent) return a.table === b.table && a.id === b.id;
  return canonOf(type, a) === canonOf(type, b);
}

const finds = ({ candidates }: Reference, { values }: Parent): boolean =>
  candidates.some(([by, key]) => values[by] === key);
