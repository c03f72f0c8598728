// The residual's JSON straight from bytes: for fields that nobody declared and whose JSON says all of them. Anything else takes the slow path.
import { bsonType } from '../../../core/bson/reader.ts';
import type { FastOutput } from '../codec.ts';
import { isPlainText } from './utf8.ts';

const strange = new Set(['__proto__', '_causeway', '_bsontype', 'toBSON', 'constructor']);

/** Names in which JSON changes nothing, and which objects keep in their order. */
export function isPlainName(bytes: Buffer, at: number, end: number): boolean {
  const first = bytes[at]!;
  if (end === at || (first >= 48 && first <= 57)) return false;
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!;
    const letter = (byte >= 97 && byte <= 122) || (byte >= 65 && byte <= 90);
    if (!letter && byte !== 95 && !(byte >= 48 && byte <= 57)) return false;
  }
  return (first !== 95 && end - at !== 6 && end - at !== 11) || !strange.has(bytes.toString('latin1', at, end));
}

function ascii(out: FastOutput, text: string): void {
  out.room(text.length);
  for (let i = 0; i < text.length; i++) out.bytes[out.at + i] = text.charCodeAt(i);
  out.at += text.length;
}

function copied(out: FastOutput, bytes: Buffer, at: number, end: number): void {
  out.room(end - at + 2);
  const to = out.bytes;
  let next = out.at;
  to[next++] = 34;
  if (end - at > 64) next += bytes.copy(to, next, at, end);
  else for (let i = at; i < end; i++) to[next++] = bytes[i]!;
  to[next++] = 34;
  out.at = next;
}

/** `"name":value`, or false. `rest`, from `place` on: type, where the name begins and ends, where the value does. */
export function writeJson(out: FastOutput, bytes: Buffer, rest: Int32Array, place: number): boolean {
  const [type, at, end] = [rest[place]!, rest[place + 3]!, rest[place + 4]!];
  copied(out, bytes, rest[place + 1]!, rest[place + 2]!);
  out.room(1);
  out.bytes[out.at++] = 58;
  switch (type) {
    case bsonType.string:
      for (let i = at + 4; i < end - 1; i++) if (bytes[i]! < 32 || bytes[i] === 34 || bytes[i] === 92) return false;
      if (!isPlainText(bytes, at + 4, end - 1)) return false;
      copied(out, bytes, at + 4, end - 1);
      return true;
    case bsonType.null:
      ascii(out, 'null');
      return true;
    case bsonType.bool:
      if (bytes[at]! > 1) return false;
      ascii(out, bytes[at] === 1 ? 'true' : 'false');
      return true;
    case bsonType.int: {
      const number = bytes.readInt32LE(at);
      if (number === -2_147_483_648) return false;
      ascii(out, String(number));
      return true;
    }
    case bsonType.double: {
      const number = bytes.readDoubleLE(at);
      if (!Number.isFinite(number) || Number.isInteger(number)) return false;
      ascii(out, String(number));
      return true;
    }
    case bsonType.date: {
      const high = bytes.readInt32LE(at + 4);
      if (high < 0 || high > 2_000_000) return false;
      ascii(out, '{"$date":{"$numberLong":"');
      digits(out, high * 4_294_967_296 + bytes.readUInt32LE(at));
      ascii(out, '"}}');
      return true;
    }
    case bsonType.objectId:
      ascii(out, '{"$oid":"');
      hex(out, bytes, at);
      ascii(out, '"}');
      return true;
    default:
      return false;
  }
}

const places = new Uint8Array(20);

function digits(out: FastOutput, number: number): void {
  let count = 0;
  let rest = number;
  do {
    const higher = Math.floor(rest / 10);
    places[count++] = 48 + (rest - higher * 10);
    rest = higher;
  } while (rest > 0);
  out.room(count);
  while (count > 0) out.bytes[out.at++] = places[--count]!;
}

const hexDigits = Buffer.from('0123456789abcdef');

/** The twelve bytes of an ObjectId. */
export function hex(out: FastOutput, bytes: Buffer, at: number): void {
  out.room(24);
  for (let i = at; i < at + 12; i++) {
    out.bytes[out.at++] = hexDigits[bytes[i]! >> 4]!;
    out.bytes[out.at++] = hexDigits[bytes[i]! & 15]!;
  }
}
