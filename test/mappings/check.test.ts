// A mapping that is not whole is refused when it is loaded, with every problem in a sentence.
import { expect, test } from 'vitest';
import { problemsBetween, problemsOf } from '../../mappings/check.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { loadMappings } from '../../mappings/registry.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';

const mappings = await loadMappings();
const users = mappings.get('subscription_users') ?? [...mappings.values()].find((one) => one.unique.length > 0)!;
const withTables = (mapping: Mapping, change: (table: TableTarget, i: number) => Partial<TableTarget>): Mapping => ({
  ...mapping,
  targets: mapping.targets.map((target, i) =>
    target.store === 'postgres' ? { ...target, ...change(target as TableTarget, i) } : target,
  ),
});

test('those that are shipped are whole', () => {
  for (const mapping of mappings.values()) expect(problemsOf(mapping)).toEqual([]);
  expect(problemsBetween(mappings)).toEqual([]);
});

test.each<[string, (mapping: Mapping) => Mapping, RegExp]>([
  ['a unique set without a rule', (one) => ({ ...one, unique: [] }), /each set needs its rule/],
  ['a rule without a set', (one) => withTables(one, () => ({ unique: [] })), /0 unique sets and \d unique rule/],
  ['a set of no column', (one) => withTables(one, (table) => (table.unique ? { unique: table.unique.map(() => []) } : {})), /is empty/],
  ['a set of a column that is not there', (one) => withTables(one, (table) => (table.unique ? { unique: table.unique.map(() => ['nobody']) } : {})), /column nobody/],
  ['a target twice', (one) => ({ ...one, targets: [...one.targets, one.targets[0]!] }), /twice/],
  ['a child of nobody', (one) => withTables(one, (table) => (table.unique ? {} : { child: { of: 'nobody', column: 'x', unique: [] } })), /belongs to nobody/],
  ['a value rule of no column', (one) => ({ ...one, values: [{ table: 'users', column: 'nobody' }] }), /nobody/],
  ['an invariant of no table', (one) => ({ ...one, invariants: [{ name: 'i', table: 'nobody', by: ['a'], sums: [] }] }), /invariant i/],
  ['a column that the store adds', (one) => withTables(one, (table) => ({ columns: { ...table.columns, source_id: { type: 'text' } } }) as Partial<TableTarget>), /adds by itself/],
])('%s', (_, change, said) => expect(problemsOf(change(users)).join('; ')).toMatch(said)); // prettier-ignore

test('mappings that do not fit together', () => {
  const [one, other] = [...mappings.values()];
  const of = (...all: Mapping[]) => problemsBetween(new Map(all.map((mapping) => [mapping.collection, mapping]))).join('; '); // prettier-ignore
  expect(of(one!, { ...one!, collection: 'other' })).toMatch(/both write/);
  expect(of({ ...one!, after: ['nobody'] })).toMatch(/comes after nobody/);
  expect(of({ ...one!, after: [other!.collection] }, { ...other!, after: [one!.collection] })).toMatch(/circle/);
});
