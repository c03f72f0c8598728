// What a document has become, cut into the smallest things that can change by themselves: a column, a key of metadata, a child row, a part.
import { roundHalfEven } from '../fields/number.ts';
import { isBsonScalar } from '../fields/json.ts';
import type { Document, Mapping, Outcome } from '../mapping.ts';
import { Parent, Reference, type Column, type Row, type TableTarget } from '../../stores/postgres/target.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { canonicalBson } from './bson.ts';
import { canonicalDecimal, canonicalJson } from './json.ts';

/** `column`: of a table. `kept`: a key of `metadata`. `child`: a child row. `field`: of an optimised document. `part`: of such a field. */
export type Kind = 'column' | 'kept' | 'child' | 'field' | 'part';

export interface Cell {
  /** What reports call it: `api_usage.cost`, `users.metadata.note`, `user_configs.watchlist`. */
  readonly name: string;
  readonly kind: Kind;
  /** The column, child table or field it belongs to. */
  readonly of: string;
  /** Which key, row or part of it; the same as `of` where it has no parts. */
  readonly key: string;
  readonly column: Column | undefined;
  readonly value: unknown;
  readonly canon: string;
}

/** Where the migration notes how a document was converted: about the old document, not data. */
export const notesKey = '_causeway';
export const keptColumn = 'metadata';

/**
 * Cells by name; of several rows where one is meant, those of the last. One that is not there is the same as one that is null, or that
 * `metadata` does not have.
 */
export function cellsOf(mapping: Mapping, content: Outcome): Map<string, Cell> {
  const cells = new Map<string, Cell>();
  const add = (cell: Cell) => {
    const nothing = cell.canon === 'null' && (cell.kind === 'column' || cell.kind === 'field');
    if (!nothing) cells.set(cell.name, cell);
  };
  for (const target of mapping.targets) {
    const rows = content[target.name] ?? [];
    if (target.store === 'postgres')
      for (const row of rows as readonly Row[]) tableCells(mapping, target as TableTarget, row).forEach(add);
    if (target.store === 'mongodb')
      for (const document of rows as readonly Document[])
        documentCells(mapping, target as CollectionTarget, document).forEach(add);
  }
  return cells;
}

function tableCells(mapping: Mapping, target: TableTarget, row: Row): Cell[] {
  if (target.child) return [childCell(target, target.child.unique, row)];
  return Object.entries(target.columns).flatMap(([column, its]): Cell[] => {
    const value = row[column] ?? null;
    const keys = its.type === 'jsonb' && column === keptColumn ? fieldsOf(value) : undefined;
    if (!keys) {
      const cell = { kind: 'column' as const, of: column, key: column, column: its, value };
      return [{ ...cell, name: `${target.name}.${column}`, canon: canonicalOf(its, value) }];
    }
    return Object.entries(keys)
      .filter(([key, inner]) => key !== notesKey && inner !== undefined && !mapping.back.tags?.includes(key))
      .map(([key, inner]) => ({
        name: `${target.name}.${column}.${key}`,
        kind: 'kept',
        of: column,
        key,
        column: its,
        value: inner,
        canon: canonicalJson(inner),
      }));
  });
}

/** A row that is known by its unique columns; its value is the one column left, or all of them by name. */
function childCell(target: TableTarget, unique: readonly string[], row: Row): Cell {
  const key = unique.map((column) => String(row[column])).join('.');
  const others = Object.entries(target.columns).filter(([column]) => !unique.includes(column));
  const [only, more] = others;
  const canon = others.map(([column, its]) => canonicalOf(its, row[column] ?? null)).join('\t');
  const value =
    only && !more ? row[only[0]] : Object.fromEntries(others.map(([column]) => [column, row[column] ?? null]));
  return { name: `${target.name}.${key}`, kind: 'child', of: target.name, key, column: only?.[1], value, canon };
}

function documentCells(mapping: Mapping, { name: collection, schema }: CollectionTarget, document: Document): Cell[] {
  const known = new Set(Object.keys((schema['properties'] ?? {}) as object));
  const cellOf = (of: string, kind: Kind, key: string, value: unknown): Cell => ({
    name: `${collection}.${of}${kind === 'part' ? `.${key}` : ''}`,
    kind,
    of,
    key,
    column: undefined,
    value,
    canon: canonicalBson(value),
  });
  return Object.entries(document).flatMap(([name, value]): Cell[] => {
    if (name === '_id' || value === undefined || mapping.back.notes?.includes(name)) return [];
    const rest = mapping.back.rest;
    if (rest !== undefined && !known.has(name)) return [cellOf(rest, 'part', name, value)];
    const parts = mapping.back.parts?.[name];
    if (!parts) return [cellOf(name, 'field', name, value)];
    return Object.entries(parts(value)).map(([key, its]) => cellOf(name, 'part', key, its));
  });
}

/** A JSON object's keys; none for null; undefined for anything else. */
function fieldsOf(value: unknown): Record<string, unknown> | undefined {
  if (value === null) return {};
  return typeof value === 'object' && !Array.isArray(value) && !isBsonScalar(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function canonicalOf({ type, references }: Column, value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (references) return value instanceof Parent ? `row ${value.id}` : canonicalJson(value);
  if (type === 'jsonb') return canonicalJson(value);
  if (type === 'timestamptz') return String(value);
  if (type === 'double precision') return canonicalDecimal(String(Number(value)));
  if (type === 'bigint' || type === 'integer') return canonicalDecimal(String(value as bigint));
  if (type.startsWith('numeric')) {
    const scale = Number(/,(\d+)/.exec(type)![1]);
    const text = String(value);
    // PostgreSQL rounds a half away from zero: one more digit makes it more than a half.
    const beyond = (/^[+-]?\d*\.(\d+)$/.exec(text)?.[1]?.length ?? 0) > scale ? `${text}1` : text;
    return canonicalDecimal(/^[+-]?[\d.]/.test(text) ? roundHalfEven(beyond, scale).text : text);
  }
  return JSON.stringify(value);
}

/** Whether both say the same. A reference is the same as the row it would find. */
export function sameCell(a: Cell | undefined, b: Cell | undefined): boolean {
  if (!a || !b) return a === b;
  if (a.value instanceof Reference && b.value instanceof Parent) return finds(a.value, b.value);
  if (b.value instanceof Reference && a.value instanceof Parent) return finds(b.value, a.value);
  return a.canon === b.canon;
}

const finds = ({ candidates }: Reference, { values }: Parent): boolean =>
  candidates.some(([by, key]) => values[by] === key);
