// BSON made byte by byte, of every type, in any order, with names twice where asked: what drivers never write and servers keep all the same.
import { Decimal128 } from 'bson';
import fc from 'fast-check';
import { assemble, bsonType } from '../../core/bson/reader.ts';

/** One value: its BSON type and its bytes. */
export interface Value {
  readonly type: number;
  readonly bytes: Buffer;
}
export type Field = readonly [name: string | Buffer, value: Value];

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};
const int64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
};
const textBytes = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([int32(bytes.length + 1), bytes, Buffer.from([0])]);
};
const value = (type: number, bytes: Buffer): Value => ({ type, bytes });

/** Values by their kind, for tests that name one. */
export const of = {
  int: (number: number) => value(bsonType.int, int32(number)),
  long: (number: bigint) => value(bsonType.long, int64(number)),
  text: (text: string | Buffer) => value(bsonType.string, textBytes(text)),
  date: (millis: bigint) => value(bsonType.date, int64(millis)),
  bool: (truth: boolean) => value(bsonType.bool, Buffer.from([truth ? 1 : 0])),
  nothing: value(bsonType.null, Buffer.alloc(0)),
  undefined: value(bsonType.undefined, Buffer.alloc(0)),
  objectId: (hex: string) => value(bsonType.objectId, Buffer.from(hex, 'hex')),
  symbol: (text: string) => value(bsonType.symbol, textBytes(text)),
  regex: (pattern: string, options: string) => value(bsonType.regex, Buffer.from(`${pattern}\u0000${options}\u0000`)),
  dbPointer: (of: string, hex: string) =>
    value(bsonType.dbPointer, Buffer.concat([textBytes(of), Buffer.from(hex, 'hex')])),
  /** Eight bytes in hex, the lowest first. */
  double: (hex: string) => value(bsonType.double, Buffer.from(hex, 'hex')),
  number: (number: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(number);
    return value(bsonType.double, bytes);
  },
  decimal: (text: string) => value(bsonType.decimal, Buffer.from(Decimal128.fromString(text).bytes)),
  decimalBits: (hex: string) => value(bsonType.decimal, Buffer.from(hex, 'hex')),
  timestamp: (t: number, i: number) => value(bsonType.timestamp, int64((BigInt(t) << 32n) | BigInt(i))),
  binary: (subtype: number, content: Buffer) => {
    const inside = subtype === 2 ? Buffer.concat([int32(content.length), content]) : content;
    return value(bsonType.binary, Buffer.concat([int32(inside.length), Buffer.from([subtype]), inside]));
  },
  code: (code: string) => value(bsonType.code, textBytes(code)),
  codeWithScope: (code: string, scope: Buffer) => {
    const text = textBytes(code);
    return value(bsonType.codeWithScope, Buffer.concat([int32(4 + text.length + scope.length), text, scope]));
  },
  minKey: value(bsonType.minKey, Buffer.alloc(0)),
  maxKey: value(bsonType.maxKey, Buffer.alloc(0)),
  object: (...fields: Field[]) => value(bsonType.object, documentOf(fields)),
  array: (...items: Value[]) => value(bsonType.array, documentOf(items.map((item, i) => [String(i), item]))),
  /** An array whose keys are what they are. */
  keyed: (...fields: Field[]) => value(bsonType.array, documentOf(fields)),
};

export const documentOf = (fields: readonly Field[]): Buffer =>
  assemble(fields.map(([name, { type, bytes }]) => [type, Buffer.from(name as string), bytes]));

/** What may be made beside what every program reads and writes alike. */
export interface Peculiarities {
  /** Names twice, text that is no UTF-8, arrays with any keys, names that mark types: set aside by a rule. */
  readonly faults?: boolean;
  readonly depth?: number;
}

