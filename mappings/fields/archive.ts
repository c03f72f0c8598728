// Values kept as they were in an optimised document: BSON types stay; names that MongoDB cannot query become { k, v } lists.
import { isBsonScalar } from './json.ts';

/** Names with dots or dollars cannot be addressed by a path: their object becomes a list of `{ k, v }`, in the same order. */
export function archived(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(archived);
  if (value === null || typeof value !== 'object' || isBsonScalar(value)) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, archived(inner)] as const);
  if (entries.some(([key]) => key.includes('.') || key.startsWith('$'))) return entries.map(([k, v]) => ({ k, v }));
  return Object.fromEntries(entries);
}
