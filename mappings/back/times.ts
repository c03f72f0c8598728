// A point in time in the form that another one had: text with its offset, separator and digits, epoch seconds or milliseconds, a BSON date.
import { Double, Int32, Long } from 'bson';
import { zoneOffset } from '../fields/instant.ts';

const iso =
  /^(\s*)\d{4}-\d{2}-\d{2}(?:([T ])\d{2}:\d{2}(?:(:\d{2})(?:([.,])(\d{1,9}))?)?)?(\s*)(Z|z|[+-]\d{2}(:?)\d{2})?(\s*)$/;

/** The form a time has where nothing says how it was written. `date`: a BSON date; `text`: what Python's isoformat() writes in UTC+8. */
export type TimeForm = 'date' | 'text';

/** No BSON date that JavaScript knows lies beyond it, us; nor do infinities. */
const farthest = 8.64e18;

/** Values that stand for the time, best first. Not every one of them must: the forward mapping decides which does. `zone`: of text without one. */
export function timesLike(micros: number, old: unknown, zone: string, natural: TimeForm): unknown[] {
  if (Math.abs(micros) > farthest) return [];
  // A date stays a date, whatever the digits: what is beyond a millisecond stays in the new system, and is told of.
  const date = [new Date(Math.round(micros / 1000))];
  if (old instanceof Date) return date;
  const text = [isoAt(micros, 480, { digits: 6 })];
  const faithful = natural === 'date' ? date : [...text, ...date];
  if (typeof old === 'string') return [...textsLike(micros, old, zone), ...text];
  return [...epochsLike(micros, old), ...faithful];
}

function textsLike(micros: number, old: string, zone: string): string[] {
  const found = iso.exec(old);
  if (!found) return /^\s*\d{9,16}(\.\d+)?\s*$/.test(old) ? epochTexts(micros, Number(old)) : [];
  const [, , separator = 'T', , point = '.', fraction = '', , zoneText, colon = ''] = found;
  const minutes = zoneText === undefined ? [offsetAt(zone, micros / 1000), 0] : [offsetMinutes(zoneText)];
  return minutes.flatMap((offset) =>
    [fraction.length, 3, 6]
      .filter((digits) => digits >= fraction.length && micros % 10 ** (6 - Math.min(digits, 6)) === 0)
      .slice(0, 1)
      .map((digits) => isoAt(micros, offset, { separator, point, digits, zone: zoneText ?? '', colon })),
  );
}

/** Minutes east of UTC at an instant: wall-clock time is looked up twice, because the offset is needed to know it. */
function offsetAt(zone: string, millis: number): number {
  const near = zoneOffset(zone, millis);
  return zoneOffset(zone, millis + near * 60_000);
}

interface Style {
  readonly digits: number;
  readonly separator?: string;
  readonly point?: string;
  /** As it was written; empty for none. */
  readonly zone?: string;
  readonly colon?: string;
}

/** Wall-clock time `offset` minutes east of UTC. */
export function isoAt(micros: number, offset: number, style: Style): string {
  const local = micros + offset * 60e6;
  const seconds = new Date(Math.floor(local / 1e6) * 1000).toISOString().slice(0, 19);
  const fraction = String(((local % 1e6) + 1e6) % 1e6)
    .padStart(6, '0')
    .padEnd(9, '0')
    .slice(0, style.digits);
  const wall = seconds.replace('T', style.separator ?? 'T') + (fraction && `${style.point ?? '.'}${fraction}`);
  return wall + (style.zone ?? offsetText(offset, ':'));
}

function offsetText(minutes: number, colon: string): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const east = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(east / 60))}${colon}${two(east % 60)}`;
}

function offsetMinutes(text: string): number {
  if (text === 'Z' || text === 'z') return 0;
  const minutes = Number(text.slice(1, 3)) * 60 + Number(text.slice(-2));
  return text.startsWith('-') ? -minutes : minutes;
}

const isMilliseconds = (number: number) => number >= 1e11;

function epochTexts(micros: number, old: number): string[] {
  const number = isMilliseconds(old) ? micros / 1e3 : micros / 1e6;
  return [String(number), isMilliseconds(old) ? number.toFixed(3) : number.toFixed(6)];
}

function epochsLike(micros: number, old: unknown): unknown[] {
  if (!(old instanceof Int32 || old instanceof Double || old instanceof Long)) return [];
  const number = isMilliseconds(Number(old.toString())) ? micros / 1e3 : micros / 1e6;
  if (old instanceof Double) return [new Double(number)];
  if (!Number.isInteger(number)) return [new Double(number)];
  return old instanceof Int32 && number <= 2147483647 ? [new Int32(number)] : [Long.fromNumber(number)];
}
