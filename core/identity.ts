// Canonical identity of a source document: text that is one to one with the bytes of its `_id`, so an ObjectId and its hex string stay two documents.
import { Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import { decodeValue } from './bson/decode.ts';
import { valueOfText } from './bson/parse.ts';
import { bsonType, bufferOf, elementNamed, elementsIn } from './bson/reader.ts';
import { textOfValue } from './bson/text.ts';
import { typeOf } from './bson-type.ts';
import { isShortened, shortened, wholeOf } from './long-keys.ts';

/** 24 hex digits for an ObjectId, canonical Extended JSON in the order of the bytes for anything else (a string stands in quotes). */
export function sourceIdOf(document: Uint8Array): string {
  const bytes = bufferOf(document);
  // Where it stands in almost every document.
  if (bytes.readInt32LE(5) === idName && bytes[4] === bsonType.objectId) return bytes.toString('hex', 9, 21);
  const id = elementNamed(bytes, '_id');
  return id === undefined ? textOf(bsonType.undefined, bytes, 0, 0) : textOf(id.type, bytes, id.at, id.end);
}

const idName = Buffer.from('_id\u0000').readInt32LE();

const textOf = (type: number, bytes: Buffer, at: number, end: number): string =>
  type === bsonType.objectId ? bytes.toString('hex', at, end) : shortened(textOfValue(type, bytes.subarray(at, end)));

/** The same of an `_id` as the driver takes it. */
export function sourceId(id: unknown): string {
  if (isObjectId(id)) return id.toHexString();
  const bytes = bufferOf(serialize({ v: id }, { ignoreUndefined: false }));
  const [value] = elementsIn(bytes);
  return textOf(value!.type, bytes, value!.at, value!.end);
}

/** The `_id` of a document, as the driver takes it and writes it in the same bytes. */
export function idOf(document: Uint8Array): unknown {
  const bytes = bufferOf(document);
  const id = elementNamed(bytes, '_id');
  return id && decodeValue(id.type, bytes.subarray(id.at, id.end));
}

/**
 * The `_id` a source id was made from, as the driver takes it; undefined for text that none was made from, such as `legacy-42`, and for the digest
 * of a long key that this process has not learnt.
 */
export function idFromSourceId(key: string): unknown {
  const text = wholeOf(key) ?? key;
  if (/^[0-9a-f]{24}$/.test(text)) return new ObjectId(text);
  const value = valueOfText(text);
  if (!value || value.type === bsonType.objectId) return undefined;
  return textOfValue(value.type, value.bytes) === text ? decodeValue(value.type, value.bytes) : undefined;
}

/** The `_id`s of those that were made from one: no document has any other. */
export const idsFrom = (texts: Iterable<string>): unknown[] =>
  [...texts].map(idFromSourceId).filter((id) => id !== undefined);

/** By its mark, not its class: the driver brings a copy of the bson package of its own. */
const isObjectId = (id: unknown): id is ObjectId =>
  typeof id === 'object' && id !== null && (id as { _bsontype?: string })._bsontype === 'ObjectId';

/** A reading of what a person typed for an `_id`. */
export interface Reading {
  readonly sourceId: string;
  /** What it was taken for: `ObjectId`, `string`, `int`, ... */
  readonly as: string;
}

/**
 * The source ids that text may stand for, the most likely first: ObjectId (bare hex or `ObjectId("...")`), Extended JSON, a quoted string,
 * numbers, booleans, and last the text itself as a string.
 */
export function sourceIdsOf(text: string): Reading[] {
  const readings = new Map<string, Reading>();
  const add = (id: unknown) => {
    const key = sourceId(id);
    if (!readings.has(key)) readings.set(key, { sourceId: key, as: typeOf(id) });
  };
  const trimmed = text.trim();
  // As it is told wherever a long key is told of.
  if (isShortened(trimmed)) readings.set(trimmed, { sourceId: trimmed, as: 'a long key' });
  const hex = /^(?:ObjectId\(\s*["']?)?([0-9a-f]{24})(?:["']?\s*\))?$/i.exec(trimmed)?.[1];
  if (hex !== undefined) add(new ObjectId(hex));
  const canonical = idFromSourceId(trimmed);
  if (canonical !== undefined) add(canonical);
  const parsed = extended(trimmed);
  if (parsed !== undefined && typeof parsed !== 'number') add(parsed);
  const quoted = /^'(.*)'$/s.exec(trimmed)?.[1];
  if (quoted !== undefined) add(quoted);
  if (/^-?\d+$/.test(trimmed)) {
    const whole = BigInt(trimmed);
    if (BigInt.asIntN(32, whole) === whole) add(new Int32(Number(whole)));
    if (BigInt.asIntN(64, whole) === whole) add(Long.fromBigInt(whole));
  }
  if (/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(trimmed)) add(new Double(Number(trimmed)));
  add(text);
  return [...readings.values()];
}

function extended(text: string): unknown {
  try {
    return EJSON.parse(text, { relaxed: false });
  } catch {
    return undefined;
  }
}
