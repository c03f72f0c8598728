// Rows and sums that must be the same on both sides: what is declared, else all numbers of a table by its public texts.
import type { Invariant, Table } from './declare.ts';
import { planOf } from './plan.ts';

/** None where nothing of the table is public: groups stand in reports. */
export function invariantsOf(table: Table): readonly Invariant[] {
  if (table.invariants) return table.invariants;
  const { fields } = planOf(table.columns);
  const by = fields.filter(({ column }) => column.facts.public && column.type === 'text').map(({ name }) => name);
  const isSummed = (type: string) => type.startsWith('numeric') || type === 'bigint' || type === 'integer';
  const sums = fields.filter(({ column: { codec, type } }) => isSummed(type) && !codec.refers).map(({ name }) => name);
  return by.length === 0 ? [] : [{ name: `${table.name}_by_${by.join('_and_')}`, by, sums }];
}
