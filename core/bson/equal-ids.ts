// Ids that are one to a MongoDB server, though their bytes differ: numbers of equal value, whatever their type and wherever they stand.
import { Decimal128, serialize } from 'bson';
import { bsonType, bufferOf, elementsIn } from './reader.ts';
import { textOfValue } from './text.ts';

/** The same text for ids that are equal to the server. */
export function serverKeyOf(id: unknown): string {
  const bytes = bufferOf(serialize({ v: id }, { ignoreUndefined: false }));
  const [value] = elementsIn(bytes);
  return keyOf(value!.type, bytes.subarray(value!.at, value!.end));
}

function keyOf(type: number, bytes: Buffer): string {
  switch (type) {
    case bsonType.int:
      return `n${exact(BigInt(bytes.readInt32LE()), 0)}`;
    case bsonType.long:
      return `n${exact(bytes.readBigInt64LE(), 0)}`;
    case bsonType.double:
      return `n${exactDouble(bytes.readDoubleLE())}`;
    case bsonType.decimal:
      return `n${exactDecimal(new Decimal128(Buffer.from(bytes)).toString())}`;
    case bsonType.symbol:
      return textOfValue(bsonType.string, bytes);
    case bsonType.object:
    case bsonType.array:
      return `${type === bsonType.array ? 'a' : 'o'}{${[...elementsIn(bytes)]
        .map(
          ({ type: inner, nameAt, nameEnd, at, end }) =>
            `${bytes.toString('hex', nameAt, nameEnd)}:${keyOf(inner, bytes.subarray(at, end))}`,
        )
        .join(',')}}`;
    default:
      return textOfValue(type, bytes);
  }
}

/** digits * 10^exponent, without zeros at the end of the digits. */
function exact(digits: bigint, exponent: number): string {
  if (digits === 0n) return '0';
  const text = digits.toString().replace(/0+$/, (zeros) => {
    exponent += zeros.length;
    return '';
  });
  return `${text}e${exponent}`;
}

const eight = Buffer.alloc(8);

/** A double is a whole number times a power of two, and so a decimal. */
function exactDouble(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  eight.writeDoubleBE(value);
  const bits = eight.readBigUInt64BE();
  const power = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  const whole = (power === 0 ? fraction : fraction | (1n << 52n)) * (value < 0 ? -1n : 1n);
  const exponent = (power === 0 ? 1 : power) - 1075;
  return exponent >= 0 ? exact(whole << BigInt(exponent), 0) : exact(whole * 5n ** BigInt(-exponent), exponent);
}

function exactDecimal(text: string): string {
  const found = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]?\d+))?$/.exec(text);
  if (!found) return text;
  const [, minus, whole, fraction = '', exponent = '0'] = found;
  const digits = BigInt(`${whole}${fraction}`) * (minus ? -1n : 1n);
  return exact(digits, Number(exponent) - fraction.length);
}
