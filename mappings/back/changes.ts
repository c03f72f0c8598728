// Changes to a document that may say the new value of one cell, best first: in the field it comes from, in its spelling, type and place.
import { decode } from '../../core/bson/decode.ts';
import type { Document, Mapping, Outcome } from '../mapping.ts';
import { transformDocument } from '../transform.ts';
import { numberText } from './bson.ts';
import { cellsOf, keptColumn, notesKey, sameCell, type Cell } from './cells.ts';
import type { BackSettings, Change, Edit } from './declaration.ts';
import { changed, elementAt, elementsOf, isObject, valueOf } from './elements.ts';
import { timesLike } from './times.ts';
import { numbersLike, textsLike, valuesLike, type Hints } from './values.ts';

/** `value` undefined: the cell is gone. */
export function changesFor(
  mapping: Mapping,
  base: Uint8Array,
  cell: Cell,
  value: unknown,
  settings: BackSettings,
): readonly Change[] {
  const from = new Fields(mapping, base, settings);
  if (cell.kind === 'kept') return keptChanges(from, cell.key, value);
  const declared = mapping.back.edits?.[cell.of];
  if (declared) return declared(cell.key, value, from.document).flatMap((change) => from.spelled(change));
  if (cell.kind === 'child' && (!cell.column || cell.column.type === 'jsonb')) return from.json([cell.key], value);
  if (cell.kind === 'part') return from.values([cell.of, cell.key], `${cell.of}.${cell.key}`, cell, value);
  return from.placesOf(cell).flatMap((path) => from.values(path, cell.of, cell, value));
}

/** The names a field goes by in documents: its first one and its other spellings. */
export function fieldNamesOf(mapping: Mapping, path: string): string[] {
  const [field] = path.split('.');
  const others = Object.entries(mapping.otherNames);
  const first = mapping.otherNames[field!] ?? field!;
  return [first, ...others.filter(([, name]) => name === first).map(([other]) => other)];
}

/** What was kept beside the content because no column says it, by path, as `Notes.keep` wrote it. */
export function originalsOf(mapping: Mapping, content: Outcome): Readonly<Record<string, unknown>> {
  const found: Record<string, unknown>[] = [];
  for (const target of mapping.targets)
    for (const one of content[target.name] ?? []) {
      if (target.store === 'mongodb') found.push({ ...mapping.back.originals?.(one as Document) });
      const kept = (one as Document)[keptColumn] as { [notesKey]?: { original?: Record<string, unknown> } } | null;
      if (target.store === 'postgres' && kept?.[notesKey]?.original) found.push(kept[notesKey].original);
    }
  return Object.fromEntries(found.flatMap((one) => Object.entries(one)));
}

class Fields {
  readonly #mapping: Mapping;
  readonly #base: Uint8Array;
  readonly #settings: BackSettings;
  readonly #names: readonly string[];

  constructor(mapping: Mapping, base: Uint8Array, settings: BackSettings) {
    this.#mapping = mapping;
    this.#base = base;
    this.#settings = settings;
    this.#names = elementsOf(base).map((element) => element.name);
  }

  get mapping(): Mapping {
    return this.#mapping;
  }

