// A document's bytes as a value that the driver writes back as the same bytes: fields in their order, numbers in their types.
import { deserialize, onDemand, serialize } from 'bson';

const objectType = 3;
const arrayType = 4;

/**
 * Nested Maps, because a JavaScript object moves names that look like numbers to its front. Throws RangeError where the driver cannot write
 * the same bytes (types that are no longer written, such as undefined).
 */
export function exactly(bytes: Uint8Array): Map<string, unknown> {
  const value = inOrder(bytes);
  if (Buffer.compare(serialize(value, { ignoreUndefined: false }), bytes) !== 0)
    throw new RangeError('a document holds a value that cannot be written back as it was');
  return value;
}

/** The document's fields in their order, at every depth, with values as BSON types. */
export function inOrder(bytes: Uint8Array): Map<string, unknown> {
  return new Map(elementsOf(bytes));
}

function* elementsOf(bytes: Uint8Array): Generator<[string, unknown]> {
  for (const [type, nameOffset, nameLength, offset, length] of onDemand.parseToElements(bytes)) {
    const name = Buffer.from(bytes.buffer, bytes.byteOffset + nameOffset, nameLength).toString('utf8');
    const value = bytes.subarray(offset, offset + length);
    if (type === objectType) yield [name, inOrder(value)];
    else if (type === arrayType) yield [name, [...elementsOf(value)].map(([, inner]) => inner)];
    else yield [name, scalar(type, value)];
  }
}

function scalar(type: number, value: Uint8Array): unknown {
  const document = Buffer.concat([Buffer.alloc(4), Buffer.from([type, 0x76, 0]), value, Buffer.from([0])]);
  document.writeInt32LE(document.byteLength);
  return deserialize(document, {
    promoteValues: false,
    promoteLongs: false,
    promoteBuffers: false,
    bsonRegExp: true,
    validation: { utf8: false },
  })['v'];
}
