// Text as PostgreSQL can hold it: without U+0000, which the source allows and scrapers leave behind.
import type { Notes } from '../notes.ts';

/** The text without NUL characters; the original is kept, so nothing is lost. */
export function cleanText(value: string, path: string, notes: Notes): string {
  if (!value.includes('\u0000')) return value;
  notes.warn('nul_removed');
  notes.keep(path, value);
  return value.replaceAll('\u0000', '');
}

/** A nullable text column: strings as they are, numbers and ids as text (original kept), "" as it is. */
export function optionalText(value: unknown, path: string, notes: Notes): string | null {
  if (typeof value === 'string') return cleanText(value, path, notes);
  if (value === undefined) return null;
  notes.keep(path, value);
  if (value === null) return null;
  notes.warn(`${path}_not_text`);
  return cleanText(
    typeof value === 'object' && 'toHexString' in value
      ? (value as { toHexString(): string }).toHexString()
      : String(value),
    path,
    notes,
  );
}
