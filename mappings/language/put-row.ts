// The way back of one row: members that differ are written into the document they were read from, each judged by reading it again.
import { decode } from '../../core/bson/decode.ts';
import { Quarantined } from '../../core/quarantine.ts';
import { canonicalJson, fromKept } from '../back/json.ts';
import { changed, elementAt } from '../back/elements.ts';
import { Notes } from '../notes.ts';
import type { Settings } from './codec.ts';
import { namesOf, withFirstNames, type Path } from './paths.ts';
import type { Field, Plan } from './plan.ts';
import {
  applied,
  fieldChanges,
  restCells,
  restChanges,
  type Change,
  type Edit,
  type Kept,
  type Originals,
} from './put-changes.ts';
import { entryChanges } from './put-entries.ts';
import { putList } from './put-list.ts';
import { readRow, type AnyRow } from './read.ts';
import { byPlainNames, clashesOf, dataOf, originalsOf } from './rest.ts';
import { differing } from './row-equal.ts';

export interface PutContext {
  readonly settings: Settings;
  readonly isRoot: boolean;
  /** Nothing was there: the document or the entry is made anew. */
  readonly isNew: boolean;
  /** What was kept of an entry whose table has no residual of its own, by path within it. */
  readonly kept?: Originals;
}

export interface PutRow {
  readonly bytes: Uint8Array;
  /** Members of which the document does not say what the row says; the nearest value was written, where there is one. */
  readonly unrepresentable: readonly string[];
}

/** The row that the bytes are read as, or the rule under which they are none. */
export function reread(plan: Plan, bytes: Uint8Array, { settings, isRoot }: PutContext): AnyRow | Quarantined {
  try {
    const document = decode(bytes);
    const named = isRoot ? withFirstNames(plan.spellings, document) : document;
    return readRow(plan, named, { notes: new Notes(), settings, prefix: '', isRoot });
  } catch (error) {
    if (error instanceof Quarantined) return error;
    throw error;
  }
}

const rounds = 4;

export function putRow(plan: Plan, base: Uint8Array, wanted: AnyRow, context: PutContext): PutRow {
  const put = putMembers(plan, base, wanted, context);
  if (!context.isNew) return put;
  return {
    ...put,
    bytes: withKept(plan, put.bytes, { wanted, row: undefined, originals: keptOf(plan, wanted, context), context }),
  };
}

const keptOf = (plan: Plan, wanted: AnyRow, { isNew, kept }: PutContext): Originals =>
  !isNew ? {} : plan.residual ? originalsOf(wanted[plan.residual.name]) : (kept ?? {});

function putMembers(plan: Plan, base: Uint8Array, wanted: AnyRow, context: PutContext): PutRow {
  const originals = keptOf(plan, wanted, context);
  const names = new Set<string>();
  let bytes = base;
  let row = reread(plan, bytes, context);
  // Made anew, a document says all of itself: no field is left to what reading would assume.
  const draft = context.isNew ? draftOf(plan, base, { wanted, row: undefined, originals, context }) : undefined;
  if (draft) {
    bytes = draft;
    row = reread(plan, bytes, context);
  } else if (context.isNew) {
    for (const field of plan.fields)
      if (wanted[field.name] !== null && wanted[field.name] !== undefined)
        bytes = firstGood(plan, bytes, changesOf(plan, bytes, field, { wanted, originals, context }), {
          name: field.name,
          wanted,
          originals,
          context,
        });
    row = reread(plan, bytes, context);
  }
  const touched = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const wrong = row instanceof Quarantined ? memberNames(plan) : differing(plan, row, wanted);
    if (wrong.length === 0) {
      if (!context.isNew && touched.size > 1)
        bytes = inBestForms(plan, { base, bytes }, [...touched], { wanted, originals, context });
      return { bytes, unrepresentable: [] };
    }
    for (const name of wrong) touched.add(name);
    const before = bytes;
    for (const name of wrong) {
      const put = putMember(plan, bytes, name, {
        wanted,
        row: row instanceof Quarantined ? undefined : row,
        originals,
        context,
      });
      bytes = put.bytes;
      for (const one of put.unrepresentable) names.add(one);
    }
    if (bytes === before) break;
    row = reread(plan, bytes, context);
  }
  const wrong = row instanceof Quarantined ? memberNames(plan) : differing(plan, row, wanted);
  return { bytes, unrepresentable: [...new Set([...wrong, ...(wrong.length > 0 ? [...names] : [])])] };
}

