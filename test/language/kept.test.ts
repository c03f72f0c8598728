// What no column gives back is kept, and a document made anew has it again in its bytes: each case here was lost once.
import { Code, Decimal128, Double, Int32, ObjectId, serialize } from 'bson';
import { describe, expect, test } from 'vitest';
import { sourceIdOf } from '../../core/identity.ts';
import { elementAt, elementOf, elementsOf, documentOf, type Element } from '../../mappings/back/elements.ts';
import { fromJson, fromKept } from '../../mappings/back/json.ts';
import type { Declaration } from '../../mappings/language/declare.ts';
import { forward } from '../../mappings/language/forward.ts';
import { put } from '../../mappings/language/put.ts';
import { Notes } from '../../mappings/notes.ts';
import tokenUsage from '../../mappings/tradingagents-cn/token-usage.ts';
import quotes from '../../mappings/tradingagents-cn/quotes.ts';

const settings = { zone: 'Asia/Shanghai', providers: [], asOf: Date.UTC(2026, 10, 24) };
const usage = {
  _id: new ObjectId('68f9e12fc0958945793f6065'),
  timestamp: '2025-10-20T14:03:22.417803+08:00',
  provider: 'deepseek',
  model_name: 'deepseek-chat',
  input_tokens: new Int32(3),
  output_tokens: new Int32(1),
  cost: new Double(0.5),
};

/** Read, and made anew of what the targets hold. */
function madeAnew(declaration: Declaration, bytes: Uint8Array): Uint8Array {
  const read = forward(declaration, bytes, settings);
  if (read.state !== 'loaded') throw new Error(`${read.state}: ${read.rule}`);
  const wanted = JSON.parse(JSON.stringify(read.content, (_, its: unknown) => (typeof its === 'bigint' ? Number(its) : its))) as typeof read.content; // prettier-ignore
  const result = put(declaration, { sourceId: sourceIdOf(bytes), old: undefined, wanted, settings });
  expect(result.unrepresentable).toEqual([]);
  return result.bytes;
}
const shown = (element: Element | undefined) =>
  element && `${element.type} ${Buffer.from(element.value).toString('hex')}`;

describe('Notes', () => {
  const back = (value: unknown): Element => {
    const notes = new Notes();
    notes.keep('__proto__', value);
    const original = (JSON.parse(JSON.stringify(notes.residual())) as { original: Record<string, unknown> }).original;
    expect(Object.keys(original)).toEqual(['__proto__']);
    return elementOf('v', fromKept(Object.entries(original)[0]![1]));
  };
  const named = documentOf([elementOf('b', new Int32(1)), elementOf('1', new Int32(2))]);

  test.each<[string, unknown]>([
    ['a document that looks like Extended JSON', { $numberDecimal: '0.05' }],
    ['a Decimal128', Decimal128.fromString('0.05')],
    ['text with U+0000', 'a\u0000b'],
    ['a document that looks like kept text', { $utf8: 'eA==' }],
    ['a document that looks like kept bytes', { $bson: '10' }],
    ['code with scope', new Code('x', { b: new Int32(1), a: new Double(2) })],
    ['the least Int32', new Int32(-2147483648)],
  ])('%s comes back as it was, under any name', (_, value) => {
    expect(shown(back(value))).toBe(shown(elementOf('v', value)));
  });

  test('code with scope keeps the order of names that look like numbers', () => {
    const text = Buffer.from('\u0002\u0000\u0000\u0000x\u0000', 'latin1');
    const value = Buffer.concat([Buffer.alloc(4), text, named]);
    value.writeInt32LE(value.length, 0);
    const bytes = documentOf([...elementsOf(serialize(usage)), { name: 'extra', type: 15, value }]);
    expect(shown(elementAt(madeAnew(tokenUsage, bytes), ['extra']))).toBe(shown(elementAt(bytes, ['extra'])));
  });
});

test('the least Int32 in JSON is an Int32 again', () => {
  expect(shown(fromJson('v', -2147483648, undefined, 'v'))).toBe(shown(elementOf('v', new Int32(-2147483648))));
});

test.each(['+00:00', '-05:00', '+08:00'])('a time with the offset %s comes back with it', (offset) => {
  const timestamp = `2025-10-20T14:03:22.417803${offset}`;
  const bytes = serialize({ ...usage, _id: 'x', timestamp });
  expect(shown(elementAt(madeAnew(tokenUsage, bytes), ['timestamp']))).toBe(shown(elementOf('timestamp', timestamp)));
});

describe('quotes', () => {
  const prices = Object.fromEntries(['open', 'high', 'low', 'close'].map((name) => [name, new Double(1.5)]));
  const quote = { _id: usage._id, symbol: '600519', market: 'CN', trade_date: '2025-10-20', ...prices };

  test('a field whose name stands in metadata already is its own field again', () => {
    const bytes = serialize({ ...quote, note: 'beside', metadata: { note: 'inside' }, _causeway: 'its own' });
    const again = madeAnew(quotes, bytes);
    for (const path of [['note'], ['metadata', 'note'], ['_causeway']])
      expect(shown(elementAt(again, path)), path.join('.')).toBe(shown(elementAt(bytes, path)));
  });

  test('a field named __proto__ is a field like any other', () => {
    const bytes = documentOf([...elementsOf(serialize(quote)), elementOf('__proto__', Decimal128.fromString('1.50'))]);
    expect(shown(elementAt(madeAnew(quotes, bytes), ['__proto__']))).toBe(shown(elementAt(bytes, ['__proto__'])));
  });
});
