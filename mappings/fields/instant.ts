// Dates as they are met: ISO text with and without a zone, epoch seconds or milliseconds, BSON dates -> microseconds since 1970 UTC.
import { Double, Int32, Long } from 'bson';

/** `zoned`: the value says its own zone. `naive`: wall-clock text, read in the given zone. `epoch`: a number. `date`: a BSON date. */
export type Form = 'zoned' | 'naive' | 'epoch' | 'date';
export interface Instant {
  readonly micros: number;
  readonly form: Form;
}

const iso =
  /^\s*(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|z|[+-]\d{2}:?\d{2})?\s*$/;

/** Years 1970 to 2199 only: outside it a value is a mistake, and microseconds stay exact in a double. */
const latest = Date.UTC(2200, 0, 1) * 1000;

/** undefined when the value is no point in time. */
export function readInstant(value: unknown, zone: string): Instant | undefined {
  const found = read(value, zone);
  return found && found.micros >= 0 && found.micros < latest ? found : undefined;
}

function read(value: unknown, zone: string): Instant | undefined {
  if (typeof value === 'string') return fromText(value, zone);
  if (value instanceof Date)
    return Number.isNaN(value.getTime()) ? undefined : { micros: value.getTime() * 1000, form: 'date' };
  const number = numberOf(value);
  return number === undefined ? undefined : fromEpoch(number);
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (value instanceof Int32 || value instanceof Double) return value.value;
  return value instanceof Long ? value.toNumber() : undefined;
}

/** Seconds below 1e11, milliseconds from there on. */
function fromEpoch(number: number): Instant | undefined {
  if (!Number.isFinite(number)) return undefined;
  return { micros: Math.round(number >= 1e11 ? number * 1e3 : number * 1e6), form: 'epoch' };
}

function fromText(text: string, zone: string): Instant | undefined {
  const fast = shanghai(text);
  if (fast !== undefined) return { micros: fast, form: 'zoned' };
  const found = iso.exec(text);
  if (!found) return /^\s*\d{9,16}(\.\d+)?\s*$/.test(text) ? fromEpoch(Number(text)) : undefined;
  const [, y, mo, d, h = '0', mi = '0', s = '0', fraction = '', offset] = found;
  const local = Date.UTC(+y!, +mo! - 1, +d!, +h, +mi, +s);
  const check = new Date(local);
  if (check.getUTCMonth() !== +mo! - 1 || check.getUTCDate() !== +d! || +h > 23 || +mi > 59 || +s > 59)
    return undefined;
  const micros = local * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
  if (offset === undefined) return { micros: micros - zoneOffset(zone, local) * 60e6, form: 'naive' };
  return { micros: micros - offsetMinutes(offset) * 60e6, form: 'zoned' };
}

/** `2025-10-20T14:03:22.417803+08:00`, which almost every document has, without a regular expression. */
function shanghai(text: string): number | undefined {
  if (text.length !== 32 || text.charCodeAt(10) !== 84 || text.charCodeAt(19) !== 46 || !text.endsWith('+08:00'))
    return undefined;
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  const second = digits(text, 17, 2);
  const fraction = digits(text, 20, 6);
  if (Number.isNaN(year + month + day + hour + minute + second + fraction)) return undefined;
  if (month < 1 || month > 12 || day < 1 || day > 28 || hour > 23 || minute > 59 || second > 59) return undefined;
  return Date.UTC(year, month - 1, day, hour - 8, minute, second) * 1000 + fraction;
}

function digits(text: string, from: number, count: number): number {
  let value = 0;
  for (let i = from; i < from + count; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  return value;
}

function offsetMinutes(offset: string): number {
  if (offset === 'Z' || offset === 'z') return 0;
  const minutes = Number(offset.slice(1, 3)) * 60 + Number(offset.slice(-2));
  return offset.startsWith('-') ? -minutes : minutes;
}

/** China has had one offset since its last summer time ended in 1991. */
const shanghaiSettled = Date.UTC(1992, 0, 1);

const formats = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, number>();

/** Minutes east of UTC at a wall-clock time of the zone; for a time that a clock change repeats, the later offset. */
export function zoneOffset(zone: string, localMillis: number): number {
  if (zone === 'Asia/Shanghai' && localMillis > shanghaiSettled) return 480;
  const hour = Math.floor(localMillis / 3_600_000);
  const key = `${zone} ${hour}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    offset = offsetAt(zone, localMillis - offsetAt(zone, localMillis) * 60_000);
    if (offsets.size > 50_000) offsets.clear();
    offsets.set(key, offset);
  }
  return offset;
}

function offsetAt(zone: string, millis: number): number {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' });
    formats.set(zone, format);
  }
  const name = format.formatToParts(new Date(millis)).find((part) => part.type === 'timeZoneName')?.value ?? 'GMT';
  const found = /GMT([+-])(\d{2}):(\d{2})/.exec(name);
  return found ? (found[1] === '-' ? -1 : 1) * (Number(found[2]) * 60 + Number(found[3])) : 0;
}
