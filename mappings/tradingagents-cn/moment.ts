// Points in time of TradingAgents-CN besides that of a call: BSON dates as a rule, wall-clock text in the settings' zone.
import { readInstant } from '../fields/instant.ts';
import { timesLike } from '../back/times.ts';
import { missing, unreadable, value, type Codec } from '../language/codec.ts';
import type { Column } from '../language/column.ts';
import { fastInstant } from '../language/fast/scalars.ts';
import { column } from '../language/words.ts';
import { zoneOf } from './codecs.ts';

const codec: Codec<number> = {
  name: 'instant',
  type: 'timestamptz',
  bson: ['date'],
  read(source, { path, field, notes, settings }) {
    if (source === undefined || source === null || source === '') return missing;
    const read = readInstant(source, zoneOf(settings));
    if (!read) return unreadable(`${path} is no point in time`);
    if (read.form === 'naive') notes.warn(`${field}_zone_assumed`);
    return value(read.micros);
  },
  write: (micros, old, settings) => timesLike(micros, old, zoneOf(settings), 'date'),
  isNatural: (source) => source instanceof Date,
  fast: fastInstant('date'),
};

/** One that is there and is no point in time sets the document aside under the rule. */
export const moment = (rule: string): Column<number, true> => column(codec).strict(rule);

/** Fixed width, so that text sorts as time does; a missing time before every other. */
export const sortable = (micros: number | null | undefined): string => String(micros ?? 0).padStart(17, '0');

export const isoText = (micros: number): string => new Date(micros / 1000).toISOString();
