// Turns references into ids, a segment's worth at a time.
import type pg from 'pg';
import { name, query } from './connection.ts';
import { Reference, type Row } from './target.ts';

/** Replaces every Reference in the rows by the id of the row it names, or by null when there is none. */
export async function resolveReferences(pool: pg.Pool, rows: readonly Row[]): Promise<void> {
  const found = rows.flatMap((row) =>
    Object.entries(row).flatMap(([column, value]) => (value instanceof Reference ? [{ row, column, value }] : [])),
  );
  if (found.length === 0) return;
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
    if (!(await tableExists(pool, table))) continue;
    const sql = `select id, ${name(by)} as key from ${name(table)} where ${name(by)} = any($1)`;
    for (const row of await query<{ id: string; key: string }>(pool, `looking up ${table}`, sql, [[...keys]]))
      ids.set(`${place}\t${row.key}`, row.id);
  }
  for (const { row, column, value } of found) {
    const match = value.candidates
      .map(([by, key]) => ids.get(`${value.table}\t${by}\t${key}`))
      .find((id) => id !== undefined);
    row[column] = match === undefined ? null : BigInt(match);
  }
}

async function tableExists(pool: pg.Pool, table: string): Promise<boolean> {
  const [row] = await query<{ there: boolean }>(
    pool,
    `looking for ${table}`,
    'select to_regclass($1) is not null as there',
    [name(table)],
  );
  return row!.there;
}
