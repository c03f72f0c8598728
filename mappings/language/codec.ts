// A codec: what a source value becomes in a column, and what a column's value becomes in a document. Everything else follows from it.
import type { Document } from '../mapping.ts';
import type { Notes } from '../notes.ts';
import type { ColumnType } from '../../stores/postgres/target.ts';

/** PostgreSQL's types that a column may have. */
export type SqlType = ColumnType | 'uuid' | 'bytea' | `${ColumnType | 'uuid'}[]`;

/** An application's settings: always those in force. `asOf`: cluster time of the read in ms, where "the future" begins. */
export interface Settings {
  readonly asOf: number;
  readonly [name: string]: unknown;
}

/** Where a value is read. */
export interface Place {
  /** Of the field, from the document or entry that holds it; what reports say. */
  readonly path: string;
  /** The same without the list it stands in: what warnings are named after. */
  readonly field: string;
  readonly notes: Notes;
  readonly settings: Settings;
  /** The document or entry that the value stands in, its fields under their first names. For codecs that say so by `.with(...)`. */
  readonly beside: Document;
}

export type Read<Out> =
  | { readonly is: 'value'; readonly value: Out }
  /** Nothing is there: absent, null, or what the codec takes for nothing. */
  | { readonly is: 'missing' }
  /** Something is there that the codec cannot take. `rule`: instead of the column's own; `always`: it sets the document aside even in a column that may be null. */
  | { readonly is: 'unreadable'; readonly why: string; readonly rule?: string; readonly always?: true };

export const value = <Out>(its: Out): Read<Out> => ({ is: 'value', value: its });
export const missing = { is: 'missing' } as const;
export const unreadable = (why: string, rule?: string): Read<never> => ({
  is: 'unreadable',
  why,
  ...(rule !== undefined && { rule }),
});
/** Whatever the column allows: the document is set aside under the rule. */
export const refused = (why: string, rule: string): Read<never> => ({ is: 'unreadable', why, rule, always: true });

/** Both directions of one kind of value. Pure. */
export interface Codec<Out> {
  readonly name: string;
  readonly type: SqlType;
  /** MongoDB's names of the BSON types that are its plain form; others are read too, where they can be, and counted by `assess`. */
  readonly bson: readonly string[];
  /** `source`: as core/bson/decode.ts decodes it; undefined where the field is absent. */
  read(source: unknown, place: Place): Read<Out>;
  /**
   * Values that may stand for the column's in the document, best first; `old` is what the field holds, undefined where nothing does. The first one
   * without `old` is the natural form: a source value of any other form is kept as it was.
   */
  write(value: Out, old: unknown, settings: Settings): readonly unknown[];
  /** Says at once that the source's value is the natural form of the column's, for the forms that are met most; false says nothing. */
  isNatural?(source: unknown, value: Out): boolean;
  /**
   * `always`: no value of the column gives the source's back. `itself`: `read` keeps what has to be kept. `unnatural`: all of which `isNatural` does not
   * say that it is natural. Left out: whatever is not the natural form.
   */
  readonly keeps?: 'always' | 'itself' | 'unnatural';
  /** What the new side may hold beyond the type, as SQL that is true for it. */
  readonly check?: { readonly rule: string; readonly sql: (column: string) => string };
  /** The table whose row the value names. */
  readonly refers?: {
    readonly mapping: string;
    readonly by: readonly string[];
    readonly missing: 'null' | 'quarantine';
  };
  /** How the compiled reader takes the plain form. Left out: documents with this column take the slow path. */
  readonly fast?: Fast;
}

/** Writes COPY binary straight from the bytes; false, with nothing believed of what was written, for anything but the plain form. */
export interface Fast {
  write(bytes: Buffer, type: number, at: number, end: number, out: FastOutput, place: FastPlace): boolean;
}

export interface FastPlace {
  readonly settings: Settings;
  /** Where the twelve bytes of the document's ObjectId begin; -1 where its `_id` is something else. */
  readonly idAt: number;
}

/** A buffer that grows; what stands in it is COPY binary. */
export interface FastOutput {
  bytes: Buffer;
  at: number;
  room(size: number): void;
}
