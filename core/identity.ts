// Canonical identity of a source document: text that keeps the BSON type, so an ObjectId and its hex string stay two documents.
import { EJSON, ObjectId } from 'bson';

/** 24 hex digits for an ObjectId, canonical Extended JSON for anything else (a string stands in quotes). */
export function sourceId(id: unknown): string {
  return isObjectId(id) ? id.toHexString() : EJSON.stringify(id, { relaxed: false });
}

/** The `_id` value a source id was made from. Throws SyntaxError on text that is neither form. */
export function idFromSourceId(text: string): unknown {
  return /^[0-9a-f]{24}$/.test(text) ? new ObjectId(text) : EJSON.parse(text, { relaxed: false });
}

/** By its mark, not its class: the driver brings a copy of the bson package of its own. */
const isObjectId = (id: unknown): id is ObjectId =>
  typeof id === 'object' && id !== null && (id as { _bsontype?: string })._bsontype === 'ObjectId';