const farthest = 8_640_000_000_000_000n;
const time = fc.oneof(
  fc.bigInt({ min: -farthest, max: farthest }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(farthest, farthest + 1n, -farthest, -farthest - 1n, 0n),
);
const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((some) => Buffer.from(some).toString('hex'));
const word = fc.string({ unit: 'binary', maxLength: 12 });
const withoutZero = word.map((text) => text.replaceAll('\u0000', '0'));
const double = fc.oneof(
  fc.double().map(of.number),
  fc
    .constantFrom(
      '000000000000f07f',
      '000000000000f0ff',
      '000000000000f87f',
      '000000000000f8ff',
      '010000000000f87f',
      '0000000000000080',
    )
    .map(of.double),
);
const decimal = fc.oneof(
  fc
    .constantFrom('0', '-0', '1.10', '1E+3', 'Infinity', 'NaN', '0.000001', '9999999999999999999999999999999999')
    .map(of.decimal),
  hex(16).map(of.decimalBits),
);
const scalar: fc.Arbitrary<Value> = fc.oneof(
  double,
  word.map(of.text),
  fc
    .tuple(fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 128), fc.uint8Array({ maxLength: 20 }))
    .map(([subtype, bytes]) => of.binary(subtype, Buffer.from(bytes))),
  fc.constant(of.undefined),
  hex(12).map(of.objectId),
  fc.boolean().map(of.bool),
  time.map(of.date),
  fc.constant(of.nothing),
  fc
    .tuple(withoutZero, fc.constantFrom('', 'i', 'ix', 'imsx', 'xi', 'q', 'ii'))
    .map(([pattern, options]) => of.regex(pattern, options)),
  fc.tuple(word, hex(12)).map(([name, id]) => of.dbPointer(name, id)),
  word.map(of.code),
  word.map(of.symbol),
  fc.integer().map(of.int),
  fc.tuple(fc.nat(), fc.nat()).map(([t, i]) => of.timestamp(t, i)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(of.long),
  decimal,
  fc.constantFrom(of.minKey, of.maxKey),
);

const fieldName = fc.oneof(
  fc.string({ maxLength: 8 }).map((text) => text.replaceAll('\u0000', '0')),
  fc.constantFrom(
    '0',
    '1',
    '10',
    '007',
    '600519',
    '4294967295',
    'a',
    'b',
    '__proto__',
    'constructor',
    'toBSON',
    '$x',
    '$ref',
    '$id',
    'a.b',
    '',
  ),
  fc.constantFrom('\u0007', 'a\u0007b', '名前', '\ufeff', '\ufffd'),
);

/** Fields in any order; each name once. */
const onceEach = (inner: fc.Arbitrary<Value>) =>
  fc.uniqueArray(fc.tuple(fieldName, inner), { maxLength: 5, selector: ([name]) => name });

const broken: fc.Arbitrary<Value> = fc.constantFrom(
  of.text(Buffer.from([0xff, 0x41])),
  of.object(['a', of.int(1)], ['a', of.int(2)]),
  of.keyed(['1', of.int(1)], ['x', of.int(2)]),
  of.object(['_bsontype', of.text('ObjectId')]),
  of.object([Buffer.from([0xc3, 0x28]), of.int(1)]),
);

/** One value of any type. */
export function anyValue({ faults = false, depth = 4 }: Peculiarities = {}): fc.Arbitrary<Value> {
  const { value: any } = fc.letrec<{ value: Value }>((tie) => ({
    value: fc.oneof(
      { maxDepth: depth, depthSize: 'small' },
      {
        weight: 6,
        arbitrary: faults ? fc.oneof({ weight: 12, arbitrary: scalar }, { weight: 1, arbitrary: broken }) : scalar,
      },
      { weight: 1, arbitrary: onceEach(tie('value')).map((fields) => of.object(...fields)) },
      { weight: 1, arbitrary: fc.array(tie('value'), { maxLength: 4 }).map((items) => of.array(...items)) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(word, onceEach(tie('value')))
          .map(([code, scope]) => of.codeWithScope(code, documentOf(scope))),
      },
    ),
  }));
  return any;
}

/** A document of any fields; `id` first, where one is given. */
export const anyDocument = (peculiarities: Peculiarities = {}, id?: fc.Arbitrary<Value>): fc.Arbitrary<Buffer> =>
  fc
    .tuple(id ?? fc.constant(undefined), onceEach(anyValue(peculiarities)))
    .map(([first, fields]) =>
      documentOf([...(first ? [['_id', first] as const] : []), ...fields.filter(([name]) => name !== '_id')]),
    );
