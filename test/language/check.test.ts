// A mapping that is not whole is refused when it is loaded; the message names file, column and mend.
import { describe, expect, test } from 'vitest';
import { checked, MappingRefused } from '../../mappings/language/application.ts';
import type { Column } from '../../mappings/language/column.ts';
import { keys, mapping, table, type Declaration } from '../../mappings/language/declare.ts';
import { orderOf } from '../../mappings/language/order.ts';
import { column, derived, id, ref, residual, rows, text, type Codec } from '../../mappings/language/words.ts';
import { textCodec } from '../../mappings/language/codecs/text.ts';
import { categories, shop } from './samples.ts';

const rest = { metadata: residual() };
const one = (columns: object, options: object = {}, name = 'things'): Declaration =>
  mapping(name, { class: 'static', to: table(name, { ...columns, ...rest } as never, options) });
const messageOf = (...declarations: Declaration[]): string => {
  try {
    checked(declarations.map((declaration) => ({ from: `${declaration.collection}.ts`, declaration })));
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(MappingRefused);
    return (error as Error).message;
  }
};
const noWayBack = { ...textCodec, write: undefined } as unknown as Codec<string>;

describe('refused', () => {
  test.each<[string, Declaration[], string]>([
    ['no word', [one({ name: 'text' })], 'things.ts: things.name is made by no word of the language: use one of text,'],
    [
      'no word of a table',
      [one({ name: text() }, { index: [] })],
      'things.ts: table things says `index`, which is no word: it may say',
    ],
    ['no word of a mapping', [{ ...one({}), klass: 1 } as never], 'things.ts: the mapping says `klass`'],
    ['no source', [one({ name: text().from('') })], "things.name has no source: name its field with .from('field')"],
    [
      'derived from nothing',
      [one({ a: derived(textCodec, ['b'], () => '') })],
      'things.a is derived from b, which is no column of things',
    ],
    [
      'a unique set without rule',
      [one({ a: text() }, { unique: [{ columns: ['a'], rule: '' }] })],
      'the unique set (a) of things has no rule',
    ],
    [
      'two unique rules of a name',
      [one({ a: text().unique({ rule: 'x' }), b: text().unique({ rule: 'x' }) })],
      'two unique rules of things are called x',
    ],
    ['a rank of nothing', [one({ a: text().unique({ rank: ['b'] }) })], 'things.a ranks by b'],
    [
      'two mappings for one table',
      [one({}), mapping('others', { class: 'static', to: table('things', rest) })],
      'others.ts: the table things is also that of things.ts: give one',
    ],
    [
      'two mappings for one source',
      [one({}), { ...one({}, {}, 'more'), aliases: ['things'] }],
      'the source collection things is also that of things.ts',
    ],
    [
      'a child table of a name that is taken',
      [one({ a: rows('a', { table: 'things', columns: { b: text() } }) })],
      'the table things is also that of things.ts',
    ],
    [
      'a ref to nothing',
      [one({ a: ref('nobody') })],
      'things.a refers to nobody, which is no mapping: name one of things',
    ],
    [
      'a ref by a column that is not there',
      [one({ a: ref('things', { by: ['b'] }) })],
      'things.a finds its row by things.b',
    ],
    [
      'a child known by what it has not',
      [one({ a: rows('a', { table: 'as', key: ['b' as never], columns: { c: text() } }) })],
      'rows of as are known by b, which is no column of as',
    ],
    [
      'keys of a table that is not there',
      [mapping('k', { class: 'active', to: keys('ks', table('gone', rest), { prefix: 'k:', key: () => undefined }) })],
      'the keys ks are durable in gone, which is none of its tables',
    ],
    [
      'a codec without way back',
      [one({ a: column(noWayBack) })],
      'things.a: the codec text has no way back: give it `write`',
    ],
    [
      'two columns of one field',
      [one({ a: text().from('x'), b: text().from('x') })],
      'things.b and things.a both read x: make one of them derived()',
    ],
    ['a field and a field of it', [one({ a: text().from('x'), b: text().from('x.y') })], 'one is inside the other'],
    ['no residual', [mapping('x', { class: 'static', to: table('xs', { a: text() }) })], 'xs has no residual()'],
    ['a column of the store', [one({ id: text() })], 'things.id is a column that the store adds by itself'],
    [
      'an invariant by what is personal',
      [one({ a: text() }, { invariants: [{ name: 'i', by: ['a'], sums: [] }] })],
      'say .public() of it if it holds no personal data',
    ],
    [
      'orElse that its own check refuses',
      [one({ a: (text() as Column<string>).oneOf(['x']).orElse('y' as never) })],
      'things.a: what orElse says is refused by its own check',
    ],
    ['a time that may be null', [one({ a: text() }, { time: 'a' })], 'things is partitioned by a, which may be null'],
    [
      'a circle',
      [one({ a: ref('others') }), one({ a: ref('things') }, {}, 'others')],
      'things.ts: things refers to others refers to things: a circle',
    ],
  ])('%s', (_, declarations, expected) => {
    expect(messageOf(...declarations)).toContain(expected);
  });
});

test('whole mappings come in the order of loading; a table whose rows refer to each other is told', () => {
  const sorted = checked(shop.map((declaration) => ({ from: 'shop.ts', declaration }))).map((its) => its.collection);
  expect(sorted.indexOf('users')).toBeLessThan(sorted.indexOf('orders'));
  expect(orderOf(shop).trees).toEqual(['categories']);
  expect(messageOf(categories, one({ a: id() }))).toBe('');
});
