// The way back from the text of one BSON value (text.ts) to its bytes. JSON.parse would lose repeated names and the order of names that look like numbers.
import { Decimal128, Double, Int32, serialize } from 'bson';
import { assemble, bsonType, bufferOf, elementsIn, endOfValue, MalformedBson } from './reader.ts';
import { textOfValue } from './text.ts';

export interface BsonValueBytes {
  readonly type: number;
  readonly bytes: Uint8Array;
}

type Json = string | number | boolean | null | Json[] | Fields;
/** A JSON object as it was written. */
class Fields {
  readonly entries: readonly (readonly [string, Json])[];
  constructor(entries: readonly (readonly [string, Json])[]) {
    this.entries = entries;
  }
  /** Its values, where its names are exactly these. */
  named(...names: readonly string[]): readonly Json[] | undefined {
    const same = names.length === this.entries.length && names.every((name, i) => this.entries[i]![0] === name);
    return same ? this.entries.map(([, value]) => value) : undefined;
  }
}

/** undefined: the text is no JSON. Objects that are no Extended JSON are documents; bare numbers are int32 where they can be. */
export function valueOfText(text: string): BsonValueBytes | undefined {
  try {
    const parser = new Parser(text);
    const json = parser.value();
    parser.end();
    return valueOf(json);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError || error instanceof MalformedBson) return undefined;
    throw error;
  }
}

const literal = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const quoted = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
const space = /[ \t\r\n]*/y;

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): Json {
    this.#take(space);
    switch (this.#text[this.#at]) {
      case '{':
        return new Fields(
          this.#list('}', () => {
            const name = this.#string();
            this.#sign(':');
            return [name, this.value()] as const;
          }),
        );
      case '[':
        return this.#list(']', () => this.value());
      case '"':
        return this.#string();
      default:
        return JSON.parse(this.#take(literal)) as Json;
    }
  }

  end(): void {
    this.#take(space);
    if (this.#at < this.#text.length) throw new SyntaxError('text after the value');
  }

  #list<T>(close: string, item: () => T): T[] {
    this.#at++;
    const items: T[] = [];
    for (this.#take(space); this.#text[this.#at] !== close; this.#take(space)) {
      if (items.length > 0) this.#sign(',');
      items.push(item());
    }
    this.#at++;
    return items;
  }

  #string(): string {
    this.#take(space);
    return JSON.parse(this.#take(quoted)) as string;
  }

  #sign(sign: string): void {
    this.#take(space);
    if (this.#text[this.#at++] !== sign) throw new SyntaxError(`no ${sign}`);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (!found) throw new SyntaxError('no JSON');
    this.#at += found[0].length;
    return found[0];
  }
}

function valueOf(json: Json): BsonValueBytes {
  if (json === null) return { type: bsonType.null, bytes: nothing };
  if (typeof json === 'string') return { type: bsonType.string, bytes: textBytes(json) };
  if (typeof json === 'boolean') return { type: bsonType.bool, bytes: Buffer.from([json ? 1 : 0]) };
  if (typeof json === 'number') return encoded(Number.isInteger(json) ? json : new Double(json));
  if (Array.isArray(json)) return { type: bsonType.array, bytes: documentOf(json.map((item, i) => [String(i), item])) };
  return scalarOf(json) ?? { type: bsonType.object, bytes: documentOf(json.entries) };
}

const nothing = Buffer.alloc(0);

function documentOf(entries: readonly (readonly [string, Json])[]): Buffer {
  return assemble(
    entries.map(([name, json]) => {
      if (name.includes('\u0000')) throw new RangeError('a name holds a zero');
      const { type, bytes } = valueOf(json);
      return [type, Buffer.from(name), bytes] as const;
    }),
  );
}

/** Any value that the driver writes, as its bytes. */
function encoded(value: unknown): BsonValueBytes {
  const document = bufferOf(serialize({ v: value }));
  const [element] = elementsIn(document);
  return { type: element!.type, bytes: document.subarray(element!.at, element!.end) };
}

function textBytes(text: string): Buffer {
  const bytes = Buffer.from(text);
  const result = Buffer.alloc(bytes.length + 5);
  result.writeInt32LE(bytes.length + 1);
  result.set(bytes, 4);
  return result;
}

function int64(text: string): Buffer {
  const result = Buffer.alloc(8);
  result.writeBigInt64LE(BigInt(text));
  return result;
}

const cstring = (text: string): Buffer => {
  if (text.includes('\u0000')) throw new RangeError('a pattern holds a zero');
  return Buffer.from(`${text}\u0000`);
};
const isText = (json: Json | undefined): json is string => typeof json === 'string';
const isHex = (json: Json | undefined, digits: number): json is string =>
  isText(json) && json.length === digits && /^[0-9a-f]*$/.test(json);

