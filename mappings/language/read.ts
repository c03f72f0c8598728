// The plain interpreter, forward: a decoded document becomes a row with its child rows. Pure. Throws Quarantined.
import { Quarantined, quarantine } from '../../core/quarantine.ts';
import type { Document } from '../mapping.ts';
import { Notes } from '../notes.ts';
import type { Read, Settings } from './codec.ts';
import type { Entries } from './columns.ts';
import type { Rule } from './declare.ts';
import { at, isPlain, nameText, undeclared, withFirstNames } from './paths.ts';
import type { Field, List, Plan } from './plan.ts';
import { residualOf } from './rest.ts';
import { sameBson } from './same.ts';

export type AnyRow = Record<string, unknown>;

export interface Reading {
  readonly notes: Notes;
  readonly settings: Settings;
  /** Before the paths of an entry whose table has no residual of its own: what is kept of it is kept with the document. */
  readonly prefix: string;
  readonly isRoot: boolean;
  /** The row is judged by them before its residual is made, so that warnings are in it. */
  readonly rules?: readonly Rule<never>[] | undefined;
}

/** `given`: the document itself with its fields under their first names, an entry of a list with any of them. */
export function readRow(plan: Plan, given: Document, reading: Reading): AnyRow {
  // Of the document itself whoever reads it has seen to its names.
  const document = reading.isRoot ? given : withFirstNames(plan.spellings, given);
  const row: AnyRow = { ...plan.empty };
  for (const field of plan.fields) row[field.name] = readField(field, document, reading);
  for (const list of plan.lists) row[list.name] = readList(list, at(document, list.path), reading);
  for (const { name, entries } of plan.entries) row[name] = readEntries(entries, document, reading);
  for (const { name, derived } of plan.derived)
    row[name] = derived.make(...(derived.from.map((one) => row[one]) as never[]));
  if (reading.rules) judgeRow(reading.rules, row, reading.notes);
  const { residual } = plan;
  if (residual) {
    const tags: AnyRow = {};
    for (const tag in residual.residual.tags) tags[tag] = residual.residual.tags[tag]!(row);
    const options = { notes: reading.notes, residual: residual.residual, isRoot: reading.isRoot };
    row[residual.name] = residualOf(plan.tree, disowned(plan, document), {
      ...options,
      tags,
    });
  } else keepRest(plan, disowned(plan, document), reading);
  return row;
}

/** Without the fields that a codec accounts for. */
function disowned(plan: Plan, document: Document): Document {
  if (plan.owned.length === 0) return document;
  const owned = plan.owned.filter(({ field, when }) => Object.hasOwn(document, field) && when(document));
  const names = new Set(owned.map(({ field }) => field));
  return Object.fromEntries(Object.entries(document).filter(([name]) => !names.has(name)));
}

function judgeRow(rules: readonly Rule<never>[], row: AnyRow, notes: Notes): void {
  for (const rule of rules) {
    if (!rule.holds || rule.holds(row as never)) continue;
    if (rule.or === 'warn') notes.warn(rule.name);
    else quarantine(rule.name, rule.path ?? '', `the document breaks the rule ${rule.name}`);
  }
}

