// A row as COPY binary, by the plain interpreter: what the compiled one is held against, bit for bit.
import { roundHalfEven } from '../../fields/number.ts';
import type { FastOutput, SqlType } from '../codec.ts';
import { numericFromText } from './numeric.ts';
import { int16, int32, int64, nothing } from './output.ts';

/** The signature, flags and extension of a COPY binary stream; it ends with -1 as a number of fields. */
export const copyHeader: Buffer = Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex');
export const copyTrailer: Buffer = Buffer.from('ffff', 'hex');

export type ColumnList = readonly (readonly [name: string, type: SqlType])[];

/** References are numbers by then. */
export function encodeRow(
  out: FastOutput,
  columns: ColumnList,
  sourceId: string,
  row: Readonly<Record<string, unknown>>,
): void {
  out.room(2);
  int16(out, columns.length + 1);
  encode(out, 'text', sourceId);
  for (const [name, type] of columns) encode(out, type, row[name]);
}

const twoThousand = 946_684_800_000_000;
const dayMillis = 86_400_000;

export function encode(out: FastOutput, type: SqlType, value: unknown): void {
  if (value === null || value === undefined) return nothing(out);
  if (type.endsWith('[]')) return encodeArray(out, type.slice(0, -2) as SqlType, value as readonly unknown[]);
  if (type.startsWith('numeric')) return numericFromText(out, plainDecimal(String(value as string), type));
  out.room(12);
  switch (type) {
    case 'bigint': {
      int32(out, 8);
      const whole = BigInt(value as bigint);
      int32(out, Number(BigInt.asIntN(32, whole >> 32n)));
      int32(out, Number(BigInt.asIntN(32, whole)));
      return;
    }
    case 'integer':
      int32(out, 4);
      int32(out, value as number);
      return;
    case 'boolean':
      int32(out, 1);
      out.bytes[out.at++] = value === true ? 1 : 0;
      return;
    case 'double precision':
      int32(out, 8);
      out.bytes.writeDoubleBE(value as number, out.at);
      out.at += 8;
      return;
    case 'timestamptz':
      int32(out, 8);
      int64(out, (value as number) - twoThousand);
      return;
    case 'date':
      int32(out, 4);
      int32(out, Math.round((Date.parse(`${value as string}T00:00:00Z`) - twoThousand / 1000) / dayMillis));
      return;
    case 'uuid':
      return bytesOf(out, Buffer.from((value as string).replaceAll('-', ''), 'hex'));
    case 'bytea':
      return bytesOf(out, value as Uint8Array);
    case 'jsonb':
      return bytesOf(out, Buffer.from(`\u0001${JSON.stringify(value)}`));
    default:
      return bytesOf(out, Buffer.from(String(value as string)));
  }
}

function bytesOf(out: FastOutput, bytes: Uint8Array): void {
  out.room(bytes.length + 4);
  int32(out, bytes.length);
  out.bytes.set(bytes, out.at);
  out.at += bytes.length;
}

const plainDecimal = (text: string, type: SqlType): string =>
  /e/i.test(text) ? roundHalfEven(text, Number(/,(\d+)/.exec(type)![1])).text : text;

const oids: Readonly<Record<string, number>> = {
  text: 25,
  integer: 23,
  bigint: 20,
  boolean: 16,
  'double precision': 701,
  timestamptz: 1184,
  date: 1082,
  uuid: 2950,
  jsonb: 3802,
};

function encodeArray(out: FastOutput, type: SqlType, items: readonly unknown[]): void {
  out.room(24);
  const lengthAt = out.at;
  out.at += 4;
  int32(out, items.length === 0 ? 0 : 1);
  int32(out, 0);
  int32(out, type.startsWith('numeric') ? 1700 : oids[type]!);
  if (items.length > 0) {
    int32(out, items.length);
    int32(out, 1);
    for (const item of items) encode(out, type, item);
  }
  const end = out.at;
  out.at = lengthAt;
  int32(out, end - lengthAt - 4);
  out.at = end;
}
