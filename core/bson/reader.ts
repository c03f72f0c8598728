// BSON as bytes: where each element of a document begins and ends, checked before it is believed. Nothing is decoded here.

/** BSON types by their byte. */
export const bsonType = {
  double: 0x01,
  string: 0x02,
  object: 0x03,
  array: 0x04,
  binary: 0x05,
  undefined: 0x06,
  objectId: 0x07,
  bool: 0x08,
  date: 0x09,
  null: 0x0a,
  regex: 0x0b,
  dbPointer: 0x0c,
  code: 0x0d,
  symbol: 0x0e,
  codeWithScope: 0x0f,
  int: 0x10,
  timestamp: 0x11,
  long: 0x12,
  decimal: 0x13,
  minKey: 0xff,
  maxKey: 0x7f,
} as const;

/** Bytes that are no BSON; `at` is where that shows. */
export class MalformedBson extends Error {
  override readonly name = 'MalformedBson';
  readonly at: number;
  constructor(what: string, at: number) {
    super(`${what} at byte ${at}`);
    this.at = at;
  }
}

/** One element of a document, as offsets into its bytes. */
export interface Extent {
  readonly type: number;
  readonly nameAt: number;
  readonly nameEnd: number;
  readonly at: number;
  readonly end: number;
}

/** The same memory, with the methods that numbers are read by. */
export const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Where the document that begins at `at` ends; it lies within `limit`. */
export function endOfDocument(bytes: Buffer, at: number, limit: number): number {
  if (at + 5 > limit) throw new MalformedBson('a document is cut off', at);
  const length = bytes.readInt32LE(at);
  const end = at + length;
  if (length < 5 || end > limit || bytes[end - 1] !== 0) throw new MalformedBson('a document has a wrong length', at);
  return end;
}

/** The elements of the document at `at`, in their order. `end`: of the document. */
export function* elementsIn(bytes: Buffer, at = 0, end = endOfDocument(bytes, at, bytes.length)): Generator<Extent> {
  let next = at + 4;
  while (next < end - 1) {
    const type = bytes[next]!;
    const nameAt = next + 1;
    const nameEnd = endOfName(bytes, nameAt, end);
    const valueAt = nameEnd + 1;
    next = endOfValue(bytes, type, valueAt, end - 1);
    yield { type, nameAt, nameEnd, at: valueAt, end: next };
  }
}

/** Of a text that ends with a zero byte: where that stands. */
export function endOfName(bytes: Buffer, at: number, limit: number): number {
  let end = at;
  while (end < limit && bytes[end] !== 0) end++;
  if (end >= limit) throw new MalformedBson('a name does not end', at);
  return end;
}

const fixed: Readonly<Record<number, number>> = {
  [bsonType.double]: 8,
  [bsonType.undefined]: 0,
  [bsonType.objectId]: 12,
  [bsonType.bool]: 1,
  [bsonType.date]: 8,
  [bsonType.null]: 0,
  [bsonType.int]: 4,
  [bsonType.timestamp]: 8,
  [bsonType.long]: 8,
  [bsonType.decimal]: 16,
  [bsonType.minKey]: 0,
  [bsonType.maxKey]: 0,
};

/** Where the value at `at` ends. What it holds is checked as far as its length follows from it. */
export function endOfValue(bytes: Buffer, type: number, at: number, limit: number): number {
  const end = at + lengthOf(bytes, type, at, limit);
  if (end > limit) throw new MalformedBson('a value is cut off', at);
  return end;
}

function lengthOf(bytes: Buffer, type: number, at: number, limit: number): number {
  const size = fixed[type];
  if (size !== undefined) return size;
  switch (type) {
    case bsonType.string:
    case bsonType.code:
    case bsonType.symbol:
      return endOfText(bytes, at, limit) - at;
    case bsonType.object:
    case bsonType.array:
      return endOfDocument(bytes, at, limit) - at;
    case bsonType.binary: {
      const length = int32(bytes, at, limit);
      if (length < 0) throw new MalformedBson('a binary value has a wrong length', at);
      return 5 + length;
    }
    case bsonType.regex:
      return endOfName(bytes, endOfName(bytes, at, limit) + 1, limit) + 1 - at;
    case bsonType.dbPointer:
      return endOfText(bytes, at, limit) + 12 - at;
    case bsonType.codeWithScope: {
      const length = int32(bytes, at, limit);
      const end = at + length;
      if (length < 14 || end > limit) throw new MalformedBson('code has a wrong length', at);
      if (endOfDocument(bytes, endOfText(bytes, at + 4, end), end) !== end)
        throw new MalformedBson('code has a wrong length', at);
      return length;
    }
    default:
      throw new MalformedBson(`no BSON type has the number ${type}`, at);
  }
}

/** Where a text with its length before it ends; its last byte is zero. */
export function endOfText(bytes: Buffer, at: number, limit: number): number {
  const length = int32(bytes, at, limit);
  const end = at + 4 + length;
  if (length < 1 || end > limit || bytes[end - 1] !== 0) throw new MalformedBson('a text has a wrong length', at);
  return end;
}

function int32(bytes: Buffer, at: number, limit: number): number {
  if (at + 4 > limit) throw new MalformedBson('a length is cut off', at);
  return bytes.readInt32LE(at);
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of these bytes, or undefined: they are no valid UTF-8. */
export function utf8(bytes: Buffer, at: number, end: number): string | undefined {
  const text = bytes.toString('utf8', at, end);
  if (!text.includes('\ufffd')) return text;
  try {
    return strict.decode(bytes.subarray(at, end));
  } catch {
    return undefined;
  }
}

/** The first element of the name; `_id` stands first in what servers store. */
export function elementNamed(bytes: Uint8Array, name: string): Extent | undefined {
  const buffer = bufferOf(bytes);
  const wanted = Buffer.from(name);
  for (const element of elementsIn(buffer))
    if (buffer.subarray(element.nameAt, element.nameEnd).equals(wanted)) return element;
  return undefined;
}

/** A document of these elements, in this order. */
export function assemble(elements: readonly (readonly [type: number, name: Uint8Array, value: Uint8Array])[]): Buffer {
  const length = elements.reduce((sum, [, name, value]) => sum + name.length + value.length + 2, 5);
  const result = Buffer.alloc(length);
  result.writeInt32LE(length);
  let at = 4;
  for (const [type, name, value] of elements) {
    result[at] = type;
    result.set(name, at + 1);
    result.set(value, at + name.length + 2);
    at += name.length + value.length + 2;
  }
  return result;
}
