// Values as they are met, and values as COPY writes them.
import { Decimal128, Double, Int32, Long } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readInstant, zoneOffset } from '../../mappings/fields/instant.ts';
import { readInteger, readNumber, roundHalfEven } from '../../mappings/fields/number.ts';
import { readSymbol } from '../../mappings/tradingagents-cn/fields/symbol.ts';
import { encoderOf, microsText } from '../../stores/postgres/copy.ts';
import { bigint, jsonb, numeric, table, text, timestamptz } from '../../stores/postgres/target.ts';

const zone = 'Asia/Shanghai';

describe('instants', () => {
  test.each<[unknown, string | undefined]>([
    ['2025-10-20T14:03:22.417803+08:00', '2025-10-20 06:03:22.417803Z'],
    ['2025-10-20T06:03:22Z', '2025-10-20 06:03:22.000000Z'],
    ['2025-10-20 14:03:22', '2025-10-20 06:03:22.000000Z'],
    ['2025-07-30T08:43:31.247159', '2025-07-30 00:43:31.247159Z'],
    [new Date('2025-09-01T01:15:00Z'), '2025-09-01 01:15:00.000000Z'],
    [new Double(1754877600.25), '2025-08-11 02:00:00.250000Z'],
    [Long.fromNumber(1730770200000), '2024-11-05 01:30:00.000000Z'],
    [new Int32(1754100000), '2025-08-02 02:00:00.000000Z'],
    ['2025-02-29T00:00:00', undefined],
    ['2025-13-01T00:00:00+08:00', undefined],
    ['2025-10-20T25:03:22.417803+08:00', undefined],
    ['未知', undefined],
    ['', undefined],
    [null, undefined],
    [new Double(NaN), undefined],
  ])('%s', (value, expected) => {
    const read = readInstant(value, zone);
    expect(read && microsText(read.micros)).toBe(expected);
  });

  test('text with a zone means the same whichever way it is written', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1971-01-01'), max: new Date('2199-01-01'), noInvalidDate: true }),
        fc.integer({ min: 0, max: 999999 }),
        (date, micros) => {
          const local = new Date(Math.floor(date.getTime() / 1000) * 1000 + 8 * 3_600_000).toISOString().slice(0, 19);
          const fraction = String(micros).padStart(6, '0');
          const written = readInstant(`${local}.${fraction}+08:00`, 'UTC')!.micros;
          expect(written).toBe(readInstant(`${local.replace('T', ' ')}.${fraction}+0800`, 'UTC')!.micros);
          expect(new Date(Math.floor(written / 1000)).getTime()).toBe(
            Math.floor(date.getTime() / 1000) * 1000 + Math.floor(micros / 1000),
          );
        },
      ),
    );
  });

  test('zones with summer time', () => {
    expect(zoneOffset('America/New_York', Date.UTC(2025, 0, 15))).toBe(-300);
    expect(zoneOffset('America/New_York', Date.UTC(2025, 6, 15))).toBe(-240);
  });
});

describe('numbers', () => {
  test.each<[unknown, string]>([
    [new Double(0.015642), '0.015642'],
    [new Double(1e-7), '1e-7'],
    [new Double(-0), '0'],
    ['¥0.0123', '0.0123'],
    ['12.5元', '12.5'],
    [Decimal128.fromString('0.10'), '0.10'],
    [{ $numberDecimal: '0.05' }, '0.05'],
    [Long.fromString('9007199254740993'), '9007199254740993'],
  ])('%o', (value, expected) => expect(readNumber(value)).toMatchObject({ is: 'number', text: expected }));
  test.each<[unknown, string]>([
    [new Double(NaN), 'nan'],
    ['NaN', 'nan'],
    [new Double(-Infinity), 'infinite'],
    ['免费', 'not a number'],
    ['1,5', 'not a number'],
    [null, 'missing'],
    [{}, 'not a number'],
    [true, 'not a number'],
  ])('%o is %s', (value, is) => expect(readNumber(value)).toMatchObject({ is }));

  test('rounding half to even loses at most half a unit of the last place', () => {
    expect(roundHalfEven('0.0012000000000000001', 12)).toEqual({ text: '0.001200000000', exact: false });
    expect(roundHalfEven('2.5', 0).text).toBe('2');
    expect(roundHalfEven('3.5', 0).text).toBe('4');
    expect(roundHalfEven('1e-7', 12)).toEqual({ text: '0.000000100000', exact: true });
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e7, noNaN: true }), (value) => {
        const { text, exact } = roundHalfEven(String(value), 12);
        expect(Math.abs(Number(text) - value)).toBeLessThanOrEqual(exact ? 0 : 5e-13 + value * 2e-16);
      }),
    );
  });

  test('whole numbers', () => {
    expect(readInteger(new Double(1234))).toMatchObject({ is: 'integer', value: 1234, plain: false });
    expect(readInteger(new Int32(7))).toMatchObject({ is: 'integer', value: 7, plain: true });
    expect(readInteger('567')).toMatchObject({ is: 'integer', value: 567 });
    expect(readInteger(new Double(12.5))).toMatchObject({ is: 'fraction' });
    expect(readInteger(Long.fromString('9223372036854775807'))).toMatchObject({
      is: 'integer',
      value: 9223372036854775807n,
    });
  });
});

