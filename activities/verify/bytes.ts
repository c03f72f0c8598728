// The verifier's own reader of BSON. It shares no code with the one that loads (core/bson): elements come from the driver's library, and whether a
// value is what its bytes are is found by writing it again.
import { isUtf8 } from 'node:buffer';
import { Decimal128, deserialize, EJSON, onDemand, serialize } from 'bson';
import { RawValue } from '../../core/bson/raw-value.ts';
import { shortened } from '../../core/long-keys.ts';

export interface ReadDocument {
  readonly id: string;
  readonly document: Record<string, unknown>;
  /** Bytes that no decoded form gives back, beyond the order of fields: the document is expected to be set aside. */
  readonly aside: boolean;
  /** Somewhere in it fields stand in an order that objects do not keep. */
  readonly reordered: boolean;
}

interface Item {
  readonly name: string;
  readonly type: number;
  readonly value: Buffer;
  /** The name's bytes are its text's. */
  readonly sound: boolean;
}

const kinds = {
  text: 2,
  object: 3,
  array: 4,
  undefined: 6,
  regex: 11,
  dbPointer: 12,
  code: 13,
  symbol: 14,
  scoped: 15,
};
const decoding = { promoteValues: false, promoteLongs: false, bsonRegExp: true } as const;

export function itemsOf(bytes: Uint8Array): Item[] {
  const memory = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [...onDemand.parseToElements(bytes)].map(([type, nameAt, nameLength, at, length]) => {
    const name = memory.subarray(nameAt, nameAt + nameLength);
    return {
      name: name.toString('utf8'),
      type: type < 0 ? type + 256 : type,
      value: memory.subarray(at, at + length),
      sound: isUtf8(name),
    };
  });
}

/** A document of the one value, for the library to read. */
function alone(type: number, value: Uint8Array): Buffer {
  const head = Buffer.from([0, 0, 0, 0, type, 0x76, 0]);
  const document = Buffer.concat([head, value, Buffer.from([0])]);
  document.writeUInt32LE(document.length);
  return document;
}

export function readDocument(raw: Uint8Array): ReadDocument {
  const reading = new Reading();
  let items: Item[] = [];
  try {
    items = itemsOf(raw);
  } catch {
    reading.aside = true;
  }
  const document = reading.object(items, 0) as Record<string, unknown>;
  const id = items.find((item) => item.name === '_id');
  return {
    id: id ? idText(id.type, id.value) : '{"$undefined":true}',
    document,
    aside: reading.aside,
    reordered: reading.reordered,
  };
}

/** The source id of a document, and whether its `_id` is an ObjectId. */
export function readId(raw: Uint8Array): { readonly id: string; readonly isObjectId: boolean } {
  const id = itemsOf(raw).find((item) => item.name === '_id');
  if (!id) return { id: '{"$undefined":true}', isObjectId: false };
  return { id: idText(id.type, id.value), isObjectId: id.type === 7 };
}

class Reading {
  aside = false;
  reordered = false;

  value(type: number, value: Buffer, depth: number, name: string): unknown {
    if (depth > 250) this.aside = true;
    else if (type === kinds.object) return this.#inOrder(value, depth, name);
    else if (type === kinds.array) return this.#list(value, depth);
    if (!this.#isSound(type, value, depth)) this.aside = true;
    return single(type, value, name);
  }

  object(items: readonly Item[], depth: number): object {
    const fields: Record<string, unknown> = {};
    for (const { name, type, value, sound } of items) {
      if (!sound || name === '_bsontype' || Object.hasOwn(fields, name)) this.aside = true;
      Object.defineProperty(fields, name, {
        value: this.value(type, value, depth + 1, name),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
    const names = Object.keys(fields);
    if (!items.every(({ name }, i) => name === names[i])) this.reordered = true;
    return fields;
  }

  /** An object whose fields would change their order is written as its bytes. */
  #inOrder(value: Buffer, depth: number, name: string): unknown {
    const items = this.#items(value);
    const fields = this.object(items, depth);
    const names = Object.keys(fields);
    if (items.every(({ name }, i) => name === names[i])) return fields;
    if (names.includes('toBSON')) this.aside = true;
    else
      Object.defineProperty(fields, 'toBSON', {
        value: () => new RawValue(kinds.object, value, name),
        configurable: true,
      });
    return fields;
  }

  #list(value: Buffer, depth: number): unknown[] {
    const items = this.#items(value);
    if (!items.every(({ name }, i) => name === String(i))) this.aside = true;
    return items.map((item) => this.value(item.type, item.value, depth + 1, item.name));
  }

  #items(value: Buffer): Item[] {
    try {
      return itemsOf(value);
    } catch {
      this.aside = true;
      return [];
    }
  }

  #isSound(type: number, value: Buffer, depth: number): boolean {
    if (type === kinds.text || type === kinds.code) return isUtf8(value.subarray(4, -1));
    if (type === kinds.regex) return isUtf8(value);
    if (type === kinds.scoped) {
      const text = value.readInt32LE(4);
      this.value(kinds.object, value.subarray(8 + text), depth, '');
      return isUtf8(value.subarray(8, 7 + text));
    }
    if (type === 8) return value[0]! <= 1;
    if (type === 5 && value[4] === 2) return value.length >= 9 && value.readInt32LE(5) === value.length - 9;
    return true;
  }
}

