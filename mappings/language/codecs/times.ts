// Points in time and days: instant, day.
import { isoAt, timesLike, type TimeForm } from '../../back/times.ts';
import { readInstant } from '../../fields/instant.ts';
import { missing, unreadable, value, type Codec, type Read, type Settings } from '../codec.ts';
import { fastInstant } from '../fast/scalars.ts';
import { afterGap, instantsOf } from '../zone.ts';

export interface InstantOptions {
  /** Of wall-clock text without a zone: its name, or where the settings say it. */
  readonly zone?: string | ((settings: Settings) => string);
  /** What a time that clocks of the zone skip becomes. */
  readonly gap?: 'later' | 'quarantine';
  /** Which of the two a time that clocks of the zone repeat is. */
  readonly overlap?: 'earlier' | 'later' | 'quarantine';
  /** The form that the application writes: BSON dates, or text as isoformat() gives it in UTC+8. */
  readonly natural?: TimeForm;
}

/** Microseconds since 1970; years 1970 to 2199. */
export function instantCodec(options: InstantOptions = {}): Codec<number> {
  const { zone = 'UTC', gap = 'later', overlap = 'later', natural = 'date' } = options;
  const zoneIn = (settings: Settings) => (typeof zone === 'string' ? zone : zone(settings));
  return {
    name: 'instant',
    type: 'timestamptz',
    bson: natural === 'date' ? ['date'] : ['string'],
    read(source, { path, field, notes, settings }) {
      if (source === undefined || source === null || source === '') return missing;
      const read = readInstant(source, 'UTC');
      if (!read) return unreadable(`${path} is no point in time`);
      if (read.form !== 'naive') return value(read.micros);
      notes.warn(`${field}_zone_assumed`);
      return inZone(read.micros, zoneIn(settings), { path, gap, overlap });
    },
    write: (micros, old, settings) => timesLike(micros, old, zoneIn(settings), natural),
    isNatural: (source) => natural === 'date' && source instanceof Date,
    fast: fastInstant(natural),
  };
}

/** `local`: microseconds of the wall clock, as if it were UTC's. */
function inZone(
  local: number,
  zone: string,
  { path, gap, overlap }: { path: string; gap: string; overlap: string },
): Read<number> {
  const millis = Math.floor(local / 1000);
  const found = instantsOf(zone, millis);
  const rest = local - millis * 1000;
  if (found.length === 0)
    return gap === 'quarantine'
      ? unreadable(`${path} is a time that clocks of ${zone} skip`)
      : value(afterGap(zone, millis) * 1000 + rest);
  if (found.length > 1 && overlap === 'quarantine')
    return unreadable(`${path} is a time that clocks of ${zone} show twice`);
  return value((overlap === 'earlier' ? found[0]! : found.at(-1)!) * 1000 + rest);
}

const written = /^\s*(\d{4})-?(\d{2})-?(\d{2})(?:[T ].*)?\s*$/;

/** The day of a text or of a BSON date, or undefined. */
export function dayOf(source: unknown): string | undefined {
  const text = source instanceof Date && !Number.isNaN(source.getTime()) ? source.toISOString() : source;
  const found = typeof text === 'string' ? written.exec(text) : null;
  if (!found) return undefined;
  const day = `${found[1]}-${found[2]}-${found[3]}`;
  const time = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(time) || isoAt(time * 1000, 0, { digits: 0, zone: '' }).slice(0, 10) !== day ? undefined : day;
}

/** `YYYY-MM-DD`. */
export const dayCodec: Codec<string> = {
  name: 'day',
  type: 'date',
  bson: ['string'],
  read(source, { path }) {
    if (source === undefined || source === null || source === '') return missing;
    const day = dayOf(source);
    return day === undefined ? unreadable(`${path} is no day`) : value(day);
  },
  write(day, old) {
    if (old instanceof Date) return [new Date(`${day}T00:00:00Z`), day];
    const rest = typeof old === 'string' ? /^\s*\d{4}-?\d{2}-?\d{2}(.*)$/.exec(old)?.[1] : undefined;
    if (rest === undefined) return [day];
    return [(/^\s*\d{8}/.test(old as string) ? day.replaceAll('-', '') : day) + rest, day];
  },
};
