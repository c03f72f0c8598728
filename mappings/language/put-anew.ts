// A document that is made anew, and one of which several members have changed, in the forms that the old system writes.
import { Quarantined } from '../../core/quarantine.ts';
import { elementAt } from '../back/elements.ts';
import { fromKept } from '../back/json.ts';
import { namesOf, type Path } from './paths.ts';
import type { Plan } from './plan.ts';
import { applied, restCells, restChanges, type Edit } from './put-changes.ts';
import { changesOf, keptIn, reread, type Judge, type Want } from './put-judge.ts';
import { byPlainNames, clashesOf, dataOf } from './rest.ts';
import { differing } from './row-equal.ts';

/** The residual, and every column in its first form, with what was kept of its fields; undefined where that does not say the row. */
export function draftOf(plan: Plan, base: Uint8Array, { wanted, originals, context }: Want): Uint8Array | undefined {
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
export function withKept(plan: Plan, bytes: Uint8Array, { wanted, originals, context }: Want): Uint8Array {
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
export function inBestForms(
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
