// Every table that a declaration makes, child tables and their children too, each with the one it belongs to.
import type { SqlType } from './codec.ts';
import type { Declaration, Table } from './declare.ts';
import { tablesOf } from './forward.ts';
import { planOf, sqlColumns, type Plan } from './plan.ts';

export interface Made {
  readonly name: string;
  /** The table that rows belong to; none for the document's own. */
  readonly parent: string | undefined;
  readonly plan: Plan;
  /** Beside id, source id and the parent's id. */
  readonly columns: readonly (readonly [name: string, type: SqlType])[];
  /** What identifies a row among those of its parent. */
  readonly key: readonly string[];
  /** Columns that are never null, whatever is said of them. */
  readonly never: readonly string[];
  /** What the only values of a column are, as SQL. */
  readonly known: readonly (readonly [column: string, sql: string])[];
  /** The table as declared; of child tables, the one at the top. */
  readonly table: Table;
}

/** Every parent before its children. */
export const madeTables = (declaration: Declaration): Made[] =>
  tablesOf(declaration).flatMap((table) => [
    {
      name: table.name,
      parent: undefined,
      plan: planOf(table.columns),
      columns: sqlColumns(planOf(table.columns)),
      key: ['source_id'],
      never: [],
      known: [],
      table,
    },
    ...childrenOf(table, table.name, planOf(table.columns)),
  ]);

function childrenOf(table: Table, parent: string, plan: Plan): Made[] {
  const lists = plan.lists.flatMap(({ rows, plan: inner }): Made[] => {
    const position = rows.key ? [] : [['position', 'integer'] as const];
    const columns = [...sqlColumns(inner), ...position];
    const key = rows.key ?? ['position'];
    return [
      { name: rows.table, parent, plan: inner, columns, key, never: key, known: [], table },
      ...childrenOf(table, rows.table, inner),
    ];
  });
  const entries = plan.entries.map(({ entries: its }): Made => {
    const [codec] = Object.values(its.fields);
    const columns = [
      [its.key, 'text'],
      [its.value, codec?.type ?? 'jsonb'],
    ] as const;
    const names = Object.keys(its.fields).map((one) => `'${one.replaceAll("'", "''")}'`);
    return {
      name: its.table,
      parent,
      plan: planOf({}),
      columns,
      key: [its.key],
      never: [its.key, its.value],
      known: [[its.key, `${its.key} in (${names.join(', ')})`]],
      table,
    };
  });
  return [...lists, ...entries];
}

/** The column of a child table that holds the parent's id. */
export const parentColumn = (parent: string): string => `${parent.replace(/s$/, '')}_id`;
