// Numbers as they are met: Int32, Long, Double, Decimal128, text, currency signs, NaN and infinities.
import { Decimal128, Double, Int32, Long } from 'bson';

export type NumberRead =
  | {
      readonly is: 'number';
      /** Shortest decimal text that gives the value back. */ readonly text: string;
      readonly plain: boolean;
    }
  | { readonly is: 'nan' | 'infinite' | 'not a number' | 'missing' };

const decimalText = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const signs = /^[\s¥￥$€]+|[\s元¥￥$€]+$/g;

/** `plain` is true where the BSON type is the one the application writes for fractions (Double); text and other types are not. */
export function readNumber(value: unknown): NumberRead {
  if (value instanceof Double) return fromDouble(value.value, true);
  if (value === null || value === undefined) return { is: 'missing' };
  if (value instanceof Int32) return { is: 'number', text: String(value.value), plain: false };
  if (value instanceof Long) return { is: 'number', text: value.toString(), plain: false };
  if (value instanceof Decimal128) return fromText(value.toString());
  if (typeof value === 'number') return fromDouble(value, false);
  if (typeof value === 'string') return fromText(value.replace(signs, ''));
  return readExtendedJson(value);
}

const extendedJson = ['$numberDecimal', '$numberDouble', '$numberInt', '$numberLong'];

/** `{ $numberDecimal: "0.05" }` stored as a document, by tools that inserted Extended JSON as it was. */
function readExtendedJson(value: unknown): NumberRead {
  const [entry, more] = Object.entries(value as object);
  if (!entry || more || !extendedJson.includes(entry[0]) || typeof entry[1] !== 'string') return { is: 'not a number' };
  return fromText(entry[1]);
}

function fromDouble(value: number, plain: boolean): NumberRead {
  if (Number.isNaN(value)) return { is: 'nan' };
  if (!Number.isFinite(value)) return { is: 'infinite' };
  return Object.is(value, -0)
    ? { is: 'number', text: '0', plain: false }
    : { is: 'number', text: String(value), plain };
}

function fromText(text: string): NumberRead {
  if (/^nan$/i.test(text)) return { is: 'nan' };
  if (/^[+-]?inf(inity)?$/i.test(text)) return { is: 'infinite' };
  if (!decimalText.test(text)) return { is: 'not a number' };
  return { is: 'number', text: text.replace(/^\+/, ''), plain: false };
}

/** Digits before and after the point of a decimal text, the exponent worked in. `[negative, whole, fraction]`. */
function spread(text: string): [boolean, string, string] {
  const found = /^(-?)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(text);
  if (!found) throw new RangeError('not a decimal text');
  const [, minus, whole = '', fraction = '', exponent = '0'] = found;
  const digits = whole + fraction;
  const point = whole.length + Number(exponent);
  if (point <= 0) return [minus === '-', '0', '0'.repeat(-point) + digits];
  return [minus === '-', digits.slice(0, point).padEnd(point, '0'), digits.slice(point)];
}

/** Rounds a decimal text half to even at `scale` digits. `exact` is false when digits were lost. Works on text: no binary float. */
export function roundHalfEven(text: string, scale: number): { text: string; exact: boolean } {
  if (!text.includes('e') && !text.includes('E')) {
    const point = text.indexOf('.');
    if (point < 0 || text.length - point - 1 <= scale) return { text, exact: true };
  }
  const [negative, whole, fraction] = spread(text);
  const kept = BigInt(whole + fraction.slice(0, scale).padEnd(scale, '0'));
  const rest = fraction.slice(scale).replace(/0+$/, '');
  const half = rest === '5';
  const up = rest > '5' || (half && kept % 2n === 1n);
  const rounded = (kept + (up ? 1n : 0n)).toString().padStart(scale + 1, '0');
  const digits = scale === 0 ? rounded : `${rounded.slice(0, -scale)}.${rounded.slice(-scale)}`;
  return { text: negative && /[1-9]/.test(digits) ? `-${digits}` : digits, exact: rest === '' };
}

export type IntegerRead =
  | {
      readonly is: 'integer';
      readonly value: number | bigint;
      /** Int32, or Long beyond it: what the driver writes for a whole number. */ readonly plain: boolean;
    }
  | { readonly is: 'fraction' | 'not a number' | 'missing' };

/** Whole numbers: Int32, Long, an integral Double or decimal text. */
export function readInteger(value: unknown): IntegerRead {
  if (value instanceof Int32) return { is: 'integer', value: value.value, plain: true };
  if (value === null || value === undefined) return { is: 'missing' };
  if (value instanceof Long) {
    const number = value.toNumber();
    if (!Number.isSafeInteger(number)) return { is: 'integer', value: value.toBigInt(), plain: true };
    return { is: 'integer', value: number, plain: number > 2147483647 || number < -2147483648 };
  }
  const read = readNumber(value);
  if (read.is === 'missing') return { is: 'missing' };
  if (read.is !== 'number') return { is: 'not a number' };
  const [negative, whole, fraction] = spread(read.text);
  if (/[1-9]/.test(fraction)) return { is: 'fraction' };
  const integer = BigInt(whole) * (negative ? -1n : 1n);
  const small = Number(integer);
  return { is: 'integer', value: Number.isSafeInteger(small) ? small : integer, plain: false };
}
