// Text as PostgreSQL can hold it: without U+0000, which the source allows and scrapers leave behind.
import type { Notes } from '../notes.ts';

/** The text without NUL characters; the original is kept, so nothing is lost. */
export function cleanText(value: string, path: string, notes: Notes): string {
  if (!value.includes('\u0000')) return value;
  notes.warn('nul_removed');
  notes.keep(path, value);
  return value.replaceAll('\u0000', '');
}