test.each<[unknown, string | undefined, string | undefined]>([
  ['600519', '600519', 'CN'],
  [new Int32(1), '000001', 'CN'],
  ['sz000001', '000001', 'CN'],
  ['600519.SH', '600519', 'CN'],
  ['0700.HK', '00700', 'HK'],
  ['00700', '00700', 'HK'],
  ['AAPL', 'AAPL', 'US'],
  ['贵州茅台', undefined, undefined],
  ['???', undefined, undefined],
])('symbol %s', (value, symbol, market) => {
  const read = readSymbol(value);
  expect([read?.symbol, read?.market]).toEqual([symbol, market]);
});

test('more than an index takes sets the document aside, by characters that are several bytes too', () => {
  const indexed = encoderOf(
    table('t', { columns: { a: text(), b: text(), c: text() }, unique: [['a']], indexes: [['b', 'c desc']] }),
  );
  expect(indexed('id', { a: 'x'.repeat(2600), b: 'y'.repeat(2000) })).toContain('x'.repeat(2600));
  for (const row of [{ a: 'x'.repeat(2601) }, { a: '码'.repeat(900) }, { b: 'y'.repeat(2000), c: 'z'.repeat(601) }])
    expect(() => indexed('id', row)).toThrow(/has an index on .*, which takes 2600 bytes/);
  const free = encoderOf(table('t', { columns: { a: text() } }));
  expect(free('id', { a: 'x'.repeat(5000) }).length).toBeGreaterThan(5000);
});

describe('COPY text', () => {
  const encode = encoderOf(
    table('t', {
      columns: { a: text(), b: jsonb(), c: timestamptz(), d: numeric(20, 12), e: bigint({ notNull: true }) },
    }),
  );

  test('tabs, newlines and backslashes cannot break a line', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }).filter((one) => !one.includes('\u0000')),
        fc.jsonValue(),
        (a, b) => {
          if (JSON.stringify(b).includes('\\u0000')) return;
          const line = encode('id', { a, b, c: 0, d: '1.5', e: 3 });
          expect(line.endsWith('\n')).toBe(true);
          const fields = line.slice(0, -1).split('\t');
          expect(fields.length).toBe(6);
          expect(fields.every((field) => !field.includes('\n') && !field.includes('\r'))).toBe(true);
          const unescaped = fields[1]!.replace(
            /\\(.)/g,
            (_, character: string) => ({ n: '\n', r: '\r', t: '\t' })[character] ?? character,
          );
          expect(unescaped).toBe(a);
        },
      ),
    );
  });

  test('a missing required value, an unknown column, a wrong type: none is written', () => {
    expect(() => encode('id', { a: 'x' })).toThrow('t.e must have a value');
    expect(() => encode('id', { e: 1, zz: 1 })).toThrow('zz');
    expect(() => encode('id', { e: 'one' })).toThrow('t.e');
    expect(() => encode('id', { e: 1, b: { x: 'a\u0000b' } })).toThrow('U+0000');
    expect(encode('id', { e: 1, b: { x: 'a\\u0000b' } })).toContain('u0000b');
  });
});
