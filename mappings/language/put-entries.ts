// Fields that became rows by their name, on the way back: each is its own field again.
import { canonicalJson } from '../back/json.ts';
import { elementAt, valueOf } from '../back/elements.ts';
import type { Settings } from './codec.ts';
import type { Entries } from './columns.ts';
import type { Plan } from './plan.ts';
import type { Change, Edit } from './put-changes.ts';
import type { AnyRow } from './read.ts';

/** For every field whose row differs, the changes that may say it. */
export function entryChanges(
  bytes: Uint8Array,
  plan: Plan,
  entries: Entries,
  { given, wanted, settings }: { readonly given: unknown; readonly wanted: unknown; readonly settings: Settings },
): Change[][] {
  const byField = (rows: unknown) =>
    new Map(((rows ?? []) as readonly AnyRow[]).map((row) => [String(row[entries.key]), row[entries.value]]));
  const [have, want] = [byField(given), byField(wanted)];
  return Object.entries(entries.fields).flatMap(([name, codec]): Change[][] => {
    if (have.has(name) === want.has(name) && canonicalJson(have.get(name)) === canonicalJson(want.get(name))) return [];
    const spellings = [name, ...plan.spellings.filter(([, first]) => first[0] === name).map(([other]) => other[0]!)];
    const found = spellings.filter((one) => elementAt(bytes, [one]) !== undefined);
    const lists = (found.length > 0 ? found : [name]).map((one): Edit[] => {
      const path = [one];
      if (!want.has(name)) return [undefined, null].map((value) => ({ path, value }));
      const element = elementAt(bytes, path);
      const forms = codec.write(want.get(name), element && valueOf(element), settings);
      return [
        ...forms.map((form) => (typeof form === 'string' ? { path, value: form } : { path, json: form })),
        { path, json: want.get(name) },
      ];
    });
    return [lists[0]!.map((_, i) => lists.map((list) => list[i] ?? list.at(-1)!))];
  });
}
