// One source document through its declaration: rows by target, quarantined with a reason, or skipped.
import { decode, faultOf } from '../../core/bson/decode.ts';
import { Quarantined } from '../../core/quarantine.ts';
import type { Document, Outcome } from '../mapping.ts';
import { Notes } from '../notes.ts';
import type { Transformed } from '../transform.ts';
import type { Settings } from './codec.ts';
import type { Declaration, Table } from './declare.ts';
import { withFirstNames, type Spellings } from './paths.ts';
import { planOf, type Plan } from './plan.ts';
import { readRow, type AnyRow } from './read.ts';

/** The tables of a declaration; the first one holds the document's own row. */
export function tablesOf(declaration: Declaration): readonly Table[] {
  let tables = known.get(declaration);
  if (!tables)
    known.set(declaration, (tables = declaration.to.filter((one): one is Table => one.store === 'postgres')));
  return tables;
}
const known = new WeakMap<Declaration, readonly Table[]>();

/** What a document is to the targets, before it is cut into tables. */
export interface Content {
  /** Of each table, by name: its row, child rows within it. */
  readonly rows: Readonly<Record<string, AnyRow>>;
  readonly documents: Readonly<Record<string, Document>>;
}

export type Forward =
  | {
      readonly state: 'loaded';
      readonly content: Content;
      readonly outcome: Outcome;
      readonly warnings: readonly string[];
    }
  | Exclude<Transformed, { state: 'loaded' }>;

/** `bytes`: the document as the source holds it. */
export const forward = (declaration: Declaration, bytes: Uint8Array, settings: Settings): Forward =>
  forwardDecoded(declaration, decode(bytes), settings);

/** `document`: as core/bson/decode.ts decodes it. */
export function forwardDecoded(declaration: Declaration, document: Document, settings: Settings): Forward {
  const fault = faultOf(document);
  if (fault) return { state: 'quarantined', ...fault };
  try {
    const asNamed = named(declaration, document);
    const skipped = declaration.skip?.(asNamed);
    if (skipped !== undefined) return { state: 'skipped', rule: skipped };
    const notes = new Notes();
    return { state: 'loaded', ...contentOf(declaration, asNamed, notes, settings), warnings: notes.warnings };
  } catch (error) {
    const is = error instanceof Quarantined;
    const message = is
      ? error.message
      : `the mapping failed on this document (${error instanceof Error ? error.name : typeof error})`;
    return { state: 'quarantined', rule: is ? error.rule : 'mapping_failed', path: is ? error.path : '', message };
  }
}

/** Every other spelling that a target of the declaration declares. */
export const spellingsOf = (declaration: Declaration): Spellings =>
  declaration.to.flatMap((target): Spellings => {
    if (target.store === 'postgres') return planOf(target.columns).spellings;
    if (target.store === 'redis') return planOf(target.of.columns).spellings;
    return target.store === 'mongodb'
      ? Object.entries(target.otherNames).map(([other, first]) => [[other], [first]])
      : [];
  });

const named = (declaration: Declaration, document: Document): Document =>
  withFirstNames(spellingsOf(declaration), document);

/** `document`: with its fields under their first names. */
export function contentOf(
  declaration: Declaration,
  document: Document,
  notes: Notes,
  settings: Settings,
): { content: Content; outcome: Outcome } {
  const rows: Record<string, AnyRow> = {};
  const documents: Record<string, Document> = {};
  const outcome: Record<string, AnyRow[]> = {};
  for (const table of tablesOf(declaration)) {
    const row = rowOf(table, document, notes, settings);
    rows[table.name] = row;
    for (const flat of flattened(planOf(table.columns), table.name, row)) (outcome[flat.table] ??= []).push(flat.row);
  }
  const first = Object.values(rows)[0] ?? {};
  for (const target of declaration.to) {
    if (target.store === 'mongodb') {
      documents[target.name] = target.get(document, { notes, settings }, first);
      (outcome[target.name] ??= []).push(documents[target.name]!);
    }
    if (target.store === 'redis') {
      const of = rows[target.of.name] ?? rowOf(target.of, document, notes, settings);
      const key = target.key(of as never, document, settings);
      if (key) (outcome[target.name] ??= []).push(key as unknown as AnyRow);
    }
  }
  return { content: { rows, documents }, outcome };
}

function rowOf(table: Table, document: Document, notes: Notes, settings: Settings): AnyRow {
  return readRow(planOf(table.columns), document, { notes, settings, prefix: '', isRoot: true, rules: table.rules });
}

export interface Flat {
  readonly table: string;
  readonly row: AnyRow;
  /** Which of the rows of the table above it belongs to. */
  readonly parent: number;
}

/** A row and its child rows, one after another: every parent before its children. */
export function flattened(
  plan: Plan,
  table: string,
  row: AnyRow,
  parent = 0,
  counts = new Map<string, number>(),
): Flat[] {
  const place = counts.get(table) ?? 0;
  counts.set(table, place + 1);
  if (plan.lists.length === 0 && plan.entries.length === 0) return [{ table, row, parent }];
  const own: AnyRow = {};
  for (const name in row) if (!plan.nested.has(name)) own[name] = row[name];
  const children: Flat[] = [];
  for (const list of plan.lists) {
    for (const child of (row[list.name] ?? []) as readonly AnyRow[])
      children.push(...flattened(list.plan, list.rows.table, child, place, counts));
  }
  for (const { name, entries } of plan.entries) {
    for (const child of (row[name] ?? []) as readonly AnyRow[])
      children.push({ table: entries.table, row: child, parent: place });
  }
  return [{ table, row: own, parent }, ...children];
}