/** The value that an object of Extended JSON stands for; undefined: it is none. */
function scalarOf(json: Fields): BsonValueBytes | undefined {
  const [name] = json.entries[0] ?? [];
  if (!name?.startsWith('$')) return undefined;
  const [only] = json.entries.length === 1 ? json.named(name)! : [];
  const fields = only instanceof Fields ? only : undefined;
  switch (name) {
    case '$oid':
      return isHex(only, 24) ? { type: bsonType.objectId, bytes: Buffer.from(only, 'hex') } : undefined;
    case '$numberInt':
      return isText(only) && /^-?\d+$/.test(only) ? encoded(new Int32(Number(only))) : undefined;
    case '$numberLong':
      return isText(only) && /^-?\d+$/.test(only) ? { type: bsonType.long, bytes: int64(only) } : undefined;
    case '$numberDouble':
      return isText(only) && (only === 'NaN' || !Number.isNaN(Number(only)))
        ? encoded(new Double(Number(only)))
        : undefined;
    case '$numberDecimal':
      return isText(only) ? decimalOf(only) : undefined;
    case '$date': {
      const [time] = fields?.named('$numberLong') ?? [];
      return isText(time) && /^-?\d+$/.test(time) ? { type: bsonType.date, bytes: int64(time) } : undefined;
    }
    case '$binary': {
      const [content, subtype] = fields?.named('base64', 'subType') ?? [];
      return isText(content) && isHex(subtype, 2) ? binaryOf(content, Number.parseInt(subtype, 16)) : undefined;
    }
    case '$regularExpression': {
      const [pattern, options] = fields?.named('pattern', 'options') ?? [];
      return isText(pattern) && isText(options)
        ? { type: bsonType.regex, bytes: Buffer.concat([cstring(pattern), cstring(options)]) }
        : undefined;
    }
    case '$timestamp': {
      const [t, i] = fields?.named('t', 'i') ?? [];
      if (typeof t !== 'number' || typeof i !== 'number') return undefined;
      const bytes = Buffer.alloc(8);
      bytes.writeUInt32LE(i);
      bytes.writeUInt32LE(t, 4);
      return { type: bsonType.timestamp, bytes };
    }
    case '$symbol':
      return isText(only) ? { type: bsonType.symbol, bytes: textBytes(only) } : undefined;
    case '$code':
      return codeOf(json);
    case '$dbPointer': {
      const [of, id] = fields?.named('$ref', '$id') ?? [];
      const [hex] = id instanceof Fields ? (id.named('$oid') ?? []) : [];
      return isText(of) && isHex(hex, 24)
        ? { type: bsonType.dbPointer, bytes: Buffer.concat([textBytes(of), Buffer.from(hex, 'hex')]) }
        : undefined;
    }
    case '$undefined':
      return only === true ? { type: bsonType.undefined, bytes: nothing } : undefined;
    case '$minKey':
      return only === 1 ? { type: bsonType.minKey, bytes: nothing } : undefined;
    case '$maxKey':
      return only === 1 ? { type: bsonType.maxKey, bytes: nothing } : undefined;
    case '$bson':
      return isText(only) && isHex(only, only.length) && only.length >= 2 ? bytesOf(only) : undefined;
    default:
      return undefined;
  }
}

/** Type and bytes in hex. Throws MalformedBson where they are no value. */
function bytesOf(hex: string): BsonValueBytes | undefined {
  const [type, bytes] = [Number.parseInt(hex.slice(0, 2), 16), Buffer.from(hex.slice(2), 'hex')];
  const whole = hex.length % 2 === 0 && endOfValue(bytes, type, 0, bytes.length) === bytes.length;
  // What is inside shows when its text is made.
  return whole && textOfValue(type, bytes) !== '' ? { type, bytes } : undefined;
}

function decimalOf(text: string): BsonValueBytes | undefined {
  try {
    return { type: bsonType.decimal, bytes: Decimal128.fromString(text).bytes };
  } catch {
    return undefined;
  }
}

function binaryOf(base64: string, subtype: number): BsonValueBytes {
  const content = Buffer.from(base64, 'base64');
  const length = Buffer.alloc(4);
  length.writeInt32LE(content.length);
  const inside = subtype === 2 ? Buffer.concat([length, content]) : content;
  const head = Buffer.alloc(5);
  head.writeInt32LE(inside.length);
  head[4] = subtype;
  return { type: bsonType.binary, bytes: Buffer.concat([head, inside]) };
}

function codeOf(json: Fields): BsonValueBytes | undefined {
  const [only] = json.named('$code') ?? [];
  if (isText(only)) return { type: bsonType.code, bytes: textBytes(only) };
  const [code, scope] = json.named('$code', '$scope') ?? [];
  if (!isText(code) || !(scope instanceof Fields)) return undefined;
  const parts = [textBytes(code), documentOf(scope.entries)];
  const length = Buffer.alloc(4);
  length.writeInt32LE(4 + parts[0]!.length + parts[1]!.length);
  return { type: bsonType.codeWithScope, bytes: Buffer.concat([length, ...parts]) };
}
