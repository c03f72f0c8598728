// Values kept as they were in an optimised document: BSON types stay; names that MongoDB cannot query become { k, v } lists.
import { isBsonScalar } from './json.ts';

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

/** Names with dots or dollars cannot be addressed by a path: their object becomes a list of `{ k, v }`, in the same order. */
export function archived(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(archived);
  if (value === null || typeof value !== 'object' || isBsonScalar(value)) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, archived(inner)] as const);
  if (entries.some(([key]) => key.includes('.') || key.startsWith('$'))) return entries.map(([k, v]) => ({ k, v }));
  return Object.fromEntries(entries);
}
