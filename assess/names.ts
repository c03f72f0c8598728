// Names of a live database as a mapping has them: columns, constants, and spellings of one field.
import type { Seen } from './observe.ts';

/** `orderLines` -> order_lines; what is no letter, digit or underline becomes one. */
export const snake = (name: string): string =>
  name
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z\d_]+/g, '_')
    .replace(/^_+|_+$/g, '');

/** A collection's name as one of a table and of a constant. */
export function identifier(collection: string): string {
  const plain = snake(collection) || 'collection';
  return /^\d/.test(plain) || reserved.has(plain) ? `${plain.replace(/^(?=\d)/, '_')}_` : plain;
}

/** Words of JavaScript that no constant may be called. */
const reserved = new Set(
  'class default delete enum export function import in interface new package private public return static switch this var void with yield'.split(
    ' ',
  ),
);

export const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll("'", "\\'");

interface Spelled {
  readonly name: string;
  readonly others: readonly string[];
  readonly seen: Seen;
}

/** Fields that differ in spelling alone, `orderLines` and `order_lines`, under the one that is met most. */
export function spellingsOf(fields: ReadonlyMap<string, Seen>): Spelled[] {
  const byName = new Map<string, [string, Seen][]>();
  for (const [name, seen] of fields) {
    // A leading underline is no spelling: `_id` and `id` are two fields.
    const key = /^[A-Za-z]\w*$/.test(name) ? snake(name) : `"${name}"`;
    byName.set(key, [...(byName.get(key) ?? []), [name, seen]]);
  }
  return [...byName.values()].map((its) => {
    const [first, ...others] = [...its].sort(([, a], [, b]) => b.present - a.present);
    return { name: first![0], seen: merged(its.map(([, seen]) => seen)), others: others.map(([name]) => name) };
  });
}

/** Only one of the spellings stands in a document, usually. */
function merged([first, ...others]: readonly Seen[]): Seen {
  const seen = first!;
  for (const other of others) {
    seen.present += other.present;
    for (const [type, count] of other.types) seen.types.set(type, (seen.types.get(type) ?? 0) + count);
    for (const [form, count] of other.texts) seen.texts.set(form, (seen.texts.get(form) ?? 0) + count);
    seen.digits.before = Math.max(seen.digits.before, other.digits.before);
    seen.digits.after = Math.max(seen.digits.after, other.digits.after);
  }
  return seen;
}