/** The value of one column. `document`: with first names. */
export function readField(field: Field, document: Document, reading: Reading): unknown {
  const { name, column, path } = field;
  const { codec, facts } = column;
  const { notes, settings, prefix } = reading;
  const shown = prefix === '' ? field.shown : prefix + field.shown;
  const source = at(document, path);
  const read = codec.read(source, { path: shown, field: field.shown, notes, settings, beside: document });
  if (read.is === 'missing') {
    if (facts.required !== undefined && !facts.fallback)
      quarantine(facts.required || `${name}_valid`, shown, `${shown} is missing`);
    return nothing(field, source, shown, notes);
  }
  if (read.is === 'unreadable') {
    const rule = facts.required ?? facts.strict;
    if (rule !== undefined || read.always) quarantine(read.rule ?? (rule || `${name}_valid`), shown, read.why);
    notes.warn(`${name}_unreadable`);
    return nothing(field, source, shown, notes);
  }
  for (const { rule, holds } of facts.checks)
    if (!holds(read.value as never)) quarantine(rule || `${name}_known`, shown, `${shown} is no value that is allowed`);
  if (codec.keeps === 'always') notes.keep(shown, source);
  else if (codec.keeps === 'unnatural') {
    if (source !== undefined && !codec.isNatural!(source, read.value)) notes.keep(shown, source);
  } else if (codec.keeps === undefined && source !== undefined && !codec.isNatural?.(source, read.value)) {
    const [natural] = codec.write(read.value, undefined, settings);
    if (!sameBson(natural, source)) notes.keep(shown, source);
  }
  return read.value;
}

function nothing({ column: { codec, facts } }: Field, source: unknown, shown: string, notes: Notes): unknown {
  if (source !== undefined && codec.keeps !== 'itself') notes.keep(shown, source);
  if (!facts.fallback) return null;
  if (facts.fallback.warn !== undefined) notes.warn(facts.fallback.warn);
  return facts.fallback.value;
}

function readList({ name, rows, plan, path }: List, source: unknown, reading: Reading): readonly AnyRow[] {
  const shown = reading.prefix + path.join('.');
  if (source === undefined) return [];
  if (source === null) {
    reading.notes.keep(shown, null);
    return [];
  }
  const one = isPlain(source) && rows.single === 'accept';
  if (one) reading.notes.warn(`${name}_was_single`);
  if (!one && !Array.isArray(source)) quarantine(`${name}_is_list`, shown, `${shown} is no list`);
  const list = one ? [source] : (source as readonly unknown[]);
  if (!one && list.length === 0) reading.notes.keep(shown, source);
  return list.map((entry, i) => {
    const place = one ? shown : `${shown}.${i}`;
    if (!isPlain(entry)) quarantine(`${name}_is_list`, place, `${place} is no object with fields`);
    const row = readEntry(plan, entry, place, reading);
    return rows.key ? row : { ...row, position: i };
  });
}

/** What is noted of an entry stands in its own residual, where it has one. */
function readEntry(plan: Plan, entry: Document, place: string, { notes, settings }: Reading): AnyRow {
  if (!plan.residual) return readRow(plan, entry, { notes, settings, prefix: `${place}.`, isRoot: false });
  const own = new Notes();
  try {
    const row = readRow(plan, entry, { notes: own, settings, prefix: '', isRoot: false });
    for (const warning of own.warnings) notes.warn(warning);
    return row;
  } catch (error) {
    if (!(error instanceof Quarantined)) throw error;
    return quarantine(error.rule, `${place}.${error.path}`, `of ${place}: ${error.message}`);
  }
}

function readEntries(entries: Entries, document: Document, reading: Reading): readonly AnyRow[] {
  return Object.entries(entries.fields).flatMap(([name, codec]) => {
    const source = at(document, [name]);
    const path = reading.prefix + name;
    const read: Read<unknown> = codec.read(source, {
      path,
      field: name,
      notes: reading.notes,
      settings: reading.settings,
      beside: document,
    });
    if (read.is === 'unreadable' && read.always) quarantine(read.rule ?? `${name}_valid`, path, read.why);
    if (read.is === 'value') return [{ [entries.key]: name, [entries.value]: read.value }];
    if (source !== undefined && codec.keeps !== 'itself') reading.notes.keep(path, source);
    return [];
  });
}

/** Without a residual of its own, an entry's other fields are kept with the document. */
function keepRest(plan: Plan, document: Document, { notes, prefix, isRoot }: Reading): void {
  const rest = undeclared(plan.tree, document) ?? {};
  for (const name in rest) if (!(isRoot && name === '_id')) notes.keep(prefix + nameText(name), rest[name]);
}