/** The residual, and every column in its first form, with what was kept of its fields; undefined where that does not say the row. */
function draftOf(plan: Plan, base: Uint8Array, { wanted, originals, context }: Want): Uint8Array | undefined {
  const places = new Set([
    ...plan.fields.flatMap((field) => field.places.flat().map((path) => path.join('.'))),
    ...plan.entries.flatMap(({ entries }) => Object.keys(entries.fields)),
  ]);
  const kept = Object.entries(originals).flatMap(([key, value]): Edit[] => {
    const path = places.has(key) ? namesOf(key) : undefined;
    return path ? [{ path, value: fromKept(value) }] : [];
  });
  let bytes = applied(base, kept, {});
  const rest = plan.residual ? restCells(plan.tree, dataOf(plan.residual.residual, wanted[plan.residual.name])) : [];
  const others = new Set([...rest].map(([, [path]]) => path[0]!));
  for (const [, [path, value]] of rest) {
    const [first] = restChanges(bytes, plan, [path, value], keptIn(plan, { wanted, originals, context }));
    if (first) bytes = applied(bytes, first, byPlainNames(originals));
  }
  for (const field of plan.fields) {
    const value = wanted[field.name];
    if (value === null || value === undefined) continue;
    const isThere = (path: Path) => elementAt(bytes, path) !== undefined;
    // A field that the residual gives back is not the column's, though the column would be read from it.
    const [own, ...more] = field.places;
    if (own!.some(isThere) || more.flat().some((path) => !others.has(path[0]!) && isThere(path))) continue;
    const [first] = changesOf(plan, bytes, field, { wanted, originals, context });
    if (first) bytes = applied(bytes, first, byPlainNames(originals));
  }
  const row = reread(plan, bytes, context);
  if (row instanceof Quarantined) return undefined;
  const wrong = differing(plan, row, wanted);
  return plan.fields.some(({ name }) => wrong.includes(name)) ? undefined : bytes;
}

/** What was kept and no column asks for, such as null: it stands where it stood, as long as the row is read as before. */
function withKept(plan: Plan, bytes: Uint8Array, { wanted, originals, context }: Want): Uint8Array {
  const clashes = plan.residual ? Object.entries(clashesOf(wanted[plan.residual.name])) : [];
  const edits: Edit[] = [
    ...clashes.map(([key, json]) => ({ path: [key], json })),
    ...Object.entries(originals).flatMap(([key, kept]) => {
      const path = namesOf(key);
      return path ? [{ path, value: fromKept(kept) }] : [];
    }),
  ];
  for (const edit of edits) {
    const { path } = edit;
    if (elementAt(bytes, path) !== undefined) continue;
    const next = applied(bytes, [edit], byPlainNames(originals));
    const [before, after] = [reread(plan, bytes, context), reread(plan, next, context)];
    if (after instanceof Quarantined) continue;
    if (
      before instanceof Quarantined ||
      differing(plan, after, wanted).every((name) => differing(plan, before, wanted).includes(name))
    )
      bytes = next;
  }
  return bytes;
}

const isSameAt = (a: Uint8Array, b: Uint8Array, path: Path): boolean => {
  const [one, other] = [elementAt(a, path), elementAt(b, path)];
  return one?.type === other?.type && Buffer.compare(one?.value ?? nothing, other?.value ?? nothing) === 0;
};
const nothing = Buffer.alloc(0);

/** A form that would have been another value beside what stood in other fields before is tried again beside what stands there now. */
function inBestForms(
  plan: Plan,
  { base, bytes: written }: { readonly base: Uint8Array; readonly bytes: Uint8Array },
  names: readonly string[],
  judge: Judge,
): Uint8Array {
  let bytes = written;
  for (const field of plan.fields) {
    if (!names.includes(field.name)) continue;
    for (const change of changesOf(plan, base, field, judge)) {
      if (change.some(({ path }) => isSameAt(base, bytes, path))) continue;
      const next = applied(bytes, change, byPlainNames(judge.originals));
      const row = Buffer.compare(next, bytes) === 0 ? undefined : reread(plan, next, judge.context);
      if (row instanceof Quarantined || (row && differing(plan, row, judge.wanted).length > 0)) continue;
      bytes = next;
      break;
    }
  }
  return bytes;
}

const memberNames = (plan: Plan): string[] => [
  ...plan.fields.map((one) => one.name),
  ...plan.lists.map((one) => one.name),
  ...plan.entries.map((one) => one.name),
  ...(plan.residual ? [plan.residual.name] : []),
];

interface Want {
  readonly wanted: AnyRow;
  readonly row: AnyRow | undefined;
  readonly originals: Originals;
  readonly context: PutContext;
}

function putMember(plan: Plan, bytes: Uint8Array, name: string, want: Want): PutRow {
  const { wanted, row, originals, context } = want;
  const field = plan.fields.find((one) => one.name === name);
  if (field) {
    // What a document is called is its own for good.
    if (field.column.facts.id && !context.isNew) return { bytes, unrepresentable: [name] };
    const changes = changesOf(plan, bytes, field, { wanted, originals, context });
    return { bytes: firstGood(plan, bytes, changes, { name, wanted, originals, context }), unrepresentable: [] };
  }
  const list = plan.lists.find((one) => one.name === name);
  if (list) {
    const old = elementAt(bytes, list.path);
    const given = (row?.[name] ?? []) as readonly AnyRow[];
    const put = putList(list, {
      old,
      given,
      wanted: (wanted[name] ?? []) as readonly AnyRow[],
      put: putRow,
      originals,
      context,
    });
    if (put.element === old) return { bytes, unrepresentable: put.unrepresentable };
    return { bytes: changed(bytes, list.path, () => put.element), unrepresentable: put.unrepresentable };
  }
  const entries = plan.entries.find((one) => one.name === name);
  if (entries) {
    for (const changes of entryChanges(bytes, plan, entries.entries, {
      given: row?.[name],
      wanted: wanted[name],
      originals,
      settings: context.settings,
    }))
      bytes = firstGood(plan, bytes, changes, { name, wanted, originals, context });
    return { bytes, unrepresentable: [] };
  }
  return { bytes: plan.residual?.name === name ? putRest(plan, bytes, want) : bytes, unrepresentable: [] };
}

