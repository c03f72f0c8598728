// Lists on the way back: compared as lists, entries aligned by what is the same, then by key or place; one change per list.
import { containerOf, documentOf, elementsOf, isArray, isObject, type Element } from '../back/elements.ts';
import { canonOf } from './same.ts';
import type { List, Plan } from './plan.ts';
import type { Originals } from './put-changes.ts';
import type { PutContext, PutRow } from './put-judge.ts';
import type { AnyRow } from './read.ts';
import { canonOfRow, inOrder, sameRow } from './row-equal.ts';

const array = 4;
const object = 3;

export interface PutList {
  /** What stands in the field; the very element where nothing has changed. */
  readonly element: Element | undefined;
  readonly unrepresentable: readonly string[];
}

export interface ListWant {
  readonly old: Element | undefined;
  /** The rows that `old` is read as, entry by entry. */
  readonly given: readonly AnyRow[];
  readonly wanted: readonly AnyRow[];
  /** The way back of one entry. */
  readonly put: (plan: Plan, base: Uint8Array, row: AnyRow, context: PutContext) => PutRow;
  /** What was kept with the document that the list stands in, by path. */
  readonly originals: Originals;
  readonly context: PutContext;
}

export function putList(list: List, { old, given, wanted: rows, put, originals, context }: ListWant): PutList {
  const wanted = inOrder(rows);
  if (wanted.length === 0 && (old === undefined || given.length === 0)) return { element: old, unrepresentable: [] };
  const had = old === undefined ? [] : isArray(old) ? elementsOf(old.value) : isObject(old) ? [old] : [];
  const from = aligned(list, given, wanted);
  const unrepresentable = new Set<string>();
  const entries = wanted.map((row, i): Element => {
    const at = from[i];
    const entry = at === undefined ? undefined : had[at];
    if (entry && sameRow(list.plan, given[at!]!, row)) return entry;
    const isNew = entry === undefined;
    const kept = isNew && !list.plan.residual ? within(originals, `${list.path.join('.')}.${i}.`) : {};
    const result = put(list.plan, isNew ? documentOf([]) : entry.value, row, {
      ...context,
      isRoot: false,
      isNew,
      kept,
    });
    for (const one of result.unrepresentable) unrepresentable.add(`${list.name}.${one}`);
    return { name: String(i), type: object, value: result.bytes };
  });
  const name = list.path.at(-1)!;
  const single = old && isObject(old) && entries.length === 1;
  const same = had.length === entries.length && entries.every((entry, i) => entry === had[i]);
  const element = same ? old : single ? { ...entries[0]!, name } : containerOf(name, array, entries);
  return { element, unrepresentable: [...unrepresentable] };
}

const within = (originals: Originals, prefix: string): Originals =>
  Object.fromEntries(
    Object.entries(originals).flatMap(([path, kept]) =>
      path.startsWith(prefix) ? [[path.slice(prefix.length), kept]] : [],
    ),
  );

/** For each wanted row, the entry it is made of: the same one, else the one of its key, or else of its place. */
function aligned({ plan, rows }: List, given: readonly AnyRow[], wanted: readonly AnyRow[]): (number | undefined)[] {
  const result = new Array<number | undefined>(wanted.length).fill(undefined);
  const free = new Set(given.keys());
  const take = (i: number, at: number | undefined) => {
    if (at === undefined || !free.delete(at)) return;
    result[i] = at;
  };
  const match = (text: (row: AnyRow) => string) => {
    const places = new Map<string, number[]>();
    for (const at of free) places.set(text(given[at]!), [...(places.get(text(given[at]!)) ?? []), at]);
    for (const [i, row] of wanted.entries()) if (result[i] === undefined) take(i, places.get(text(row))?.shift());
  };
  // References that were read from the table are other objects than those read from the document: compared as what they find.
  for (const [i, row] of wanted.entries()) if (given[i] && sameRow(plan, given[i], row)) take(i, i);
  match((row) => canonOfRow(plan, row));
  const { key } = rows;
  if (key) match((row) => key.map((column) => canonOf('text', row[column])).join('\u0001'));
  else for (const i of wanted.keys()) if (result[i] === undefined) take(i, i);
  return result;
}
