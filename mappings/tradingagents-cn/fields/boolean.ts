// Flags as they are met: booleans, 0 and 1, "true", "" and nothing.
import { Double, Int32 } from 'bson';
import type { Notes } from '../../notes.ts';

const words: Record<string, boolean> = {
  true: true,
  yes: true,
  '1': true,
  on: true,
  false: false,
  no: false,
  '0': false,
  off: false,
};

/** `missing` stands for absent, null, blank and unreadable values; anything but a boolean is kept as it was. */
export function readBoolean<T extends boolean | null>(
  value: unknown,
  path: string,
  notes: Notes,
  missing: T,
): boolean | T {
  if (typeof value === 'boolean') return value;
  if (value === undefined) return missing;
  notes.keep(path, value);
  if (value instanceof Int32 || value instanceof Double) return value.value !== 0;
  const word = typeof value === 'string' ? value.trim().toLowerCase() : '';
  return Object.hasOwn(words, word) ? words[word]! : missing;
}