function putRest(plan: Plan, bytes: Uint8Array, { wanted, row, originals, context }: Want): Uint8Array {
  const { name, residual } = plan.residual!;
  const want = restCells(plan.tree, dataOf(residual, wanted[name]));
  const have = restCells(plan.tree, dataOf(residual, row?.[name]));
  for (const key of new Set([...have.keys(), ...want.keys()])) {
    const [path, value] = want.get(key) ?? [have.get(key)![0], undefined];
    if (have.has(key) && want.has(key) && canonicalJson(have.get(key)![1]) === canonicalJson(value)) continue;
    const says = (its: AnyRow) => {
      const cell = restCells(plan.tree, dataOf(residual, its[name])).get(key);
      return cell ? value !== undefined && canonicalJson(cell[1]) === canonicalJson(value) : value === undefined;
    };
    const changes = restChanges(bytes, plan, [path, value], keptIn(plan, { wanted, originals, context }));
    const own = ownPlaces(plan, bytes, path, { wanted, context });
    const together = own.length > 0 ? changes.map((change) => [...change, ...own]) : [];
    bytes = firstThat(plan, bytes, [...changes, ...together], { says, wanted, originals, context });
  }
  return bytes;
}

/** A column that is read from a field which the residual has, too, is written to its own: it says what it did, whatever becomes of the other. */
function ownPlaces(
  plan: Plan,
  bytes: Uint8Array,
  path: Path,
  { wanted, context }: Pick<Want, 'wanted' | 'context'>,
): Edit[] {
  const key = path.join('.');
  return plan.fields.flatMap((field): Edit[] => {
    const value = wanted[field.name];
    const [own, ...others] = field.places;
    if (value === null || value === undefined || !others.flat().some((one) => one.join('.') === key)) return [];
    const place = own!.find((one) => elementAt(bytes, one) !== undefined) ?? own![0]!;
    const [written] = field.column.codec.write(value, undefined, context.settings);
    return [{ path: place, value: written }];
  });
}

const keptIn = (plan: Plan, { wanted, originals, context }: Judge): Kept => ({
  originals: byPlainNames(originals),
  clashes: context.isNew ? clashesOf(wanted[plan.residual!.name]) : {},
});

function changesOf(
  plan: Plan,
  bytes: Uint8Array,
  field: Field,
  { wanted, originals, context }: Judge,
): readonly Change[] {
  const rest =
    plan.residual && context.isNew ? Object.keys(dataOf(plan.residual.residual, wanted[plan.residual.name])) : [];
  return fieldChanges(bytes, field, wanted[field.name] ?? null, {
    originals,
    others: new Set(rest),
    settings: context.settings,
  });
}

type Judge = { readonly wanted: AnyRow; readonly originals: Originals; readonly context: PutContext };

const firstGood = (
  plan: Plan,
  bytes: Uint8Array,
  changes: readonly Change[],
  { name, ...judge }: Judge & { name: string },
): Uint8Array =>
  firstThat(plan, bytes, changes, { ...judge, says: (its) => !differing(plan, its, judge.wanted).includes(name) });

/**
 * The document with the first change by which it says what is wanted, and by which no other member says less than before; else with the first that
 * says it; else with the first by which it is read at all, which is the nearest; else, where it was not read before either, with the first.
 */
function firstThat(
  plan: Plan,
  bytes: Uint8Array,
  changes: readonly Change[],
  { says, wanted, originals, context }: Judge & { readonly says: (row: AnyRow) => boolean },
): Uint8Array {
  let costly: Uint8Array | undefined;
  let nearest: Uint8Array | undefined;
  let wrong: readonly string[] | undefined;
  const was = () => reread(plan, bytes, context);
  const wrongIn = (row: AnyRow | Quarantined) =>
    row instanceof Quarantined ? memberNames(plan) : differing(plan, row, wanted);
  for (const change of changes) {
    const next = applied(bytes, change, byPlainNames(originals));
    const row = reread(plan, next, context);
    if (row instanceof Quarantined) continue;
    if (says(row)) {
      wrong ??= wrongIn(was());
      if (wrongIn(row).every((name) => wrong!.includes(name))) return next;
      costly ??= next;
    }
    nearest ??= next;
  }
  if (costly ?? nearest) return (costly ?? nearest)!;
  return was() instanceof Quarantined && changes[0] ? applied(bytes, changes[0], originals) : bytes;
}
