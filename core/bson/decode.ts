// BSON decoded into what mappings read: plain objects, and numbers, dates and ids by their types. Whatever JavaScript cannot hold keeps its bytes.
import { Binary, BSONRegExp, Code, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp } from 'bson';
import {
  bsonType,
  bufferOf,
  elementsIn,
  endOfDocument,
  endOfName,
  endOfText,
  endOfValue,
  MalformedBson,
  utf8,
} from './reader.ts';
import { RawValue } from './raw-value.ts';
import { isCanonicalDecimal, isPlainNaN } from './text.ts';

/** Why a document cannot be carried over as it is: a rule, the place and a sentence, without the value. */
export interface Fault {
  readonly rule:
    | 'field_name_twice'
    | 'text_not_utf8'
    | 'array_keys_irregular'
    | 'field_name_reserved'
    | 'bson_malformed'
    | 'nested_too_deep';
  readonly path: string;
  readonly message: string;
}

export interface Decoded {
  readonly document: Record<string, unknown>;
  /** Its fields, at some depth, stand in an order that objects do not keep: names that look like numbers move to the front. */
  readonly reordered: boolean;
}

const faults = new WeakMap<object, Fault>();

/** Why a decoded document is not what its bytes are; undefined for almost all. */
export const faultOf = (document: object): Fault | undefined => faults.get(document);

export const decode = (bytes: Uint8Array): Record<string, unknown> => decodeDocument(bytes).document;

/** Does not throw: what is no BSON gives the fields before the place where that shows, and a fault. */
export function decodeDocument(bytes: Uint8Array): Decoded {
  const decoder = new Decoder(bufferOf(bytes));
  const document = decoder.whole();
  if (decoder.fault) faults.set(document, decoder.fault);
  return { document, reordered: decoder.reordered };
}

/** A single value; one with a fault keeps its bytes. */
export function decodeValue(type: number, bytes: Uint8Array): unknown {
  const decoder = new Decoder(bufferOf(bytes));
  try {
    const value = decoder.value(type, 0, bytes.length, '');
    return decoder.fault ? new RawValue(type, bytes) : value;
  } catch (error) {
    if (error instanceof MalformedBson) return new RawValue(type, bytes);
    throw error;
  }
}

/** As deep as servers let documents be, and some. */
const deepest = 250;
/** Beyond it no Date is a time. */
const farthest = 8_640_000_000_000_000n;

class Decoder {
  readonly #bytes: Buffer;
  readonly #path: string[] = [];
  fault: Fault | undefined;
  reordered = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  whole(): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    try {
      const end = endOfDocument(this.#bytes, 0, this.#bytes.length);
      if (end !== this.#bytes.length) throw new MalformedBson('bytes follow the document', end);
      if (!this.#fields(result, 0, end)) this.reordered = true;
    } catch (error) {
      if (!(error instanceof MalformedBson)) throw error;
      this.#blame('bson_malformed', `the document is no BSON: ${error.message}`);
    }
    return result;
  }

  /** Fills `into`. Returns whether the object keeps the order of the fields. */
  #fields(into: Record<string, unknown>, at: number, end: number): boolean {
    const bytes = this.#bytes;
    let inOrder = true;
    let lastIndex = -1;
    let others = false;
    for (let next = at + 4; next < end - 1;) {
      const type = bytes[next]!;
      const nameEnd = endOfName(bytes, next + 1, end);
      const name = this.#name(next + 1, nameEnd);
      const valueEnd = endOfValue(bytes, type, nameEnd + 1, end - 1);
      const index = indexOf(name);
      if (index === undefined) others = true;
      else if (others || index < lastIndex) inOrder = false;
      else lastIndex = index;
      if (Object.hasOwn(into, name)) this.#blame('field_name_twice', 'a field of this name stands there twice', name);
      if (name === '_bsontype')
        this.#blame('field_name_reserved', 'a field has the name that drivers mark BSON types with', name);
      setOwn(into, name, this.value(type, nameEnd + 1, valueEnd, name));
      next = valueEnd;
    }
    return inOrder;
  }

  #items(at: number, end: number): unknown[] {
    const result: unknown[] = [];
    for (const { type, nameAt, nameEnd, at: valueAt, end: valueEnd } of elementsIn(this.#bytes, at, end)) {
      const name = this.#bytes.toString('latin1', nameAt, nameEnd);
      if (name !== String(result.length))
        this.#blame('array_keys_irregular', 'the keys of the array are not 0, 1, 2 and so on');
      result.push(this.value(type, valueAt, valueEnd, name));
    }
    return result;
  }

  #name(at: number, end: number): string {
    const bytes = this.#bytes;
    let name = '';
    for (let i = at; i < end; i++) {
      const code = bytes[i]!;
      if (code > 127 || end - at > 32) {
        const text = utf8(bytes, at, end);
        if (text === undefined) this.#blame('text_not_utf8', 'the name of a field is no valid UTF-8');
        return text ?? bytes.toString('utf8', at, end);
      }
      name += String.fromCharCode(code);
    }
    return name;
  }

  #text(at: number, end: number, name: string): string {
    const text = utf8(this.#bytes, at, end);
    if (text === undefined) this.#blame('text_not_utf8', 'a text is no valid UTF-8', name);
    return text ?? this.#bytes.toString('utf8', at, end);
  }

