// The words of columns, one per kind of value.
import { arrayCodec, bytesCodec, jsonCodec, type Json } from './codecs/containers.ts';
import { bigintCodec, boolCodec, decimalCodec, doubleCodec, intCodec } from './codecs/numbers.ts';
import { refCodec, type Ref, type RefOptions } from './codecs/ref.ts';
import { textCodec, uuidCodec } from './codecs/text.ts';
import { dayCodec, instantCodec, type InstantOptions } from './codecs/times.ts';
import type { Codec } from './codec.ts';
import { asId, Column } from './column.ts';

/** A column of a codec of one's own. */
export const column = <Out>(codec: Codec<Out>): Column<Out, true> => new Column<Out, true>(codec);

export const text = (): Column<string, true> => column(textCodec);
export const uuid = (): Column<string, true> => column(uuidCodec);
export const int = (): Column<number, true> => column(intCodec);
export const bigint = (): Column<bigint, true> => column(bigintCodec);
export const bool = (): Column<boolean, true> => column(boolCodec);
export const decimal = (precision: number, scale: number): Column<string, true> =>
  column(decimalCodec(precision, scale));
export const double = (): Column<number, true> => column(doubleCodec);
export const instant = (options: InstantOptions = {}): Column<number, true> => column(instantCodec(options));
export const day = (): Column<string, true> => column(dayCodec);
export const array = <Out>(of: Column<Out, boolean>): Column<readonly Out[], true> => column(arrayCodec(of.codec));
export const json = (): Column<Json, true> => column(jsonCodec);
export const bytes = (): Column<Uint8Array, true> => column(bytesCodec);
export const ref = (mapping: string, options: RefOptions = {}): Column<Ref, true> => column(refCodec(mapping, options));
/** `_id`, or the part of it of that name; text where nothing else is said. */
export function id(part?: string): Column<string, false>;
export function id<Out>(part: string | undefined, as: Column<Out, boolean>): Column<Out, false>;
export function id(part?: string, as: Column<unknown, boolean> = text()): Column<unknown, false> {
  return asId(as, part);
}

export { derived, entries, group, residual, rows, type Columns, type Row } from './columns.ts';
export { missing, refused, unreadable, value, type Codec, type Place, type Settings } from './codec.ts';
