// The verifier's canonical form from the source's side: decimals, JSON and digests. Its twin in SQL is tested against it on a real server.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Double, Int32, Long } from 'bson';
import { add, canonicaliserOf, isEqual, merge, noDigest, Unfit } from '../../activities/verify/canonical.ts';
import { decimal, jsonText, plainNumber } from '../../activities/verify/canonical-text.ts';
import { differences } from '../../activities/verify/differ.ts';
import { jsonb, numeric, table, text } from '../../stores/postgres/target.ts';

test.each([
  ['0.100', 12, '0.1'],
  ['1e-7', 12, '0.0000001'],
  ['-0.0', 4, '0'],
  ['12', 0, '12'],
  ['1.5', 0, '2'],
  ['-2.5', 0, '-3'],
  ['1200', 2, '1200'],
  ['1.23456789', 6, '1.234568'],
  ['0.0000004', 6, '0'],
  ['1.2E+3', 2, '1200'],
  ['NaN', 2, 'NaN'],
])('decimal %s at scale %i is %s', (given, scale, wanted) => expect(decimal(given, scale)).toBe(wanted));

test('a plain number is the same number without exponent', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const plain = plainNumber(value);
      expect(plain).toMatch(/^-?\d+(\.\d+)?$/);
      expect(Number(plain)).toBe(value + 0);
    }),
  );
});

test('JSON: keys by length, then bytes; what jsonb cannot hold is refused', () => {
  expect(jsonText({ bb: 1, a: [1e21, 1.5e-7, null], é: true, c: '"\n' })).toBe(
    '{"a": [1000000000000000000000, 0.00000015, null], "c": "\\"\\n", "bb": 1, "é": true}',
  );
  expect(jsonText({ a: 'x\u0000' })).toBeUndefined();
});

test('a digest does not depend on order, and counts what is repeated', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), (items) => {
      const [one, other, twice] = [noDigest(), noDigest(), noDigest()];
      for (const item of items) add(one, item);
      for (const item of items.toReversed()) add(other, item);
      expect(isEqual(one, other)).toBe(true);
      merge(twice, one);
      add(twice, items[0]!);
      expect(isEqual(one, twice)).toBe(false);
    }),
  );
});

test('an absent column is null, a required one unfit', () => {
  const write = canonicaliserOf(table('t', { columns: { a: text({ notNull: true }), b: numeric(10, 2), c: jsonb() } }));
  expect(write('x', { a: 'A', b: '1.50' }, () => null)).toBe('["t", "x", "A", "1.5", true, null]');
  expect(() => write('x', {}, () => null)).toThrow(Unfit);
});

test('differences name paths; types count, the order of fields does not', () => {
  expect(differences({ a: new Int32(1), b: { c: 'x' } }, { b: { c: 'x' }, a: new Int32(1) }, 'd')).toEqual([]);
  expect(differences({ a: 1, b: { c: 'x' } }, { a: new Double(1), b: { c: 'y', d: null } }, 'd')).toEqual([
    'd.a',
    'd.b.c',
    'd.b.d',
  ]);
  expect(differences([1, 2], [1], 'd')).toEqual(['d.length']);
  expect(differences(new Long(5), new Int32(5), 'd')).toEqual(['d']);
});
