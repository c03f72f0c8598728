// Changes to a document that may say the new value of one member of its row, best first. What is right is decided by reading the result.
import { fromBson } from '../back/bson.ts';
import { changed, elementAt, isObject, valueOf, type Element } from '../back/elements.ts';
import { fromJson, fromKept } from '../back/json.ts';
import type { Settings } from './codec.ts';
import { isPlain, type Path } from './paths.ts';
import type { Field, Plan } from './plan.ts';

/** One edit of one place: a BSON value, JSON with the types of what it replaces, or nothing there at all. */
export type Edit = { readonly path: Path } & (
  | { readonly value: unknown }
  /** `keptAt`: where what was kept of it is found, if not under its path. */
  | { readonly json: unknown; readonly keptAt?: string }
);
/** Edits that belong together: every spelling of the field that the document has. */
export type Change = readonly Edit[];
export type Originals = Readonly<Record<string, unknown>>;

export function applied(bytes: Uint8Array, change: Change, originals: Originals): Uint8Array {
  return change.reduce((document, edit) => {
    const last = edit.path.at(-1)!;
    return changed(document, edit.path, (old): Element | undefined => {
      if ('json' in edit) return fromJson(last, edit.json, old, edit.keptAt ?? edit.path.join('.'), originals);
      return edit.value === undefined ? undefined : fromBson(last, edit.value, old);
    });
  }, bytes);
}

const there = (bytes: Uint8Array, path: Path): unknown => {
  const element = elementAt(bytes, path);
  return element && valueOf(element);
};
const isFilled = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

/** Values that stand for nothing: as it stood there before, else an absent field. */
const nothings = (old: unknown, nullable = false): unknown[] =>
  old === null || nullable ? [null, undefined, ''] : [undefined, null, ''];

/** `value` null: the column is empty. `others`: fields that the residual holds, which are no column's. */
export function fieldChanges(
  bytes: Uint8Array,
  field: Field,
  value: unknown,
  { originals, others, settings }: { originals: Originals; others: ReadonlySet<string>; settings: Settings },
): Change[] {
  const { codec } = field.column;
  const groups = field.places.map((spellings) => {
    const found = spellings.filter((path) => there(bytes, path) !== undefined);
    return found.length > 0 ? found : [spellings[0]!];
  });
  const filled = (group: readonly Path[]) =>
    group.some((path) => !others.has(path[0]!) && isFilled(there(bytes, path)));
  // Made anew, a document has the field within which something was kept.
  const noted = (group: readonly Path[]) =>
    group.some(
      (path) => !others.has(path[0]!) && Object.keys(originals).some((one) => one.startsWith(`${path.join('.')}.`)),
    );
  const rank = (group: readonly Path[]) => (filled(group) ? 0 : noted(group) ? 1 : 2);
  const places = groups.toSorted((a, b) => rank(a) - rank(b));
  return places.flatMap((group) => {
    const lists = group.map((path): Edit[] => {
      const old = there(bytes, path);
      const key = path.join('.');
      const kept: Edit[] = Object.hasOwn(originals, key) ? [{ path, value: fromKept(originals[key]) }] : [];
      if (value === null || value === undefined)
        return [...kept, ...nothings(old, field.column.facts.nullable).map((one) => ({ path, value: one }))];
      const written = codec.write(value, old, settings).map((one) => ({ path, value: one }));
      return [...kept, ...written, ...(codec.type === 'jsonb' ? [{ path, json: value }] : [])];
    });
    return lists[0]!.map((_, i) => lists.map((list) => list[i] ?? list.at(-1)!));
  });
}

/** One key of the residual, or of a field within it; `value` undefined: it is gone. */
export type RestCell = readonly [path: Path, value: unknown];
/** What was kept of a document that is made anew. */
export interface Kept {
  readonly originals: Originals;
  /** Fields whose names the residual has already. */
  readonly clashes: Readonly<Record<string, unknown>>;
}

/** A new key goes where such a field is, else into the field whose keys are spread, if it has or may have one. */
export function restChanges(bytes: Uint8Array, plan: Plan, [path, value]: RestCell, kept: Kept): Change[] {
  const { spread, fresh, renamed, known } = plan.residual!.residual;
  // It may be put elsewhere than where it stood.
  const names = Object.keys(kept.originals);
  const keptAt = [path, [spread ?? '', ...path]]
    .map((one) => one.join('.'))
    .find((one) => names.some((name) => name === one || name.startsWith(`${one}.`)));
  const edits = (place: Path): Change[] =>
    value === undefined
      ? nothings(there(bytes, place)).map((one) => [{ path: place, value: one }])
      : [[{ path: place, json: value, ...(keptAt !== undefined && { keptAt }) }]];
  const [first, ...inner] = path;
  const field = [Object.hasOwn(renamed, first!) ? renamed[first!]! : first!, ...inner];
  const beside = edits(field);
  if (spread === undefined || first === spread) return beside;
  const inside = edits([spread, ...path]);
  if (there(bytes, [spread, ...path]) !== undefined) return inside;
  // Of two fields of one name, the one inside is the residual's.
  if (Object.hasOwn(kept.clashes, first!)) return [...inside, ...beside];
  if (there(bytes, field) !== undefined) return [...beside, ...inside];
  const holder = elementAt(bytes, [spread]);
  const holds = holder ? isObject(holder) : fresh === 'inside';
  return holds && !Object.hasOwn(known, first!) ? [...inside, ...beside] : [...beside, ...inside];
}

/** A value in Extended JSON is one thing, though it looks like an object. */
const isObjectOfFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isPlain(value) && Object.keys(value).length > 0 && !Object.keys(value)[0]!.startsWith('$');

/** The residual's data as things that change by themselves: its keys, and where a field of a key's fields has a column, those fields one by one. */
export function restCells(
  tree: Plan['tree'],
  data: Readonly<Record<string, unknown>>,
  path: Path = [],
): Map<string, [Path, unknown]> {
  const cells = new Map<string, [Path, unknown]>();
  for (const [key, value] of Object.entries(data)) {
    const its = tree.inner.get(key);
    const place = [...path, key];
    if (its && !its.leaf && isObjectOfFields(value))
      for (const [name, cell] of restCells(its, value, place)) cells.set(name, cell);
    else cells.set(JSON.stringify(place), [place, value]);
  }
  return cells;
}
