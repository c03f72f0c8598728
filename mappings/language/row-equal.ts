// Which members of two rows are not the same. Child rows are compared as lists; what only notes a conversion is not compared.
import { canonicalJson } from '../back/json.ts';
import type { Plan } from './plan.ts';
import type { AnyRow } from './read.ts';
import { dataOf } from './rest.ts';
import { canonOf, sameColumn } from './same.ts';

const childrenOf = (row: AnyRow | undefined, name: string): readonly AnyRow[] =>
  (row?.[name] ?? []) as readonly AnyRow[];

/** Names of columns, lists, entries and the residual in which the rows differ. */
export function differing(plan: Plan, a: AnyRow, b: AnyRow): string[] {
  const names: string[] = [];
  for (const { name, column } of plan.fields) if (!sameColumn(column.type, a[name], b[name])) names.push(name);
  // One that is not there is what it follows from, whatever that is.
  for (const { name, derived } of plan.derived)
    if (a[name] !== undefined && b[name] !== undefined && !sameColumn(derived.type, a[name], b[name])) names.push(name);
  for (const { name, plan: inner } of plan.lists) {
    const [its, others] = [childrenOf(a, name), inOrder(childrenOf(b, name))];
    const same = its.length === others.length && inOrder(its).every((row, i) => sameRow(inner, row, others[i]!));
    if (!same) names.push(name);
  }
  for (const { name, entries } of plan.entries) {
    const text = (row: AnyRow) =>
      childrenOf(row, name)
        .map((one) => `${String(one[entries.key])} ${canonicalJson(one[entries.value])}`)
        .sort()
        .join('\n');
    if (text(a) !== text(b)) names.push(name);
  }
  const { residual } = plan;
  if (residual) {
    const data = (row: AnyRow) => canonicalJson(dataOf(residual.residual, row[residual.name]));
    if (data(a) !== data(b)) names.push(residual.name);
  }
  return names;
}

export const sameRow = (plan: Plan, a: AnyRow, b: AnyRow): boolean => differing(plan, a, b).length === 0;

/** Rows as their positions say; as they stand where they have none. */
export function inOrder(rows: readonly AnyRow[]): readonly AnyRow[] {
  if (rows.every((row, i) => row['position'] === undefined || row['position'] === i)) return rows;
  return [...rows].sort((a, b) => Number(a['position'] ?? 0) - Number(b['position'] ?? 0));
}

/** The same text for rows that are the same; references by what they name. */
export function canonOfRow(plan: Plan, row: AnyRow): string {
  const fields = plan.fields.map(({ name, column }) => canonOf(column.type, row[name]));
  const lists = plan.lists.map(({ name, plan: inner }) =>
    inOrder(childrenOf(row, name))
      .map((one) => canonOfRow(inner, one))
      .join('\u0001'),
  );
  const rest = plan.residual ? canonicalJson(dataOf(plan.residual.residual, row[plan.residual.name])) : '';
  return [...fields, ...lists, rest].join('\u0002');
}
