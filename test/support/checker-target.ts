// What the checker's expectations are made of: fields to compare, rows of a table by source id, the owner that a document names.
import type { Db } from 'mongodb';
import type pg from 'pg';
import {
  equal,
  exactly,
  idText,
  isObjectId,
  micros,
  text,
  unclear,
  type Field,
  type SourceDocument,
} from './checker-values.ts';

export type Row = Record<string, unknown>;
export type Rows = Map<string, Row[]>;

export interface Targets {
  readonly pool: pg.Pool;
  readonly mongo: Db;
}

/** The users that arrived, by what other documents call them. */
export interface Users {
  readonly bySourceId: ReadonlyMap<string, unknown>;
  readonly byName: ReadonlyMap<string, unknown>;
}

export interface Expectation {
  readonly mapping: string;
  readonly sources: readonly string[];
  readonly target: string;
  /** Other spellings of fields: a document that uses one is not compared. */
  readonly spellings: readonly string[];
  load(targets: Targets): Promise<Rows>;
  fields(document: SourceDocument, users: Users): Field[];
}

export const field = (name: string, same: Field['same'], expected: unknown): Field => ({ name, same, expected });
export const texts = (document: SourceDocument, names: readonly string[]): Field[] =>
  names.map((name) => field(name, equal, text(document[name])));
export const moments = (document: SourceDocument, names: readonly string[]): Field[] =>
  names.map((name) => field(name, exactly, document[name] === '' ? unclear : micros(document[name])));

/** A table's rows by source id: points in time as microseconds, the rest as the driver gives it. */
export const table =
  (name: string, columns: readonly string[], times: readonly string[], more = '') =>
  async ({ pool }: Targets): Promise<Rows> => {
    const epochs = times.map((column) => `(extract(epoch from t."${column}") * 1000000)::bigint as "${column}"`);
    const list = ['source_id', ...columns.map((column) => `t."${column}"`), ...epochs].join(', ');
    const { rows } = await pool.query<Row & { source_id: string }>(`select ${list}${more} from "${name}" t`);
    return bySourceId(rows.map((row) => [row.source_id, row]));
  };

export function bySourceId(entries: Iterable<[string, Row]>): Rows {
  const result: Rows = new Map();
  for (const [id, row] of entries) {
    const there = result.get(id);
    if (there) there.push(row);
    else result.set(id, [row]);
  }
  return result;
}

const nobody = ['', 'unknown', 'anonymous', 'null', 'none'];

/** The id of the user that the value names; null where it names none that arrived. */
export function owner(value: unknown, users: Users): unknown {
  if (value === undefined || value === null) return null;
  const hex = isObjectId(value) ? value.toHexString() : undefined;
  const said = hex ?? (typeof value === 'string' ? value.trim() : undefined);
  if (said === undefined) return unclear;
  if (nobody.includes(said.toLowerCase())) return null;
  if (said === 'admin' || said === '507f1f77bcf86cd799439011') return users.byName.get('admin') ?? null;
  if (hex !== undefined) return users.bySourceId.get(hex) ?? null;
  const asText = users.bySourceId.get(idText(said));
  if (/^[0-9a-f]{24}$/i.test(said)) return users.bySourceId.get(said.toLowerCase()) ?? asText ?? null;
  return asText ?? users.byName.get(said) ?? null;
}