  /** The first fault is the document's. */
  #blame(rule: Fault['rule'], message: string, name?: string): void {
    this.fault ??= { rule, path: [...this.#path, ...(name === undefined ? [] : [name])].join('.'), message };
  }

  value(type: number, at: number, end: number, name: string): unknown {
    const bytes = this.#bytes;
    switch (type) {
      case bsonType.double: {
        const value = bytes.readDoubleLE(at);
        return Number.isNaN(value) && !isPlainNaN(bytes, at) ? this.#raw(type, at, end, name) : new Double(value);
      }
      case bsonType.string:
        return this.#text(at + 4, end - 1, name);
      case bsonType.object:
      case bsonType.array:
        return this.#container(type, at, end, name);
      case bsonType.binary:
        return this.#binary(at, end, name);
      case bsonType.objectId:
        return new ObjectId(bytes.subarray(at, end));
      case bsonType.bool:
        if (bytes[at]! > 1) throw new MalformedBson('a truth value is neither true nor false', at);
        return bytes[at] === 1;
      case bsonType.date: {
        const time = bytes.readBigInt64LE(at);
        return time > farthest || time < -farthest ? this.#raw(type, at, end, name) : new Date(Number(time));
      }
      case bsonType.null:
        return null;
      case bsonType.regex:
        return this.#regex(at, end, name);
      case bsonType.code: {
        const code = this.#text(at + 4, end - 1, name);
        return code.includes('\u0000') ? this.#raw(type, at, end, name) : new Code(code);
      }
      case bsonType.codeWithScope:
        return this.#code(at, end, name);
      case bsonType.int:
        return new Int32(bytes.readInt32LE(at));
      case bsonType.timestamp:
        return new Timestamp({ i: bytes.readUInt32LE(at), t: bytes.readUInt32LE(at + 4) });
      case bsonType.long:
        return new Long(bytes.readInt32LE(at), bytes.readInt32LE(at + 4));
      case bsonType.decimal: {
        const value = Buffer.from(bytes.subarray(at, end));
        return isCanonicalDecimal(value) ? new Decimal128(value) : this.#raw(type, at, end, name);
      }
      case bsonType.minKey:
        return new MinKey();
      case bsonType.maxKey:
        return new MaxKey();
      default:
        return this.#raw(type, at, end, name);
    }
  }

  #raw(type: number, at: number, end: number, name: string): RawValue {
    return new RawValue(type, this.#bytes.subarray(at, end), name);
  }

  #container(type: number, at: number, end: number, name: string): unknown {
    if (this.#path.length >= deepest) {
      this.#blame('nested_too_deep', `fields are nested deeper than ${deepest} levels`);
      return this.#raw(type, at, end, name);
    }
    this.#path.push(name);
    try {
      if (type === bsonType.array) return this.#items(at, end);
      const fields: Record<string, unknown> = {};
      if (!this.#fields(fields, at, end)) this.#keepOrder(fields, at, end, name);
      return fields;
    } finally {
      this.#path.pop();
    }
  }

  /** Written as it stands, the object is written as its bytes. */
  #keepOrder(fields: Record<string, unknown>, at: number, end: number, name: string): void {
    this.reordered = true;
    if (Object.hasOwn(fields, 'toBSON')) {
      this.#blame('field_name_reserved', 'a field has the name of what writes its neighbours in their order', 'toBSON');
      return;
    }
    const raw = this.#raw(bsonType.object, at, end, name);
    Object.defineProperty(fields, 'toBSON', { value: () => raw, writable: true, configurable: true });
  }

  /** Vectors are checked when they are written, and may be refused then. */
  #binary(at: number, end: number, name: string): unknown {
    const bytes = this.#bytes;
    const subtype = bytes[at + 4]!;
    if (subtype === Binary.SUBTYPE_VECTOR) return this.#raw(bsonType.binary, at, end, name);
    const old = subtype === Binary.SUBTYPE_BYTE_ARRAY;
    if (old && (end - at < 9 || bytes.readInt32LE(at + 5) !== end - at - 9))
      throw new MalformedBson('a binary value of the old kind has a wrong length', at);
    return new Binary(bytes.subarray(at + (old ? 9 : 5), end), subtype);
  }

  #regex(at: number, end: number, name: string): unknown {
    const split = endOfName(this.#bytes, at, end);
    const pattern = this.#text(at, split, name);
    const options = this.#text(split + 1, end - 1, name);
    const isPlain = /^i?l?m?s?u?x?$/.test(options);
    return isPlain ? new BSONRegExp(pattern, options) : this.#raw(bsonType.regex, at, end, name);
  }

  /** The variables of code may be anything; only few forms of them are written as they were. */
  #code(at: number, end: number, name: string): RawValue {
    const scopeAt = endOfText(this.#bytes, at + 4, end);
    this.#text(at + 8, scopeAt - 1, name);
    this.#container(bsonType.object, scopeAt, end, name);
    return this.#raw(bsonType.codeWithScope, at, end, name);
  }
}

/** The number that the name looks like to JavaScript; such names stand first in an object, in their own order. */
function indexOf(name: string): number | undefined {
  const first = name.charCodeAt(0);
  if (!(first >= 48 && first <= 57) || name.length > 10) return undefined;
  const number = Number(name);
  return Number.isInteger(number) && number <= 4_294_967_294 && String(number) === name ? number : undefined;
}

/** Assigns even `__proto__` as an own property: a document may have a field of that name. */
export function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  else target[key] = value;
}
