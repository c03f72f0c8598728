// Rows as COPY text: one compiled encoder per table, so that the loader only moves bytes.
import { quarantine, refusedRule } from '../../core/quarantine.ts';
import { uniqueSets, type Column, type Row, type TableTarget } from './target.ts';

/** A row's line, columns in the order of `columnsOf`, ending in a newline. */
export type Encode = (sourceId: string, row: Row) => string;

/** The columns a COPY of the target names: its key first. A child's rows carry the source id of the row they belong to. */
export const columnsOf = (target: TableTarget): string[] => ['source_id', ...Object.keys(target.columns)];

export function encoderOf(target: TableTarget): Encode {
  const columns = Object.entries(target.columns).map(
    ([column, its]) => [column, encodeAs(its, `${target.name}.${column}`), its.notNull === true] as const,
  );
  const indexed = [...uniqueSets(target), ...(target.indexes ?? [])]
    .map((index) =>
      index.map((column) => column.replace(/ desc$/, '')).filter((column) => target.columns[column]?.type === 'text'),
    )
    .filter((index) => index.length > 0);
  return (sourceId, row) => {
    let line = escape(sourceId);
    let met = 0;
    for (const [column, encode, required] of columns) {
      const value = row[column];
      if (value !== undefined) met++;
      if (value !== null && value !== undefined) line += `\t${encode(value)}`;
      else if (required) quarantine(`${column}_not_null`, column, `${target.name}.${column} must have a value`);
      else line += '\t\\N';
    }
    refuseUnknown(target, row, met);
    for (const index of indexed) refuseLong(target, index, row);
    return `${line}\n`;
  };
}

/** A value for a column that is not there would be dropped silently. */
function refuseUnknown(target: TableTarget, row: Row, met: number): void {
  let given = 0;
  for (const column in row) if (row[column] !== undefined) given++;
  if (given === met) return;
  const unknown = Object.keys(row).find((column) => !(column in target.columns));
  throw new TypeError(`${target.name} has no column ${unknown}`);
}

/** PostgreSQL's B-trees take entries of a third of a page, 2,704 bytes with their head; what compresses well may be longer, but who knows. */
const longestEntry = 2600;

function refuseLong(target: TableTarget, index: readonly string[], row: Row): void {
  let bytes = 0;
  for (const column of index) if (typeof row[column] === 'string') bytes += Buffer.byteLength(row[column]);
  if (bytes > longestEntry)
    quarantine(
      refusedRule,
      index[0]!,
      `${target.name} has an index on ${index.join(', ')}, which takes ${longestEntry} bytes`,
    );
}

/** What encodes a value of each type. Throws TypeError, naming the column, on a value the mapping should not have produced. */
function encodeAs(column: Column, place: string): (value: unknown) => string {
  const wrong = (value: unknown) => new TypeError(`${place} (${column.type}) was given a ${typeof value}`);
  switch (column.type) {
    case 'text':
      return (value) => {
        if (typeof value !== 'string') throw wrong(value);
        return escape(value);
      };
    case 'jsonb':
      return (value) => {
        const json = JSON.stringify(value);
        if (json.includes('\\u0000') && nulEscape.test(json))
          throw new TypeError(`${place} was given text with U+0000, which jsonb does not take`);
        return escape(json);
      };
    case 'timestamptz':
      return (value) => {
        if (typeof value !== 'number') throw wrong(value);
        return microsText(value);
      };
    case 'boolean':
      return (value) => (value === true ? 't' : 'f');
    case 'bigint':
    case 'integer':
      return (value) => {
        if (typeof value !== 'number' && typeof value !== 'bigint') throw wrong(value);
        return value.toString();
      };
    default:
      return (value) => {
        if (typeof value !== 'number' && typeof value !== 'string') throw wrong(value);
        return escape(String(value));
      };
  }
}

/** An escaped NUL in JSON, and not an escaped backslash followed by `u0000`. */
const nulEscape = /(?<!\\)((?:\\\\)*)\\u0000/;
export const nulEscapes = new RegExp(nulEscape, 'g');
const special = /[\\\n\r\t]/;
const specials = /[\\\n\r\t]/g;
const escapes: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** A value as COPY's text format writes it. */
export const escape = (text: string): string =>
  special.test(text) ? text.replace(specials, (character) => escapes[character]!) : text;

const dayMicros = 86_400e6;
const days = new Map<number, string>();
const two = Array.from({ length: 100 }, (_, i) => String(i).padStart(2, '0'));
const three = Array.from({ length: 1000 }, (_, i) => String(i).padStart(3, '0'));

/** Microseconds since 1970 as `2025-10-20 06:03:22.417803Z`. Dates repeat, so each day is formatted once. */
export function microsText(micros: number): string {
  const day = Math.floor(micros / dayMicros);
  let date = days.get(day);
  if (date === undefined) {
    if (days.size > 20_000) days.clear();
    date = new Date(day * 86_400_000).toISOString().slice(0, 10);
    days.set(day, date);
  }
  const rest = micros - day * dayMicros;
  const seconds = Math.floor(rest / 1e6);
  const fraction = rest - seconds * 1e6;
  const thousands = Math.floor(fraction / 1000);
  const time = `${two[Math.floor(seconds / 3600)]}:${two[Math.floor(seconds / 60) % 60]}:${two[seconds % 60]}`;
  return `${date} ${time}.${three[thousands]}${three[fraction - thousands * 1000]}Z`;
}
