// Optional whole numbers of 32 bits; what does not fit is kept as it was, with a warning.
import type { Notes } from '../notes.ts';
import { readInteger } from './number.ts';

export function optionalInteger(value: unknown, path: string, notes: Notes): number | null {
  if (value === undefined) return null;
  const read = readInteger(value);
  if (read.is === 'integer' && typeof read.value === 'number' && Math.abs(read.value) <= 2147483647) {
    if (!read.plain) notes.keep(path, value);
    return read.value;
  }
  notes.keep(path, value);
  if (read.is !== 'missing') notes.warn(`${path}_not_integer`);
  return null;
}
