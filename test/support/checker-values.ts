// How the checker reads single values of the source, and when it calls two values the same. Nothing of the project's code is used here.
import type { Double, Int32, Long, ObjectId } from 'bson';
import { EJSON } from 'bson';

/** The source's value has no plain reading: whatever stands in the target is accepted. */
export const unclear = Symbol('unclear');
export type Unclear = typeof unclear;

export interface SourceDocument {
  readonly _id: unknown;
  readonly [field: string]: unknown;
}

export type Same = (expected: unknown, actual: unknown) => boolean;

/** What should stand in one place of the target. */
export interface Field {
  readonly name: string;
  readonly same: Same;
  readonly expected: unknown;
}

/** By its mark, not its class: the driver brings a copy of the bson package of its own. */
const isBson = (value: unknown, type: string): boolean =>
  (value as { _bsontype?: string } | null | undefined)?._bsontype === type;
export const isObjectId = (value: unknown): value is ObjectId => isBson(value, 'ObjectId');

export const idText = (id: unknown): string =>
  isObjectId(id) ? id.toHexString() : EJSON.stringify(id, { relaxed: false });

export const isPlain = (value: unknown): value is Record<string, unknown> =>
  value !== null &&
  typeof value === 'object' &&
  !Array.isArray(value) &&
  !(value instanceof Date) &&
  !(value instanceof RegExp) &&
  !('_bsontype' in value);

/** A column or field that holds text or nothing. */
export function text(value: unknown): string | null | Unclear {
  if (value === undefined || value === null) return null;
  return typeof value === 'string' && !value.includes('\u0000') ? value : unclear;
}

export function number(value: unknown): number | null | Unclear {
  if (value === undefined || value === null) return null;
  const found = plainNumber(value);
  return found === undefined || !Number.isFinite(found) ? unclear : found;
}

function plainNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (isBson(value, 'Int32') || isBson(value, 'Double')) return (value as Int32 | Double).value;
  const long = isBson(value, 'Long') ? (value as Long).toNumber() : undefined;
  return long !== undefined && Number.isSafeInteger(long) ? long : undefined;
}

const iso = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?$/;
const shanghai = 8 * 3_600_000;

/** Microseconds since 1970: a BSON date, or ISO text; where the text names no zone, Shanghai's. */
export function micros(value: unknown): number | null | Unclear {
  if (value === undefined || value === null) return null;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? unclear : value.getTime() * 1000;
  const found = typeof value === 'string' ? iso.exec(value) : null;
  if (!found || found[1]! < '1992') return unclear;
  const [, year, month, day, hour, minute, second, fraction = '', zone] = found;
  const wall = Date.UTC(+year!, +month! - 1, +day!, +hour!, +minute!, +second!);
  return Number.isNaN(wall) ? unclear : (wall - offset(zone)) * 1000 + Number(fraction.padEnd(6, '0'));
}

function offset(zone: string | undefined): number {
  if (zone === undefined) return shanghai;
  if (zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4));
  return (zone.startsWith('-') ? -minutes : minutes) * 60_000;
}

export const equal: Same = (expected, actual) => expected === (actual ?? null);

/** `expected` may be a list: any of these. PostgreSQL's numbers arrive as text. */
export const near =
  (tolerance: number): Same =>
  (expected, actual) => {
    if (expected === null || actual === null || actual === undefined) return expected === (actual ?? null);
    const found = plainNumber(typeof actual === 'string' ? Number(actual) : actual);
    if (found === undefined || Number.isNaN(found)) return false;
    return [expected].flat().some((one) => Math.abs((one as number) - found) <= tolerance);
  };
export const exactly = near(0);

/** A BSON date of the target, against microseconds. */
export const sameDate: Same = (expected, actual) =>
  expected === null ? (actual ?? null) === null : actual instanceof Date && actual.getTime() * 1000 === expected;

/** A value of the source against JSON: types that JSON has no word for stand there as Extended JSON. */
export const sameJson: Same = (expected, actual) => {
  if (expected === null || expected === undefined) return (actual ?? null) === null;
  if (typeof expected === 'string') return expected.replaceAll('\u0000', '') === actual;
  if (typeof expected === 'boolean') return expected === actual;
  if (expected instanceof Date) return sameMoment(expected, actual);
  if (isObjectId(expected)) return (actual as { $oid?: string } | null)?.$oid === expected.toHexString();
  const numeric = plainNumber(expected);
  if (numeric !== undefined) return sameNumber(numeric, actual);
  if (Array.isArray(expected))
    return (
      Array.isArray(actual) && actual.length === expected.length && expected.every((one, i) => sameJson(one, actual[i]))
    );
  if (!isPlain(expected)) return true;
  if (!isPlain(actual)) return false;
  const names = Object.keys(expected);
  return (
    Object.keys(actual).length === names.length &&
    names.every((name) => sameJson(expected[name], actual[name.replaceAll('\u0000', '')]))
  );
};

function sameMoment(expected: Date, actual: unknown): boolean {
  const said = isPlain(actual) ? actual['$date'] : actual;
  const millis = isPlain(said) ? Number(said['$numberLong']) : Date.parse(String(said));
  return Number.isNaN(expected.getTime()) || millis === expected.getTime();
}

function sameNumber(expected: number, actual: unknown): boolean {
  if (!Number.isFinite(expected)) return actual === null;
  return (isPlain(actual) ? Number(actual['$numberLong'] ?? actual['$numberDouble']) : actual) === expected;
}

/** Sentences about the fields that are not as they should be. */
export function wrongFields(
  fields: readonly Field[],
  actual: Readonly<Record<string, unknown>>,
  place: string,
): string[] {
  return fields
    .filter(({ name, same, expected }) => expected !== unclear && !same(expected, actual[name]))
    .map(({ name, expected }) => `${place}.${name} is ${shown(actual[name])}, not ${shown(expected)}`);
}

const shown = (value: unknown): string => {
  const said = value instanceof Map ? [...value] : value;
  return (EJSON.stringify({ v: said ?? null }) ?? '').slice(5, -1).slice(0, 120);
};
