// The residual: whatever no path declares, and under `_causeway` what was noted and what no column gives back. Nothing of a document is dropped.
import { setOwn } from '../../core/bson/decode.ts';
import { isBsonScalar, toJson } from '../fields/json.ts';
import { cleanText } from '../fields/text.ts';
import type { Document } from '../mapping.ts';
import type { Notes } from '../notes.ts';
import type { Residual } from './columns.ts';
import { keepBytes } from './keep.ts';
import { nameText, undeclared, type Tree } from './paths.ts';

export const notesKey = '_causeway';

/** `isRoot`: the document itself, whose `_id` has a place of its own. null where there is nothing. */
export function residualOf(
  tree: Tree,
  document: Document,
  {
    notes,
    residual,
    isRoot,
    tags = {},
  }: { notes: Notes; residual: Residual; isRoot: boolean; tags?: Readonly<Record<string, unknown>> },
): Document | null {
  const result: Document = {};
  const clashes: Document = {};
  const rest = undeclared(tree, document) ?? {};
  const { spread } = residual;
  if (spread !== undefined && Object.hasOwn(rest, spread)) {
    const json = toJson(rest[spread], spread, notes);
    if (json !== null && typeof json === 'object' && !Array.isArray(json) && !isBsonScalar(rest[spread])) {
      for (const [key, value] of Object.entries(json)) setOwn(key === notesKey ? clashes : result, key, value);
      const given = rest[spread] as Document;
      for (const key in given)
        if (Object.hasOwn(json, key)) keepBytes(notes, `${spread}.${key}`, given[key], (json as Document)[key]);
      // An empty object is an object all the same.
      if (Object.keys(json).length === 0) notes.keep(spread, rest[spread]);
    } else {
      result[spread] = json;
      keepBytes(notes, spread, rest[spread], json);
    }
  }
  for (const key in rest) {
    if (key === spread || (isRoot && key === '_id')) continue;
    const into = Object.hasOwn(result, key) || key === notesKey ? clashes : result;
    // As a name of what is kept, this one alone would be none.
    const path = key === '__proto__' ? nameText(key) : key;
    const json = toJson(rest[key], path, notes);
    setOwn(into, cleanText(key, key, notes), json);
    keepBytes(notes, path, rest[key], json);
  }
  for (const [tag, value] of Object.entries(tags)) if (value !== undefined && value !== false) result[tag] = value;
  const kept = notes.residual();
  const clashed = Object.keys(clashes).length > 0;
  if (kept || clashed) result[notesKey] = { ...kept, ...(clashed && { fields: clashes }) };
  for (const _ in result) return result;
  return null;
}

/** The residual's own keys: without notes and tags. */
export function dataOf(residual: Residual, value: unknown): Document {
  const { [notesKey]: _, ...data } = (value ?? {}) as Document;
  for (const tag of Object.keys(residual.tags ?? {})) delete data[tag];
  return data;
}

/** Fields whose names stand in the residual already. */
export const clashesOf = (value: unknown): Readonly<Record<string, unknown>> =>
  (value as { [notesKey]?: { fields?: Readonly<Record<string, unknown>> } } | null)?.[notesKey]?.fields ?? {};

/** The same by the plain name of a field whose name had to be quoted. */
export const byPlainNames = (originals: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(originals).map(([path, kept]) => [path.replace('["__proto__"]', '__proto__'), kept]),
  );

/** What was kept because no column gives it back, by path. */
export function originalsOf(value: unknown): Readonly<Record<string, unknown>> {
  const kept = (value as { [notesKey]?: { original?: Readonly<Record<string, unknown>> } } | null)?.[notesKey];
  return kept?.original ?? {};
}
