// Optional points in time: a column's microseconds, the original kept where the column alone does not give it back.
import { quarantine } from '../../core/quarantine.ts';
import type { Document } from '../mapping.ts';
import type { Notes } from '../notes.ts';
import { readInstant } from './instant.ts';

/** null for a missing, null or empty value. A value that is there but no point in time quarantines under `rule`. */
export function optionalMoment(
  document: Document,
  field: string,
  notes: Notes,
  zone: string,
  rule: string,
): number | null {
  const value = document[field];
  if (value === undefined) return null;
  if (!(value instanceof Date)) notes.keep(field, value);
  if (value === null || value === '') return null;
  const read = readInstant(value, zone);
  if (!read) quarantine(rule, field, `${field} is no point in time`);
  if (read.form === 'naive') notes.warn(`${field}_zone_assumed`);
  return read.micros;
}

/** Fixed width, so that text sorts as time does; a missing time before every other. */
export const sortable = (micros: number | null | undefined): string => String(micros ?? 0).padStart(17, '0');

export const isoText = (micros: number): string => new Date(micros / 1000).toISOString();
