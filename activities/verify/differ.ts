// Where two values differ: paths, never values. BSON types count, the order of an object's fields does not.
import { EJSON } from 'bson';

/** At most this many paths of one document are named. */
const most = 10;

/** Paths at which `actual` is not `expected`, beginning with `path`. */
export function differences(expected: unknown, actual: unknown, path: string): string[] {
  const found: string[] = [];
  compare(expected, actual, path, found);
  return found;
}

function compare(expected: unknown, actual: unknown, path: string, found: string[]): void {
  if (found.length >= most || expected === actual) return;
  if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) found.push(`${path}.length`);
    for (let i = 0; i < Math.min(expected.length, actual.length); i++)
      compare(expected[i], actual[i], `${path}.${i}`, found);
  } else if (isPlain(expected) && isPlain(actual)) {
    for (const field of new Set([...Object.keys(expected), ...Object.keys(actual)]))
      compare(expected[field], actual[field], `${path}.${field}`, found);
  } else if (tagged(expected) !== tagged(actual)) found.push(path);
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Date) &&
  !('_bsontype' in value);

/** A single value with its BSON type. A JavaScript number is written as int32 where it is one, as double otherwise. */
function tagged(value: unknown): string {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  if (typeof value === 'number')
    return Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31 && !Object.is(value, -0)
      ? `Int32 ${value}`
      : `Double ${double(value)}`;
  if (typeof value !== 'object') return `${typeof value} ${String(value)}`;
  if (value instanceof Date) return `Date ${value.getTime()}`;
  const { _bsontype: type, value: inner } = value as { _bsontype?: string; value?: number };
  if (type === 'Int32') return `Int32 ${inner}`;
  if (type === 'Double') return `Double ${double(inner!)}`;
  if (type === undefined) return Array.isArray(value) ? 'array' : 'object';
  return `${type} ${EJSON.stringify({ v: value }, { relaxed: false })}`;
}

const double = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));