/** The value where the library writes it as it read it; otherwise its bytes. */
function single(type: number, value: Buffer, name = ''): unknown {
  const raw = new RawValue(type, value, name);
  if (type === kinds.symbol || type === kinds.scoped || (type === kinds.code && value.subarray(4, -1).includes(0)))
    return raw;
  // A NaN may or may not come back with its payload.
  if (type === 1 && Number.isNaN(value.readDoubleLE()) && value.toString('hex') !== '000000000000f87f') return raw;
  try {
    const bytes = alone(type, value);
    const { v } = deserialize(bytes, decoding) as { v: unknown };
    if (!bytes.equals(serialize({ v }, { ignoreUndefined: false }))) return raw;
    return type === 19 && !Buffer.from(Decimal128.fromString(String(v)).bytes).equals(value) ? raw : v;
  } catch {
    return raw;
  }
}

/** Too long for an index, its digest stands for it in every table: that is a rule of names and not of reading, and there is one of it. */
function idText(type: number, value: Buffer): string {
  return type === 7 ? value.toString('hex') : shortened(words(type, value) ?? inHex(type, value));
}

const inHex = (type: number, value: Buffer): string =>
  JSON.stringify({ $bson: Buffer.concat([Buffer.from([type]), value]).toString('hex') });

/** Canonical Extended JSON; undefined where it has no words for the value. */
function words(type: number, value: Buffer): string | undefined {
  const each = ({ type: inner, value: its }: Item) => words(inner, its) ?? inHex(inner, its);
  const strict = (from: number, to: number) =>
    isUtf8(value.subarray(from, to)) ? value.toString('utf8', from, to) : undefined;
  const tell = (name: string, text: string | undefined) =>
    text === undefined ? undefined : JSON.stringify({ [name]: text });
  switch (type) {
    case kinds.object: {
      const items = itemsOf(value);
      if (items.some(({ name, sound }) => !sound || name.startsWith('$'))) return undefined;
      return `{${items.map((item) => `${JSON.stringify(item.name)}:${each(item)}`).join()}}`;
    }
    case kinds.array: {
      const items = itemsOf(value);
      return items.some(({ name }, i) => name !== `${i}`) ? undefined : `[${items.map(each).join()}]`;
    }
    case kinds.undefined:
      return '{"$undefined":true}';
    case 9:
      return JSON.stringify({ $date: { $numberLong: String(value.readBigInt64LE()) } });
    case kinds.symbol:
      return tell('$symbol', strict(4, -1 + value.length));
    case kinds.code:
      return tell('$code', strict(4, -1 + value.length));
    case kinds.dbPointer: {
      const name = strict(4, value.length - 13);
      const id = { $oid: value.toString('hex', value.length - 12) };
      return name === undefined ? undefined : JSON.stringify({ $dbPointer: { $ref: name, $id: id } });
    }
    case kinds.scoped: {
      const end = 7 + value.readInt32LE(4);
      const [code, scope] = [strict(8, end), words(kinds.object, value.subarray(end + 1))];
      return code === undefined || scope === undefined
        ? undefined
        : `{"$code":${JSON.stringify(code)},"$scope":${scope}}`;
    }
    case kinds.regex: {
      const split = value.indexOf(0);
      const [pattern, options] = [strict(0, split), strict(split + 1, value.length - 1)];
      return pattern === undefined || options === undefined
        ? undefined
        : JSON.stringify({ $regularExpression: { pattern, options } });
    }
    case kinds.text:
      return isUtf8(value.subarray(4, -1)) ? JSON.stringify(value.toString('utf8', 4, value.length - 1)) : undefined;
    case 5:
      if (value[4] !== 2 || (value.length >= 9 && value.readInt32LE(5) === value.length - 9)) {
        const content = value.subarray(value[4] === 2 ? 9 : 5).toString('base64');
        return JSON.stringify({ $binary: { base64: content, subType: value.subarray(4, 5).toString('hex') } });
      }
      return undefined;
    default: {
      const found = single(type, value);
      return found instanceof RawValue ? undefined : EJSON.stringify(found, { relaxed: false });
    }
  }
}

/** At most this many paths of one document are named. */
const most = 10;

/** Paths at which a document is not the one that was expected. The order of an object's fields does not count, everything else in its bytes does. */
export function differencesInBytes(expected: Uint8Array, actual: Uint8Array, path: string): string[] {
  const found: string[] = [];
  compare(kinds.object, Buffer.from(expected), kinds.object, Buffer.from(actual), path, found);
  return found;
}

function compare(type: number, expected: Buffer, other: number, actual: Buffer, path: string, found: string[]): void {
  if (found.length >= most || (type === other && expected.equals(actual))) return;
  if (type !== other || (type !== kinds.object && type !== kinds.array)) {
    found.push(path);
    return;
  }
  const [ours, theirs] = [itemsOf(expected), itemsOf(actual)];
  if (type === kinds.array && ours.length !== theirs.length) found.push(`${path}.length`);
  const before = found.length;
  for (const name of new Set([...ours, ...theirs].map((item) => item.name))) {
    const [a, b] = [ours, theirs].map((items) => items.filter((item) => item.name === name));
    if (a!.length !== 1 || b!.length !== 1) {
      if (type === kinds.object || a!.length === b!.length) found.push(`${path}.${name}`);
    } else compare(a![0]!.type, a![0]!.value, b![0]!.type, b![0]!.value, `${path}.${name}`, found);
  }
  if (found.length > before + most) found.length = before + most;
}
