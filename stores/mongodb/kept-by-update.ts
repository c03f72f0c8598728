// Which documents a server keeps as the bytes they are when they replace another; inserted, it keeps all that it takes.
import { bsonType, bufferOf, elementNamed, elementsIn, endOfName, endOfText } from '../../core/bson/reader.ts';

export const isKeptByUpdate = (bytes: Uint8Array): boolean =>
  !hasOperatorName(bytes) && !hasLooseOptions(bytes) && !hasNoNumberInId(bytes);

/** A field of the document itself whose name begins as an operator's does: servers take it for one, and refuse the update. */
function hasOperatorName(bytes: Uint8Array): boolean {
  const buffer = bufferOf(bytes);
  for (const { nameAt } of elementsIn(buffer)) if (buffer[nameAt] === dollar) return true;
  return false;
}
const dollar = 0x24;

/** NaN as `_id` or in it: there are servers that find such a document and remove it, and refuse to update it. */
function hasNoNumberInId(bytes: Uint8Array): boolean {
  const buffer = bufferOf(bytes);
  const id = elementNamed(buffer, '_id');
  return id !== undefined && isNoNumber(buffer, id);
}

function isNoNumber(buffer: Buffer, { type, at, end }: { type: number; at: number; end: number }): boolean {
  if (type === bsonType.double) return Number.isNaN(buffer.readDoubleLE(at));
  if (type !== bsonType.object && type !== bsonType.array) return false;
  for (const inner of elementsIn(buffer, at, end)) if (isNoNumber(buffer, inner)) return true;
  return false;
}

/** A regular expression, at any depth, whose options are not in the order of the alphabet: there are servers that sort them in an update. */
function hasLooseOptions(bytes: Uint8Array): boolean {
  const buffer = bufferOf(bytes);
  return buffer.includes(bsonType.regex) && isLoose(buffer, 0, buffer.length);
}

function isLoose(buffer: Buffer, from: number, to: number): boolean {
  for (const { type, at, end } of elementsIn(buffer, from, to)) {
    if (type === bsonType.regex) {
      const options = buffer.subarray(endOfName(buffer, at, end) + 1, end - 1);
      if (options.some((letter, i) => i > 0 && letter < options[i - 1]!)) return true;
    }
    const holds = type === bsonType.object || type === bsonType.array;
    if (holds && isLoose(buffer, at, end)) return true;
    if (type === bsonType.codeWithScope && isLoose(buffer, endOfText(buffer, at + 4, end), end)) return true;
  }
  return false;
}
