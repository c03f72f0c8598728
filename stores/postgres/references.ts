// Turns references into ids, a segment's worth at a time.
import type pg from 'pg';
import { name, query } from './connection.ts';
import { Reference, type Row } from './target.ts';

/** A row that a document refers to and that was not found, or one that would be preferred to the one found. */
export interface Unresolved {
  readonly id: string;
  readonly parent: string;
  readonly column: string;
  readonly key: string;
}

export interface Referring {
  readonly id: string;
  readonly rows: readonly Row[];
}

/** Replaces every Reference in the rows by the id of the row it names, or by null when there is none. Returns what was not found. */
export async function resolveReferences(
  on: pg.Pool | pg.ClientBase,
  documents: readonly Referring[],
): Promise<Unresolved[]> {
  const found = documents.flatMap(({ id, rows }) =>
    rows.flatMap((row) =>
      Object.entries(row).flatMap(([column, value]) =>
        value instanceof Reference ? [{ id, row, column, value }] : [],
      ),
    ),
  );
  if (found.length === 0) return [];
  const wanted = new Map<string, { table: string; by: string; keys: Set<string> }>();
  for (const { value } of found) {
    for (const [by, key] of value.candidates) {
      const place = `${value.table}\t${by}`;
      const lookup = wanted.get(place) ?? { table: value.table, by, keys: new Set<string>() };
      wanted.set(place, lookup);
      lookup.keys.add(key);
    }
  }
  const ids = new Map<string, string>();
  for (const [place, { table, by, keys }] of wanted) {
    // A parent that is not part of this migration has no rows to refer to.
    if (!(await tableExists(on, table))) continue;
    const sql = `select id, ${name(by)} as key from ${name(table)} where ${name(by)} = any($1)`;
    for (const row of await query<{ id: string; key: string }>(on, `looking up ${table}`, sql, [[...keys]]))
      ids.set(`${place}\t${row.key}`, row.id);
  }
  const unresolved: Unresolved[] = [];
  for (const { id, row, column, value } of found) {
    const keys = value.candidates.map(([by, key]) => ids.get(`${value.table}\t${by}\t${key}`));
    const match = keys.findIndex((key) => key !== undefined);
    row[column] = match === -1 ? null : BigInt(keys[match]!);
    for (const [by, key] of match === -1 ? value.candidates : value.candidates.slice(0, match))
      unresolved.push({ id, parent: value.table, column: by, key });
  }
  return unresolved;
}

async function tableExists(on: pg.Pool | pg.ClientBase, table: string): Promise<boolean> {
  const [row] = await query<{ there: boolean }>(
    on,
    `looking for ${table}`,
    'select to_regclass($1) is not null as there',
    [name(table)],
  );
  return row!.there;
}
