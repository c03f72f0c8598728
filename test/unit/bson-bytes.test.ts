// BSON bytes of every type: as identity, as text, and decoded; whatever JavaScript cannot hold comes back as the bytes it was, or under a rule.
import {
  Binary,
  Code,
  Decimal128,
  Double,
  EJSON,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  serialize,
  Timestamp,
} from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeDocument, decodeValue, faultOf } from '../../core/bson/decode.ts';
import { valueOfText } from '../../core/bson/parse.ts';
import { RawValue } from '../../core/bson/raw-value.ts';
import { elementNamed } from '../../core/bson/reader.ts';
import { textOfValue } from '../../core/bson/text.ts';
import { typeOf } from '../../core/bson-type.ts';
import { idFromSourceId, idOf, idsFrom, sourceId, sourceIdOf } from '../../core/identity.ts';
import { anyDocument, anyValue, documentOf, of, type Value } from '../support/bson-bytes.ts';

const runs = { numRuns: 3000 };
const encode = (document: object) => Buffer.from(serialize(document, { ignoreUndefined: false }));
const idDocument = (id: Value) => documentOf([['_id', id]]);

describe('identity', () => {
  test('the text of a value gives back its bytes, whatever they are', () => {
    fc.assert(
      fc.property(anyValue({ faults: true }), ({ type, bytes }) => {
        const back = valueOfText(textOfValue(type, bytes));
        expect(back && { type: back.type, hex: Buffer.from(back.bytes).toString('hex') }).toEqual({
          type,
          hex: bytes.toString('hex'),
        });
      }),
      runs,
    );
  });

  test('an id found by its source id has the bytes it had', () => {
    fc.assert(
      fc.property(anyValue({ faults: true }), (id) => {
        const text = sourceIdOf(idDocument(id));
        const found = idFromSourceId(text);
        expect(encode({ _id: found }).toString('hex')).toBe(idDocument(id).toString('hex'));
        expect(sourceId(found)).toBe(text);
        expect(sourceId(idOf(idDocument(id)))).toBe(text);
        expect(text).not.toContain('\u0000');
      }),
      runs,
    );
  });

  test('what drivers write has the text that Extended JSON has for it', () => {
    const ids = [
      'text',
      '',
      'a"\u0000\n',
      new Int32(1),
      new Double(1),
      new Double(-0),
      new Double(1e21),
      new Double(0.1),
      new Double(NaN),
      new Double(-Infinity),
      Long.fromString('-9223372036854775808'),
      Decimal128.fromString('1.10'),
      true,
      null,
      new Date(1),
      new Timestamp({ t: 1, i: 2 }),
      new Binary(Buffer.from('ab'), 0),
      new Binary(Buffer.alloc(16, 7), 4),
      new Binary(Buffer.from('ab'), 2),
      new MinKey(),
      new MaxKey(),
      new Code('f()'),
      { b: new Int32(1), a: ['x', { c: null }] },
    ];
    for (const id of ids)
      expect(sourceIdOf(encode({ _id: id })), EJSON.stringify({ id })).toBe(EJSON.stringify(id, { relaxed: false }));
    const id = new ObjectId();
    expect(sourceIdOf(encode({ _id: id }))).toBe(id.toHexString());
    expect(sourceIdOf(encode({ x: 1, _id: id }))).toBe(id.toHexString());
  });

  test.each([
    ['order of fields', of.object(['b', of.int(1)], ['1', of.int(2)]), of.object(['1', of.int(2)], ['b', of.int(1)])],
    ['a name twice', of.object(['a', of.int(1)], ['a', of.int(2)]), of.object(['a', of.int(2)])],
    ['far dates', of.date(9_000_000_000_000_000n), of.date(9_000_000_000_000_001n)],
    ['NaN', of.double('000000000000f87f'), of.double('000000000000f8ff')],
    ['zero', of.number(0), of.number(-0)],
    ['decimals', of.decimal('1'), of.decimal('1.0')],
    ['symbol and text', of.symbol('a'), of.text('a')],
    ['undefined and null', of.object(['a', of.undefined]), of.object(['a', of.nothing])],
    ['options', of.regex('a', 'xi'), of.regex('a', 'ix')],
    ['keys of arrays', of.keyed(['1', of.int(1)]), of.keyed(['0', of.int(1)])],
    ['array and object', of.array(of.int(1)), of.object(['0', of.int(1)])],
    ['invalid text', of.text(Buffer.from([0xff])), of.text(Buffer.from([0xfe]))],
    ['a document like a number', of.object(['$numberInt', of.text('1')]), of.int(1)],
    ['scope', of.codeWithScope('f', documentOf([])), of.code('f')],
    ['int and double', of.int(1), of.number(1)],
  ])('two ids, two texts: %s', (_, a, b) => {
    expect(sourceIdOf(idDocument(a))).not.toBe(sourceIdOf(idDocument(b)));
  });

  test.each([
    'legacy-42',
    '',
    ' ',
    '{',
    '{"a":',
    '"a',
    'nul',
    '507F1F77BCF86CD799439011',
    ' "a"',
    '{"$numberInt": "1"}',
    '1',
    '{"$oid":"507f1f77bcf86cd799439011"}',
    '"\\u0061"',
    '{"$bson":"0"}',
    '{"$bson":"03"}',
    '{"$bson":"7e00"}',
    '[1]',
  ])('text that no id was made from names no document: %s', (text) => {
    expect(idFromSourceId(text)).toBeUndefined();
    expect(idsFrom([text, '"a"'])).toEqual(['a']);
  });
});

