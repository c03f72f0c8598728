// Values kept as they were in an optimised document: BSON types stay; names that MongoDB cannot query become { k, v } lists.
import { isBsonScalar } from '../../fields/json.ts';

/** The value that `archived` made a list of names of. */
export function unarchived(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || isBsonScalar(value)) return value;
  if (!Array.isArray(value))
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unarchived(inner)]));
  const isPair = (one: unknown): one is { k: string; v: unknown } =>
    one !== null &&
    typeof one === 'object' &&
    Object.keys(one).join() === 'k,v' &&
    typeof (one as { k: unknown }).k === 'string';
  if (value.length > 0 && value.every(isPair) && value.some(({ k }) => k.includes('.') || k.startsWith('$')))
    return Object.fromEntries(value.map(({ k, v }) => [k, unarchived(v)]));
  return value.map(unarchived);
}

const isUnaddressable = (key: string): boolean => key.includes('.') || key.startsWith('$');

/** Names with dots or dollars cannot be addressed by a path: their object becomes a list of `{ k, v }`, in the same order. */
export function archived(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || isBsonScalar(value)) return value;
  if (Array.isArray(value)) {
    const items = value.map(archived);
    return items.every((item, i) => item === value[i]) ? value : items;
  }
  const entries = Object.entries(value).map(([key, inner]) => [key, archived(inner)] as const);
  // What needs no list stays the object it is, and is written with its fields in their order.
  const has = ([key, inner]: readonly [string, unknown]) => inner === (value as Record<string, unknown>)[key];
  if (entries.every((entry) => has(entry) && !isUnaddressable(entry[0]))) return value;
  if (entries.some(([key]) => isUnaddressable(key))) return entries.map(([k, v]) => ({ k, v }));
  return Object.fromEntries(entries);
}
