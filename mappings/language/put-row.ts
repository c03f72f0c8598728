// The way back of one row: members that differ are written into the document they were read from.
import { Quarantined } from '../../core/quarantine.ts';
import { canonicalJson } from '../back/json.ts';
import { changed, elementAt } from '../back/elements.ts';
import type { Path } from './paths.ts';
import type { Plan } from './plan.ts';
import { draftOf, inBestForms, withKept } from './put-anew.ts';
import { restCells, restChanges, type Edit, type Originals } from './put-changes.ts';
import { entryChanges } from './put-entries.ts';
import {
  changesOf,
  firstGood,
  firstThat,
  keptIn,
  memberNames,
  reread,
  type PutContext,
  type PutRow,
  type Want,
} from './put-judge.ts';
import { putList } from './put-list.ts';
import type { AnyRow } from './read.ts';
import { dataOf, originalsOf } from './rest.ts';
import { differing } from './row-equal.ts';

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