  /** The document with its fields under their first names. */
  get document(): Document {
    const entries = Object.entries(decode(this.#base));
    return Object.fromEntries(entries.map(([name, value]) => [this.#mapping.otherNames[name] ?? name, value]));
  }

  /** A declared change, its fields as the document spells them; JSON as text first, where it stood there as text. */
  spelled(change: Change): Change[] {
    const edits = change.flatMap((edit) =>
      this.spellings(edit.path[0]!).map((name) => ({ ...edit, path: [name, ...edit.path.slice(1)] })),
    );
    const textual = edits.map((edit): Edit => {
      const [text] = 'json' in edit ? jsonTexts(edit.json, this.at(edit.path)) : [];
      return text === undefined ? edit : { path: edit.path, value: text };
    });
    return textual.some((edit, i) => edit !== edits[i]) ? [textual, edits] : [edits];
  }

  at(path: readonly string[]): unknown {
    const element = elementAt(this.#base, path);
    return element && valueOf(element);
  }

  isObject(field: string): boolean {
    const element = elementAt(this.#base, [field]);
    return element !== undefined && isObject(element);
  }

  /** How the document spells a field; its first name where it does not have it. More than one where spellings stand side by side. */
  spellings(field: string): string[] {
    const there = fieldNamesOf(this.#mapping, field).filter((name) => this.#names.includes(name));
    return there.length > 0 ? there : [field];
  }

  isKnown(field: string): boolean {
    return Object.hasOwn(this.#mapping.shape.shape, field);
  }

  /** Fields that a column may be written into: those the document has something in first. */
  placesOf(cell: Cell): string[][] {
    const declared = this.#mapping.back.fields?.[cell.of];
    const paths = (declared ?? this.#found(cell)).map((path) => path.split('.'));
    const filled = (path: string[]) => {
      const value = this.spellings(path[0]!).map((name) => this.at([name, ...path.slice(1)]))[0];
      return value !== undefined && value !== null && value !== '';
    };
    return [...paths.filter(filled), ...paths.filter((path) => !filled(path))];
  }

  /** The field of the column's name, or else the one without which the column would be another. */
  #found(cell: Cell): string[] {
    const named = this.spellings(cell.of).some((name) => this.#names.includes(name));
    if (named || this.isKnown(cell.of)) return [cell.of];
    const cellWithout = (field: string | undefined): Cell | undefined | false => {
      const bytes = field === undefined ? this.#base : changed(this.#base, [field], () => undefined);
      const result = transformDocument(this.#mapping, decode(bytes), {
        ...this.#settings,
        asOf: Number.POSITIVE_INFINITY,
      });
      return result.state === 'loaded' && cellsOf(this.#mapping, result.outcome).get(cell.name);
    };
    const now = cellWithout(undefined);
    if (now === false) return [cell.of];
    const decides = (field: string) => {
      const without = cellWithout(field);
      return without === false || !sameCell(now, without);
    };
    const found = this.#names.filter((name) => name !== '_id' && decides(name));
    return found.length > 0 ? found : [cell.of];
  }

  /** The same field under every spelling it has in the document, each with the value that suits what stood there. */
  #everywhere(path: readonly string[], edits: (path: string[]) => readonly Edit[]): Change[] {
    const lists = this.spellings(path[0]!).map((name) => edits([name, ...path.slice(1)]));
    return lists[0]!.map((_, i) => lists.map((list) => list[i] ?? list.at(-1)!));
  }

  json(path: readonly string[], value: unknown): Change[] {
    return this.#everywhere(path, (place) => {
      if (value === undefined) return nothing(place, this.#hints(place));
      const old = this.at(place);
      return [...jsonTexts(value, old).map((text) => ({ path: place, value: text })), { path: place, json: value }];
    });
  }

  values(path: readonly string[], declaredAs: string, cell: Cell, value: unknown): Change[] {
    const { column } = cell;
    if (column?.type === 'jsonb' && value !== undefined && value !== null) return this.json(path, value);
    return this.#everywhere(path, (place) => {
      const old = this.at(place);
      const hints = this.#hints(place);
      const first =
        value === undefined ? [] : (this.#mapping.back.values?.[declaredAs]?.(value, old, this.#settings) ?? []);
      const rest = column ? valuesLike(column.type, value, old, hints) : bsonLike(value, old, hints);
      return [...first, ...rest].map((one) => ({ path: place, value: one }));
    });
  }

  #hints([field, inner]: readonly string[]): Hints {
    const shape = this.#mapping.shape.shape as Record<string, { safeParse(value: unknown): { success: boolean } }>;
    const first = this.#mapping.otherNames[field!] ?? field!;
    const nullable = inner === undefined && this.isKnown(first) && shape[first]!.safeParse(null).success;
    return { zone: this.#settings.zone, time: this.#mapping.back.time ?? 'date', nullable };
  }
}

const nothing = (path: readonly string[], { nullable }: Hints): Edit[] =>
  (nullable ? [null, undefined] : [undefined, null]).map((value) => ({ path, value }));

/** A value of an optimised document, over what the field holds. */
function bsonLike(value: unknown, old: unknown, hints: Hints): unknown[] {
  if (value === undefined || value === null) return valuesLike('text', null, old, hints);
  if (typeof value === 'string') return textsLike(value, old);
  if (typeof value === 'boolean') return valuesLike('boolean', value, old, hints);
  if (value instanceof Date) return [...timesLike(value.getTime() * 1000, old, hints.zone, 'date'), value];
  const number = numberText(value);
  return number === undefined ? [value] : [...numbersLike(number, old), value];
}

/** JSON as text, where the field held JSON as text: as Python writes it, if that is how it stood there. */
export function jsonTexts(value: unknown, old: unknown): string[] {
  if (typeof old !== 'string' || value === null || typeof value !== 'object') return [];
  try {
    JSON.parse(old);
  } catch {
    return [];
  }
  return /": |", |], |}, /.test(old) ? [spaced(value)] : [JSON.stringify(value)];
}

function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, inner]) => `${JSON.stringify(key)}: ${spaced(inner)}`)
    .join(', ')}}`;
}

/**
 * A key of `metadata` comes from the document's own `metadata`, or from a field of that name. A new one goes where the mapping knows such a
 * field, else into the document's `metadata`, if it has or may have one.
 */
function keptChanges(from: Fields, key: string, value: unknown): Change[] {
  const field = from.mapping.back.kept?.[key] ?? key;
  const inside = from.json([keptColumn, key], value);
  const beside = from.json([field], value);
  const isInside = from.isObject(keptColumn) && from.at([keptColumn, key]) !== undefined;
  const isBeside = from.spellings(field).some((name) => from.at([name]) !== undefined);
  if (isInside) return inside;
  if (isBeside) return [...beside, ...inside];
  const holds = from.isObject(keptColumn) || (from.at([keptColumn]) === undefined && from.isKnown(keptColumn));
  return from.isKnown(field) || !holds ? [...beside, ...inside] : [...inside, ...beside];
}
