// Canonical identity of a source document: text that keeps the BSON type, so an ObjectId and its hex string stay two documents.
import { deserialize, Double, EJSON, Int32, Long, ObjectId, onDemand } from 'bson';
import { typeOf } from './bson-type.ts';

/** 24 hex digits for an ObjectId, canonical Extended JSON for anything else (a string stands in quotes). */
export function sourceId(id: unknown): string {
  return isObjectId(id) ? id.toHexString() : EJSON.stringify(id, { relaxed: false });
}

/** The `_id` value a source id was made from. Throws SyntaxError on text that is neither form. */
export function idFromSourceId(text: string): unknown {
  return /^[0-9a-f]{24}$/.test(text) ? new ObjectId(text) : EJSON.parse(text, { relaxed: false });
}

/** The `_id` of an undecoded document; whatever else it holds is not looked at, because it may not be decodable. */
export function idIn(document: Uint8Array): unknown {
  for (const [type, nameOffset, nameLength, offset, length] of onDemand.parseToElements(document)) {
    if (nameLength !== 3 || Buffer.from(document.buffer, document.byteOffset + nameOffset, 3).toString() !== '_id')
      continue;
    const value = document.subarray(offset, offset + length);
    const alone = Buffer.concat([Buffer.alloc(4), Buffer.from([type]), Buffer.from('_id\0'), value, Buffer.from([0])]);
    alone.writeInt32LE(alone.byteLength);
    return deserialize(alone, { promoteValues: false, promoteLongs: false, validation: { utf8: false } })['_id'];
  }
  return undefined;
}

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
  const hex = /^(?:ObjectId\(\s*["']?)?([0-9a-f]{24})(?:["']?\s*\))?$/i.exec(trimmed)?.[1];
  if (hex !== undefined) add(new ObjectId(hex));
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
