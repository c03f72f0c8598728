// A column's value as BSON: the type and the spelling of the value it replaces first, then the natural ones.
import { Decimal128, Double, Int32, Long, ObjectId } from 'bson';
import { idFromSourceId } from '../../core/identity.ts';
import { Parent, type ColumnType } from '../../stores/postgres/target.ts';
import { canonicalDecimal } from './json.ts';
import { timesLike, type TimeForm } from './times.ts';

export interface Hints {
  /** Of times written without a zone. */
  readonly zone: string;
  /** How a time is written where nothing says it. */
  readonly time: TimeForm;
  /** The source is known to write null into the field. */
  readonly nullable: boolean;
}

/** Values that may stand for the column's, best first; undefined is an absent field. The forward mapping decides which one does. */
export function valuesLike(type: ColumnType, value: unknown, old: unknown, hints: Hints): unknown[] {
  if (value === null || value === undefined)
    return hints.nullable || old === null ? [null, undefined, ''] : [undefined, null, ''];
  if (value instanceof Parent) return owners(value, old);
  switch (type) {
    case 'text':
      return textsLike(String(value), old);
    case 'boolean':
      return booleansLike(value === true, old);
    case 'timestamptz':
      return timesLike(value as number, old, hints.zone, hints.time);
    case 'date':
      return daysLike(String(value), old);
    case 'bigint':
    case 'integer':
      return [...numbersLike(String(value), old), ...wholeNumbers(String(value))];
    default: {
      const text = withoutZeros(String(value));
      return [...numbersLike(text, old), ...fractions(text)];
    }
  }
}

/** A column of a fixed scale shows zeros that nobody wrote. */
const withoutZeros = (text: string): string => (/^-?\d+\.\d+$/.test(text) ? text.replace(/\.?0+$/, '') : text);

export function textsLike(text: string, old: unknown): unknown[] {
  if (old instanceof ObjectId && /^[0-9a-f]{24}$/.test(text)) return [new ObjectId(text), text];
  return [...(typeof old === 'object' ? numbersLike(text, old) : []), text];
}

export function booleansLike(value: boolean, old: unknown): unknown[] {
  if (old instanceof Int32) return [new Int32(value ? 1 : 0), value];
  if (old instanceof Double) return [new Double(value ? 1 : 0), value];
  if (typeof old !== 'string') return [value];
  const pair = [
    ['true', 'false'],
    ['True', 'False'],
    ['TRUE', 'FALSE'],
    ['yes', 'no'],
    ['1', '0'],
    ['on', 'off'],
  ].find((words) => words.includes(old.trim()));
  return [...(pair ? [pair[value ? 0 : 1]] : []), value, String(value)];
}

function daysLike(day: string, old: unknown): unknown[] {
  if (old instanceof Date) return [new Date(`${day}T00:00:00Z`), day];
  if (typeof old !== 'string') return [day];
  const rest = /^\s*\d{4}-?\d{2}-?\d{2}(.*)$/.exec(old)?.[1] ?? '';
  const short = /^\s*\d{8}/.test(old) ? [day.replaceAll('-', '') + rest] : [day + rest];
  return [...short, day];
}

const signs = /^([\s¥￥$€]*).*?([\s元¥￥$€]*)$/s;

/** Only values that say exactly this number. */
export function numbersLike(text: string, old: unknown): unknown[] {
  const whole = wholeOf(text);
  if (old instanceof Double) return doubles(text);
  if (old instanceof Int32) return whole === undefined ? [] : int32(whole);
  if (old instanceof Long) return whole === undefined ? [] : long(whole);
  if (old instanceof Decimal128) return decimal(text);
  if (typeof old === 'string') {
    const [, before, after] = signs.exec(old)!;
    return [`${before}${text}${after}`, text];
  }
  if (old === null || typeof old !== 'object') return [];
  const [key, more] = Object.keys(old);
  return key?.startsWith('$number') && more === undefined ? [{ [key]: text }] : [];
}

const wholeNumbers = (text: string): unknown[] => {
  const whole = wholeOf(text);
  return whole === undefined ? [] : [...int32(whole), ...long(whole), ...doubles(text)];
};
const fractions = (text: string): unknown[] => [...doubles(text), ...decimal(text)];

function wholeOf(text: string): bigint | undefined {
  const plain = text.replace(/\.0*$/, '');
  return /^-?\d+$/.test(plain) ? BigInt(plain) : undefined;
}
const int32 = (whole: bigint): unknown[] =>
  BigInt.asIntN(32, whole) === whole ? [new Int32(Number(whole))] : long(whole);
const long = (whole: bigint): unknown[] => (BigInt.asIntN(64, whole) === whole ? [Long.fromBigInt(whole)] : []);
const doubles = (text: string): unknown[] =>
  canonicalDecimal(String(Number(text))) === canonicalDecimal(text) || Number.isNaN(Number(text))
    ? [new Double(Number(text))]
    : [];
function decimal(text: string): unknown[] {
  try {
    return [Decimal128.fromString(text)];
  } catch {
    return [];
  }
}

/** The owner as the field named the one before: an ObjectId, or text; by a name where the id cannot be written as text. */
function owners({ values }: Parent, old: unknown): unknown[] {
  const { source_id: source, ...names } = values;
  const id = source === undefined ? undefined : idFromSourceId(source);
  const hex = id instanceof ObjectId ? id : undefined;
  const byId = hex ? (old instanceof ObjectId ? [hex, hex.toHexString()] : [hex.toHexString(), hex]) : [id];
  return [...byId, ...Object.values(names)].filter((value) => value !== undefined);
}
