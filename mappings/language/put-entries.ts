// Fields that became rows by their name, on the way back: each is its own field again.
import { canonicalJson } from '../back/json.ts';
import { elementAt, valueOf } from '../back/elements.ts';
import type { Settings } from './codec.ts';
import type { Entries } from './columns.ts';
import type { Plan } from './plan.ts';
import { isPlain } from './paths.ts';
import type { Change, Edit, Originals } from './put-changes.ts';
import type { AnyRow } from './read.ts';

interface Given {
  readonly given: unknown;
  readonly wanted: unknown;
  /** What was kept of a document that is made anew. */
  readonly originals: Originals;
  readonly settings: Settings;
}

/** For every field whose row differs, the changes that may say it. */
export function entryChanges(
  bytes: Uint8Array,
  plan: Plan,
  entries: Entries,
  { given, wanted, originals, settings }: Given,
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
      const noted = element ? undefined : withOriginals(name, want.get(name), originals);
      return [
        ...(noted === undefined ? [] : [{ path, json: noted }]),
        ...forms.map((form) => (typeof form === 'string' ? { path, value: form } : { path, json: form })),
        { path, json: want.get(name) },
      ];
    });
    return [lists[0]!.map((_, i) => lists.map((list) => list[i] ?? list.at(-1)!))];
  });
}

/** The settings with the values that were kept of their fields instead of what became of them; undefined where none were. */
function withOriginals(name: string, json: unknown, originals: Originals): unknown {
  if (!isPlain(json)) return undefined;
  const own = Object.entries(originals).flatMap(([path, kept]) => {
    const field = path.startsWith(`${name}.`) ? path.slice(name.length + 1) : '';
    return Object.hasOwn(json, field) ? [[field, kept] as const] : [];
  });
  return own.length === 0 ? undefined : { ...json, ...Object.fromEntries(own) };
}
