// TradingAgents-CN in the language: whole, and the laws over documents of the seed, dirty ones too, in which fields hold anything.
import { serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { elementsOf, documentOf, type Element } from '../../mappings/back/elements.ts';
import { checked } from '../../mappings/language/application.ts';
import type { Declaration } from '../../mappings/language/declare.ts';
import { tablesOf } from '../../mappings/language/forward.ts';
import { planOf } from '../../mappings/language/plan.ts';
import { application } from '../../mappings/tradingagents-cn/index.ts';
import { generators } from '../../seed/world.ts';
import { anyValue, documentOf as anyDocument } from '../support/bson-bytes.ts';
import { testLaws } from './laws.ts';

const seeded = generators({ documents: 1000, dirty: 0.5, seed: 11 });
const settings = { zone: 'Asia/Shanghai', providers: [], asOf: Date.UTC(2026, 10, 24) };

test('the application is whole, and comes in the order of loading', () => {
  const sorted = checked(application.map((declaration) => ({ from: declaration.collection, declaration })));
  expect(sorted.map((one) => one.collection)).toHaveLength(application.length);
});

/** The same document with these fields instead of its own, and after them. */
const withFields = (bytes: Uint8Array, fields: readonly Element[]): Buffer => {
  const others = elementsOf(bytes).filter(({ name }) => !fields.some((one) => one.name === name));
  return Buffer.from(documentOf([...others, ...fields]));
};

export function documentsWithAnything(declaration: Declaration, faults: boolean): fc.Arbitrary<Buffer> {
  const plans = tablesOf(declaration).map(({ columns }) => planOf(columns));
  const names = plans.flatMap(({ fields, entries }) => [
    ...fields.flatMap(({ places }) => places.flat().map(([first]) => first!)),
    ...entries.flatMap(({ entries: its }) => Object.keys(its.fields)),
  ]);
  const other = ['extra', 'metadata', '_causeway', 'constructor', '__proto__', 'x.y', '12', 'name'];
  const field = fc
    .tuple(fc.constantFrom(...names, ...other), anyValue({ depth: 2, faults }))
    .map(([name, value]): Element => ({ ...elementsOf(anyDocument([['v', value]]))[0]!, name }));
  return fc
    .tuple(fc.constantFrom(...made(declaration)), fc.uniqueArray(field, { maxLength: 2, selector: (one) => one.name }))
    .map(([bytes, fields]) => withFields(bytes, fields));
}

const made = (declaration: Declaration): Uint8Array[] =>
  seeded
    .filter((one) => one.shape.mapping === declaration.collection)
    .flatMap((one) => Array.from({ length: one.plan.count }, (_, i) => serialize(one.make(i).document)));

describe.each(
  application
    .filter((declaration) => tablesOf(declaration).length > 0)
    .map((declaration) => [declaration.collection, declaration] as const),
)('%s', (_, declaration) => {
  const tame = fc.constantFrom(...made(declaration).map((bytes) => Buffer.from(bytes)));
  const any = fc.oneof(tame, documentsWithAnything(declaration, false), documentsWithAnything(declaration, true));
  testLaws(declaration, { any, tame, settings });
});
