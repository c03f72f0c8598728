// Owners as they are met: ObjectId, its hex text, "admin", "unknown", "" -> a reference into users, or none.
import { ObjectId } from 'bson';
import { sourceId } from '../../../core/identity.ts';
import { Reference } from '../../../stores/postgres/target.ts';
import type { Notes } from '../../notes.ts';

/** The id the application hard-codes for its administrator; no users document has it. */
const fakeAdmin = '507f1f77bcf86cd799439011';
const nobody = new Set(['', 'unknown', 'anonymous', 'null', 'none']);

/**
 * A reference to `users`, and the original kept: the row's `user_id` is another number. Text may stand for an ObjectId or for a text `_id`
 * (ObjectId first), "admin" and the fake id for the user of that name. null, with a warning, where nobody is named.
 */
export function userReference(value: unknown, path: string, notes: Notes): Reference | null {
  if (value === undefined) return null;
  notes.keep(path, value);
  if (value === null) return null;
  const text = value instanceof ObjectId ? value.toHexString() : typeof value === 'string' ? value.trim() : undefined;
  if (text === undefined || nobody.has(text.toLowerCase())) {
    notes.warn('user_unknown');
    return null;
  }
  if (text === fakeAdmin || text === 'admin') return new Reference('users', [['username', 'admin']]);
  if (value instanceof ObjectId) return new Reference('users', [['source_id', text]]);
  const asText: [string, string] = ['source_id', sourceId(text)];
  return new Reference(
    'users',
    /^[0-9a-f]{24}$/i.test(text)
      ? [['source_id', text.toLowerCase()], asText]
      : [asText, ['username', text.replaceAll('\u0000', '')]],
  );
}
