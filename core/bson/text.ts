// One BSON value as text and back, one to one: canonical Extended JSON with fields in the order of the bytes, repeated names included.
import { Decimal128, Double, EJSON } from 'bson';
import { bsonType, bufferOf, elementsIn, endOfName, endOfText, utf8 } from './reader.ts';

/**
 * Canonical Extended JSON of the value. What that has no words for stands as `{"$bson": "<type and bytes in hex>"}`: text that is no UTF-8, a NaN
 * with a payload, a decimal that is not canonical, an array whose keys are not 0, 1, 2 ..., names that begin with a dollar.
 */
export function textOfValue(type: number, bytes: Uint8Array): string {
  const buffer = bufferOf(bytes);
  return plainText(type, buffer, 0, buffer.length) ?? hexText(type, buffer);
}

const hexText = (type: number, bytes: Buffer): string =>
  `{"$bson":"${type.toString(16).padStart(2, '0')}${bytes.toString('hex')}"}`;

function inner(type: number, bytes: Buffer, at: number, end: number): string {
  return plainText(type, bytes, at, end) ?? hexText(type, bytes.subarray(at, end));
}

const quoted = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : JSON.stringify(text);

/** undefined: the value needs its bytes. */
function plainText(type: number, bytes: Buffer, at: number, end: number): string | undefined {
  switch (type) {
    case bsonType.double:
      return doubleText(bytes, at);
    case bsonType.string:
      return quoted(utf8(bytes, at + 4, end - 1));
    case bsonType.object:
      return documentText(bytes, at, end);
    case bsonType.array:
      return arrayText(bytes, at, end);
    case bsonType.binary:
      return binaryText(bytes, at, end);
    case bsonType.undefined:
      return '{"$undefined":true}';
    case bsonType.objectId:
      return `{"$oid":"${bytes.toString('hex', at, end)}"}`;
    case bsonType.bool:
      return bytes[at] === 1 ? 'true' : bytes[at] === 0 ? 'false' : undefined;
    case bsonType.date:
      return `{"$date":{"$numberLong":"${bytes.readBigInt64LE(at)}"}}`;
    case bsonType.null:
      return 'null';
    case bsonType.regex: {
      const split = endOfName(bytes, at, end);
      const [pattern, options] = [quoted(utf8(bytes, at, split)), quoted(utf8(bytes, split + 1, end - 1))];
      return pattern && options && `{"$regularExpression":{"pattern":${pattern},"options":${options}}}`;
    }
    case bsonType.dbPointer: {
      const name = quoted(utf8(bytes, at + 4, end - 13));
      return name && `{"$dbPointer":{"$ref":${name},"$id":{"$oid":"${bytes.toString('hex', end - 12, end)}"}}}`;
    }
    case bsonType.code: {
      const code = quoted(utf8(bytes, at + 4, end - 1));
      return code && `{"$code":${code}}`;
    }
    case bsonType.symbol: {
      const symbol = quoted(utf8(bytes, at + 4, end - 1));
      return symbol && `{"$symbol":${symbol}}`;
    }
    case bsonType.codeWithScope: {
      const scopeAt = endOfText(bytes, at + 4, end);
      const [code, scope] = [quoted(utf8(bytes, at + 8, scopeAt - 1)), documentText(bytes, scopeAt, end)];
      return code && scope && `{"$code":${code},"$scope":${scope}}`;
    }
    case bsonType.int:
      return `{"$numberInt":"${bytes.readInt32LE(at)}"}`;
    case bsonType.timestamp:
      return `{"$timestamp":{"t":${bytes.readUInt32LE(at + 4)},"i":${bytes.readUInt32LE(at)}}}`;
    case bsonType.long:
      return `{"$numberLong":"${bytes.readBigInt64LE(at)}"}`;
    case bsonType.decimal: {
      const value = bytes.subarray(at, end);
      return isCanonicalDecimal(value) ? `{"$numberDecimal":"${new Decimal128(value).toString()}"}` : undefined;
    }
    case bsonType.minKey:
      return '{"$minKey":1}';
    case bsonType.maxKey:
      return '{"$maxKey":1}';
    default:
      return undefined;
  }
}

function doubleText(bytes: Buffer, at: number): string | undefined {
  const value = bytes.readDoubleLE(at);
  if (Number.isNaN(value) && !isPlainNaN(bytes, at)) return undefined;
  return EJSON.stringify(new Double(value), { relaxed: false });
}

/** The one NaN that JavaScript keeps: without sign and payload. */
export const isPlainNaN = (bytes: Buffer, at: number): boolean =>
  bytes.readUInt32LE(at) === 0 && bytes.readUInt32LE(at + 4) === 0x7ff80000;

/** Whether the decimal's own text gives back the same bytes. */
export function isCanonicalDecimal(value: Uint8Array): boolean {
  try {
    return bufferOf(Decimal128.fromString(new Decimal128(value).toString()).bytes).equals(value);
  } catch {
    return false;
  }
}

function documentText(bytes: Buffer, at: number, end: number): string | undefined {
  const fields: string[] = [];
  for (const { type, nameAt, nameEnd, at: valueAt, end: valueEnd } of elementsIn(bytes, at, end)) {
    const name = utf8(bytes, nameAt, nameEnd);
    if (name === undefined || name.startsWith('$')) return undefined;
    fields.push(`${JSON.stringify(name)}:${inner(type, bytes, valueAt, valueEnd)}`);
  }
  return `{${fields.join(',')}}`;
}

function arrayText(bytes: Buffer, at: number, end: number): string | undefined {
  const items: string[] = [];
  for (const { type, nameAt, nameEnd, at: valueAt, end: valueEnd } of elementsIn(bytes, at, end)) {
    if (bytes.toString('latin1', nameAt, nameEnd) !== String(items.length)) return undefined;
    items.push(inner(type, bytes, valueAt, valueEnd));
  }
  return `[${items.join(',')}]`;
}

/** The old binary subtype carries its length twice. */
function binaryText(bytes: Buffer, at: number, end: number): string | undefined {
  const subtype = bytes[at + 4]!;
  const old = subtype === 2;
  if (old && (end - at < 9 || bytes.readInt32LE(at + 5) !== end - at - 9)) return undefined;
  const content = bytes.toString('base64', at + (old ? 9 : 5), end);
  return `{"$binary":{"base64":"${content}","subType":"${subtype.toString(16).padStart(2, '0')}"}}`;
}
