// MongoDB's names of BSON types, by the values' marks: drivers bring copies of the bson package of their own.

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
};

/** MongoDB's name of the value's BSON type; `missing` for undefined, as $type says. Values are decoded without promotion. */
export function typeOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
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
