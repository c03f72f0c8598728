// MongoDB's names of BSON types, by the values' marks: drivers bring copies of the bson package of their own.
import { RawValue } from './bson/raw-value.ts';

const names: Record<string, string> = {
  Int32: 'int',
  Double: 'double',
  Long: 'long',
  Decimal128: 'decimal',
  ObjectId: 'objectId',
  Binary: 'binData',
  Timestamp: 'timestamp',
  BSONRegExp: 'regex',
  Code: 'javascript',
  MinKey: 'minKey',
  MaxKey: 'maxKey',
  BSONSymbol: 'symbol',
};

/** By their bytes; kinds that values with a mark have are there too, for those that JavaScript cannot hold. */
const namesByType: Record<number, string> = {
  0x01: 'double',
  0x02: 'string',
  0x03: 'object',
  0x04: 'array',
  0x05: 'binData',
  0x06: 'undefined',
  0x09: 'date',
  0x0b: 'regex',
  0x0c: 'dbPointer',
  0x0d: 'javascript',
  0x0e: 'symbol',
  0x0f: 'javascriptWithScope',
  0x13: 'decimal',
};

/** MongoDB's name of the value's BSON type; `missing` for undefined, as $type says. Values are decoded without promotion. */
export function typeOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (value instanceof RawValue) return namesByType[value.type] ?? 'unknown';
  if (Array.isArray(value)) return 'array';
  if (value instanceof Date) return 'date';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return 'double';
  if (typeof value === 'bigint') return 'long';
  const mark = (value as { _bsontype?: string })._bsontype;
  return mark === undefined ? 'object' : (names[mark] ?? mark);
}

/** The type found at a dotted path (`decision.confidence`, `reports.0.name`, `reports[0].name`); an empty path is the document itself. */
export function typeAt(document: Record<string, unknown>, path: string): string {
  if (path === '' || Object.hasOwn(document, path)) return typeOf(path === '' ? document : document[path]);
  let at: unknown = document;
  for (const part of path.replace(/\[(\d+)\]/g, '.$1').split('.')) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, part)) return 'missing';
    at = (at as Record<string, unknown>)[part];
  }
  return typeOf(at);
}
