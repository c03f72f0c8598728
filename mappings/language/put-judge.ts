// Which of several changes to a document is taken: each is judged by reading the result again.
import { decode } from '../../core/bson/decode.ts';
import { Quarantined } from '../../core/quarantine.ts';
import { Notes } from '../notes.ts';
import type { Settings } from './codec.ts';
import { withFirstNames } from './paths.ts';
import type { Field, Plan } from './plan.ts';
import { applied, fieldChanges, type Change, type Kept, type Originals } from './put-changes.ts';
import { readRow, type AnyRow } from './read.ts';
import { byPlainNames, clashesOf, dataOf } from './rest.ts';
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

export const memberNames = (plan: Plan): string[] => [
  ...plan.fields.map((one) => one.name),
  ...plan.lists.map((one) => one.name),
  ...plan.entries.map((one) => one.name),
  ...(plan.residual ? [plan.residual.name] : []),
];

export interface Want {
  readonly wanted: AnyRow;
  readonly row: AnyRow | undefined;
  readonly originals: Originals;
  readonly context: PutContext;
}

export const keptIn = (plan: Plan, { wanted, originals, context }: Judge): Kept => ({
  originals: byPlainNames(originals),
  clashes: context.isNew ? clashesOf(wanted[plan.residual!.name]) : {},
});

export function changesOf(
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

export type Judge = { readonly wanted: AnyRow; readonly originals: Originals; readonly context: PutContext };

export const firstGood = (
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
export function firstThat(
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
