// How the compiled reader takes plain values: straight from BSON bytes into COPY binary, without an object in between.
import { bsonType } from '../../../core/bson/reader.ts';
import type { Fast, FastOutput } from '../codec.ts';
import { numericFromDouble } from './numeric.ts';
import { int32, int64 } from './output.ts';
import { isPlainText } from './utf8.ts';

/** Plain text as a field. Short and ASCII, as almost all is: byte by byte, which no call of a library is faster than. */
export function writeText(out: FastOutput, bytes: Buffer, at: number, end: number): boolean {
  const length = end - at;
  out.room(length + 4);
  int32(out, length);
  const to = out.bytes;
  let next = out.at;
  if (length <= 64) {
    for (let i = at; i < end; i++) {
      const byte = bytes[i]!;
      if (byte === 0 || byte > 127) {
        if (!isPlainText(bytes, i, end)) return false;
        bytes.copy(to, next, i, end);
        break;
      }
      to[next++] = byte;
    }
  } else {
    if (!isPlainText(bytes, at, end)) return false;
    bytes.copy(to, next, at, end);
  }
  out.at += length;
  return true;
}

export const fastText: Fast = {
  write: (bytes, type, at, end, out) => type === bsonType.string && writeText(out, bytes, at + 4, end - 1),
};

export const fastInt: Fast = {
  write(bytes, type, at, _, out) {
    if (type !== bsonType.int) return false;
    const number = bytes.readInt32LE(at);
    if (number === -2_147_483_648) return false;
    out.room(8);
    int32(out, 4);
    int32(out, number);
    return true;
  },
};

export const fastBigint: Fast = {
  write(bytes, type, at, _, out) {
    out.room(12);
    if (type === bsonType.int) {
      const number = bytes.readInt32LE(at);
      int32(out, 8);
      int32(out, number < 0 ? -1 : 0);
      int32(out, number);
      return true;
    }
    if (type !== bsonType.long) return false;
    const [low, high] = [bytes.readInt32LE(at), bytes.readInt32LE(at + 4)];
    // A Long that an Int32 could say is not the natural form.
    if (high === low >> 31) return false;
    int32(out, 8);
    int32(out, high);
    int32(out, low);
    return true;
  },
};

export const fastDouble: Fast = {
  write(bytes, type, at, _, out) {
    if (type !== bsonType.double) return false;
    const number = bytes.readDoubleLE(at);
    if (!Number.isFinite(number) || Object.is(number, -0)) return false;
    out.room(12);
    int32(out, 8);
    out.bytes.writeDoubleBE(number, out.at);
    out.at += 8;
    return true;
  },
};

export const fastBool: Fast = {
  write(bytes, type, at, _, out) {
    if (type !== bsonType.bool || bytes[at]! > 1) return false;
    out.room(5);
    int32(out, 1);
    out.bytes[out.at++] = bytes[at]!;
    return true;
  },
};

export function fastDecimal(precision: number, scale: number): Fast {
  const before = 10 ** (precision - scale);
  return {
    write: (bytes, type, at, _, out) =>
      type === bsonType.double && numericFromDouble(out, bytes.readDoubleLE(at), scale, before),
  };
}

/** What PostgreSQL counts from. */
const epoch = 946_684_800_000_000;
const latest = 7_258_118_400_000_000;

/** Microseconds since 1970 as a timestamptz. */
export function writeInstant(out: FastOutput, micros: number): boolean {
  if (micros < 0 || micros >= latest) return false;
  out.room(12);
  int32(out, 8);
  int64(out, micros - epoch);
  return true;
}

export const fastInstant = (natural: 'date' | 'text'): Fast => ({
  write(bytes, type, at, end, out) {
    if (natural === 'text') {
      if (type !== bsonType.string || end - at !== 37) return false;
      const micros = isoMicros(bytes, at + 4);
      return writeInstant(out, micros);
    }
    if (type !== bsonType.date) return false;
    const high = bytes.readInt32LE(at + 4);
    return high >= 0 && high < 0x1000 && writeInstant(out, (high * 4_294_967_296 + bytes.readUInt32LE(at)) * 1000);
  },
});

function digits(bytes: Buffer, from: number, count: number): number {
  let number = 0;
  for (let i = from; i < from + count; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) return NaN;
    number = number * 10 + digit;
  }
  return number;
}

const suffix = Buffer.from('+08:00');
const lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** `2025-10-20T14:03:22.417803+08:00`, and nothing else; -1 for anything else. */
export function isoMicros(bytes: Buffer, at: number): number {
  if (bytes[at + 4] !== 45 || bytes[at + 7] !== 45 || bytes[at + 10] !== 84) return -1;
  if (bytes[at + 13] !== 58 || bytes[at + 16] !== 58 || bytes[at + 19] !== 46) return -1;
  for (let i = 0; i < 6; i++) if (bytes[at + 26 + i] !== suffix[i]) return -1;
  const [year, month, day] = [digits(bytes, at, 4), digits(bytes, at + 5, 2), digits(bytes, at + 8, 2)];
  const [hour, minute, second] = [digits(bytes, at + 11, 2), digits(bytes, at + 14, 2), digits(bytes, at + 17, 2)];
  const fraction = digits(bytes, at + 20, 6);
  // Written so that NaN fails.
  if (!(year >= 1970 && year < 2200 && month >= 1 && month <= 12 && day >= 1 && hour <= 23)) return -1;
  if (!(minute <= 59 && second <= 59 && fraction >= 0)) return -1;
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 1 : 0;
  if (day > lengths[month - 1]! + leap) return -1;
  const days = daysBefore(year, month) + day - 1;
  return (((days * 24 + hour - 8) * 60 + minute) * 60 + second) * 1_000_000 + fraction;
}

/** Days from 1970 to the first of a month. */
function daysBefore(year: number, month: number): number {
  const before = year - (month <= 2 ? 1 : 0);
  const century = Math.floor(before / 400);
  const ofEra = before - century * 400;
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5);
  return century * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468;
}
