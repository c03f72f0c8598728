// Rows read back as a mapping would have made them: by source id, every value exact, references as the row they name.
import type pg from 'pg';
import { name, query } from './connection.ts';
import { Parent, type Column, type Row, type TableTarget } from './target.ts';

/** Turns the text of a jsonb value into JSON, without losing digits. */
export type ReadJson = (text: string) => unknown;

const atOnce = 1000;

/**
 * The target's rows of these documents, oldest row first; a child's by the source id of the row it belongs to. Values have the forms of
 * `Row`. A document without rows is not in the result. Runs on the caller's connection, in its transaction.
 */
export async function readRows(
  client: pg.ClientBase,
  target: TableTarget,
  ids: readonly string[],
  readJson: ReadJson,
): Promise<Map<string, Row[]>> {
  const found = new Map<string, Row[]>();
  const columns = await joinable(client, target);
  const sql = selectOf(target, columns);
  for (let i = 0; i < ids.length; i += atOnce) {
    const rows = await query<Record<string, string | null>>(client, `reading ${target.name}`, sql, [
      ids.slice(i, i + atOnce),
    ]);
    for (const row of rows) {
      const read = Object.fromEntries(columns.map(([column, its], at) => [column, valueOf(its, row, at, readJson)]));
      const id = row['source_id']!;
      const others = found.get(id);
      if (others) others.push(read);
      else found.set(id, [read]);
    }
  }
  return found;
}

/** A table that is not part of this migration has no rows that a column could name. */
async function joinable(client: pg.ClientBase, target: TableTarget): Promise<[string, Column][]> {
  const columns = Object.entries(target.columns);
  const named = columns.flatMap(([, its]) => (its.references ? [name(its.references.table)] : []));
  if (named.length === 0) return columns;
  const there = await query<{ table: string }>(
    client,
    'looking for referenced tables',
    'select t as table from unnest($1::text[]) t where to_regclass(t) is not null',
    [named],
  );
  const tables = new Set(there.map((row) => row.table));
  return columns.map(([column, its]) =>
    its.references && !tables.has(name(its.references.table)) ? [column, { type: its.type }] : [column, its],
  );
}

/** Columns by their place, so that no column's name can be another's. */
function selectOf(target: TableTarget, columns: readonly (readonly [string, Column])[]): string {
  const joins: string[] = [];
  const selected = columns.flatMap(([column, its], at) => {
    const value = `t.${name(column)}`;
    if (!its.references) return [`${textOf(its, value)} as c${at}`];
    joins.push(`left join ${name(its.references.table)} p${at} on p${at}.id = ${value}`);
    return [
      `${value}::text as c${at}`,
      ...its.references.by.map((by, which) => `p${at}.${name(by)}::text as c${at}_${which}`),
    ];
  });
  if (target.child) joins.unshift(`join ${name(target.child.of)} owner on owner.id = t.${name(target.child.column)}`);
  const id = target.child ? 'owner.source_id' : 't.source_id';
  return `select ${[`${id} as source_id`, ...selected].join(', ')} from ${name(target.name)} t ${joins.join(' ')} where ${id} = any($1::text[]) order by t.id`;
}

const textOf = ({ type }: Column, value: string): string =>
  type === 'timestamptz' ? `(extract(epoch from ${value}) * 1000000)::text` : `${value}::text`;

function valueOf(its: Column, row: Record<string, string | null>, at: number, readJson: ReadJson): unknown {
  const text = row[`c${at}`];
  if (text === null || text === undefined) return null;
  if (its.references) {
    const values = its.references.by.flatMap((by, which) => {
      const value = row[`c${at}_${which}`];
      return value === null || value === undefined ? [] : [[by, value] as const];
    });
    return new Parent(its.references.table, BigInt(text), Object.fromEntries(values));
  }
  switch (its.type) {
    case 'jsonb':
      return readJson(text);
    case 'timestamptz':
    case 'double precision':
      return Number(text);
    case 'bigint':
    case 'integer':
      return BigInt(text);
    case 'boolean':
      return text === 'true';
    default:
      return text;
  }
}