describe('decoded', () => {
  test('without a fault a document is written as the bytes it was read from, its own fields in the order of objects', () => {
    fc.assert(
      fc.property(anyDocument(), (bytes) => {
        const { document } = decodeDocument(documentOf([['v', { type: 3, bytes }]]));
        const fault = faultOf(document);
        if (fault) expect(fault).toMatchObject({ rule: 'field_name_reserved', path: expect.stringMatching(/toBSON$/) });
        else expect(encode(document).subarray(7, -1).toString('hex')).toBe(bytes.toString('hex'));
      }),
      runs,
    );
  });

  test('whether objects keep the order of its fields is told', () => {
    fc.assert(
      fc.property(anyDocument(), (bytes) => {
        const { document, reordered } = decodeDocument(bytes);
        if (!reordered) expect(encode(document).equals(bytes)).toBe(true);
      }),
      runs,
    );
    const nested = documentOf([['a', of.object(['b', of.int(1)], ['1', of.int(2)])]]);
    expect(decodeDocument(nested).reordered).toBe(true);
    expect(
      decodeDocument(
        documentOf([
          ['1', of.int(2)],
          ['b', of.int(1)],
        ]),
      ).reordered,
    ).toBe(false);
  });

  test.each([
    ['field_name_twice', 'a.b', documentOf([['a', of.object(['b', of.int(1)], ['b', of.int(2)])]])],
    [
      'field_name_twice',
      '_id',
      documentOf([
        ['_id', of.int(1)],
        ['_id', of.int(2)],
      ]),
    ],
    ['text_not_utf8', 'a.0', documentOf([['a', of.array(of.text(Buffer.from([0xff])))]])],
    ['text_not_utf8', 'a', documentOf([['a', of.object([Buffer.from([0xff]), of.int(1)])]])],
    ['array_keys_irregular', 'a', documentOf([['a', of.keyed(['1', of.int(1)])]])],
    ['field_name_reserved', 'a._bsontype', documentOf([['a', of.object(['_bsontype', of.text('ObjectId')])]])],
    ['bson_malformed', '', documentOf([['a', { type: 8, bytes: Buffer.from([7]) }]])],
  ] as const)('a rule and a place: %s at %s', (rule, path, bytes) => {
    expect(faultOf(decodeDocument(bytes).document)).toMatchObject({ rule, path });
  });

  test('values that JavaScript cannot hold are no date, no number and no text, and say their type', () => {
    const values: [string, Value][] = [
      ['date', of.date(9_000_000_000_000_000n)],
      ['double', of.double('010000000000f87f')],
      ['decimal', of.decimalBits('ffffffffffffffffffffffffffff8f6f')],
      ['undefined', of.undefined],
      ['symbol', of.symbol('a')],
      ['dbPointer', of.dbPointer('a.b', '507f1f77bcf86cd799439011')],
      ['regex', of.regex('a', 'xi')],
    ];
    for (const [name, { type, bytes }] of values) {
      const value = decodeValue(type, bytes);
      expect(value, name).toBeInstanceOf(RawValue);
      expect(typeOf(value)).toBe(name);
      expect(EJSON.parse(EJSON.stringify({ v: value }, { relaxed: false }), { relaxed: true })).toBeTruthy();
      expect(encode({ other: value }).equals(documentOf([['other', { type, bytes }]]))).toBe(true);
    }
  });

  test('bytes that are no BSON are told, never thrown', () => {
    fc.assert(
      fc.property(anyDocument({ faults: true }), fc.nat(), fc.nat(255), (bytes, at, byte) => {
        const damaged = Buffer.from(bytes);
        damaged[at % damaged.length] = byte;
        expect(decodeDocument(damaged).document).toBeTypeOf('object');
      }),
      runs,
    );
    expect(elementNamed(documentOf([['a', of.int(1)]]), 'b')).toBeUndefined();
  });
});
