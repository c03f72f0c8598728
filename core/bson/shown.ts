// A document as a person is shown it: canonical Extended JSON of its bytes, in which no field hides another.
import { bsonType, bufferOf, elementsIn, MalformedBson } from './reader.ts';
import { setOwn } from './decode.ts';
import { textOfValue } from './text.ts';

/** A name that stands twice is shown as `name` and `name (2)`; bytes that are no BSON end the fields. */
export function shownOf(document: Uint8Array): Record<string, unknown> {
  return fieldsOf(bufferOf(document));
}

function fieldsOf(bytes: Buffer): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  try {
    for (const { type, nameAt, nameEnd, at, end } of elementsIn(bytes)) {
      const name = bytes.toString('utf8', nameAt, nameEnd);
      let key = name;
      for (let n = 2; Object.hasOwn(result, key); n++) key = `${name} (${n})`;
      setOwn(result, key, valueOf(type, bytes.subarray(at, end)));
    }
  } catch (error) {
    if (!(error instanceof MalformedBson)) throw error;
    result['$malformed'] = error.message;
  }
  return result;
}

function valueOf(type: number, bytes: Buffer): unknown {
  if (type === bsonType.object) return fieldsOf(bytes);
  if (type !== bsonType.array) return JSON.parse(textOfValue(type, bytes));
  const fields = fieldsOf(bytes);
  const keys = Object.keys(fields);
  return keys.every((key, i) => key === String(i)) ? Object.values(fields) : fields;
}
