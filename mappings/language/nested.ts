// Rows as they are read back, table by table, put together again: each child within its parent.
import type { Outcome } from '../mapping.ts';
import type { Declaration } from './declare.ts';
import { tablesOf, type Content, type Flat } from './forward.ts';
import { planOf, type Plan } from './plan.ts';
import type { AnyRow } from './read.ts';

/** `flats`: of one document; a row's parent is told by its place among the rows of the table above. */
export function nested(plan: Plan, table: string, flats: readonly Flat[]): readonly AnyRow[] {
  return flats.filter((one) => one.table === table).map((one, place) => within(plan, one.row, flats, place));
}

function within(plan: Plan, row: AnyRow, flats: readonly Flat[], place: number): AnyRow {
  const result = { ...row };
  const own = (table: string) => flats.filter((one) => one.table === table);
  for (const { name, rows, plan: inner } of plan.lists)
    result[name] = own(rows.table).flatMap((one, i) =>
      one.parent === place ? [within(inner, one.row, flats, i)] : [],
    );
  for (const { name, entries } of plan.entries)
    result[name] = own(entries.table).flatMap((one) => (one.parent === place ? [one.row] : []));
  return result;
}

/** What the engine has of one document today: rows by table, of which all children belong to the document's one row. */
export function contentFrom(declaration: Declaration, outcome: Outcome): Content {
  const flats = Object.entries(outcome).flatMap(([table, rows]) =>
    rows.map((row): Flat => ({ table, row: row as AnyRow, parent: 0 })),
  );
  const rows = tablesOf(declaration).flatMap(({ name, columns }) => {
    const [row] = nested(planOf(columns), name, flats);
    return row ? [[name, row] as const] : [];
  });
  const documents = declaration.to.flatMap(({ store, name }) => {
    const [document] = store === 'mongodb' ? (outcome[name] ?? []) : [];
    return document ? [[name, document as AnyRow] as const] : [];
  });
  return { rows: Object.fromEntries(rows), documents: Object.fromEntries(documents) };
}
