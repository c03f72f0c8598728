// mapping(): everything that is known of one source collection, and the words for where its documents go.
import type { KeyRow } from '../../stores/redis/target.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { WayBack } from '../back/declaration.ts';
import type { ApplicationQuery } from '../query.ts';
import type { Document, MainRead } from '../mapping.ts';
import type { Place, Settings } from './codec.ts';
import type { Look } from './fast/look.ts';
import type { Columns, Row } from './columns.ts';

/** Judged on the typed row, in the copy, in capture and on the way back; and SQL that counts what breaks it, alone where a set is meant. */
export type Rule<R> =
  | {
      readonly name: string;
      readonly holds: (row: R) => boolean;
      readonly or: 'quarantine' | 'warn';
      readonly path?: string;
      readonly sql?: string;
    }
  | { readonly name: string; readonly sql: string; readonly holds?: never };

export interface Invariant {
  readonly name: string;
  readonly by: readonly string[];
  readonly localDay?: string;
  readonly sums: readonly string[];
}

interface TableOptions<C extends Columns> {
  readonly indexes?: readonly (readonly string[])[];
  /** Sets of columns that are unique together; every one needs its rule. */
  readonly unique?: readonly {
    readonly columns: readonly (keyof C & string)[];
    readonly rule: string;
    readonly rank?: readonly string[];
  }[];
  readonly rules?: readonly Rule<Row<C>>[];
  readonly invariants?: readonly Invariant[];
}

export interface Table<C extends Columns = Columns> extends Omit<TableOptions<Columns>, 'rules'> {
  readonly rules?: readonly Rule<never>[];
  readonly store: 'postgres';
  readonly name: string;
  readonly columns: C;
  /** A timestamptz column that is never null: the table is a hypertable. */
  readonly time?: string;
  readonly lifecycle?: TableTarget['lifecycle'];
}

export const table = <C extends Columns>(name: string, columns: C, options: TableOptions<C> = {}): Table<C> => ({
  store: 'postgres',
  name,
  columns,
  ...options,
});

export const hypertable = <C extends Columns>(
  name: string,
  columns: C,
  options: TableOptions<C> & { readonly time: keyof C & string; readonly lifecycle?: TableTarget['lifecycle'] },
): Table<C> => ({ store: 'postgres', name, columns, ...options });

/** One key. `expiresAt` null: it stays until it is deleted. */
export type KeyEntry = Omit<KeyRow, 'expiresAt'> & { readonly expiresAt: number | null };

/** Keys in Redis, each one JSON string. `durable`: the table that keeps every value for good; none: losing them is allowed, and is the mapping's word. */
export interface Keys {
  readonly store: 'redis';
  readonly name: string;
  readonly prefix: string;
  readonly durable?: string;
  /** What a key is made of: the row of this table, whether the table is made or not. */
  readonly of: Table;
  /** undefined: the row has no key. */
  readonly key: (row: never, document: Document, settings: Settings) => KeyEntry | undefined;
}
export const keys = <C extends Columns>(
  name: string,
  of: Table<C>,
  options: {
    readonly prefix: string;
    readonly durable?: boolean;
    readonly key: (row: Row<C>, document: Document, settings: Settings) => KeyEntry | undefined;
  },
): Keys => {
  const { durable = true, prefix, key } = options;
  return { store: 'redis', name, prefix, key, of: of as Table, ...(durable && { durable: of.name }) };
};

/** One JSON file per category of a table. */
export interface Files {
  readonly store: 'files';
  readonly name: string;
  readonly table: string;
  readonly category: string;
  readonly key: string;
  readonly value: string;
}
export const files = (name: string, options: Omit<Files, 'store' | 'name'>): Files => ({
  store: 'files',
  name,
  ...options,
});

/** Documents in the target MongoDB, made and unmade as a whole. Keeps the source's `_id`. */
export interface Collection {
  readonly store: 'mongodb';
  readonly name: string;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly indexes: readonly Readonly<Record<string, 1 | -1>>[];
  /** Rows of the table beside it, by column, where there is one. */
  readonly get: (
    document: Document,
    place: Pick<Place, 'notes' | 'settings'>,
    row: Readonly<Record<string, unknown>>,
  ) => Document;
  /** What `wanted` says, put into `old`; none for a document that only follows from the table beside it. `put(get(document))` changes nothing. */
  readonly put?: (wanted: Document, old: Uint8Array, settings: Settings) => PutWhole;
  /** Instead of `put`: how the parts of the document are compared and written back one by one. */
  readonly back?: WayBack;
  /** Other spellings of the document's own fields. */
  readonly otherNames: Readonly<Record<string, string>>;
  /** Fields that documents are expected to have, with the BSON types they are met with. */
  readonly fields: Readonly<Record<string, readonly string[]>>;
}
export interface PutWhole {
  readonly bytes: Uint8Array;
  readonly unrepresentable: readonly string[];
  readonly refused?: { readonly rule: string; readonly path: string };
}
export const collection = (
  name: string,
  options: Omit<Collection, 'store' | 'name' | 'otherNames' | 'fields'> &
    Partial<Pick<Collection, 'otherNames' | 'fields'>>,
): Collection => ({ store: 'mongodb', name, otherNames: {}, fields: {}, ...options });

export type To = Table | Keys | Files | Collection;

export interface Declaration {
  /** The name everything goes by; also the source collection's first name. */
  readonly collection: string;
  readonly aliases: readonly string[];
  readonly class: 'static' | 'historical' | 'active';
  readonly version: number;
  readonly to: readonly To[];
  readonly after: readonly string[];
  /** A rule's name if the document is no data, and is counted as skipped. */
  readonly skip?: (document: Document) => string | undefined;
  /** For the compiled reader: true where `skip` skips nothing. Left out: with `skip`, every document takes the slow path. */
  readonly neverSkips?: (look: Look) => boolean;
  readonly accessPatterns: readonly string[];
  readonly mainRead?: MainRead;
  readonly queries: readonly ApplicationQuery[];
}

export const mapping = (
  collection: string,
  definition: Pick<Declaration, 'class'> & Partial<Omit<Declaration, 'to'>> & { readonly to: To | readonly To[] },
): Declaration => ({
  aliases: [],
  version: 1,
  after: [],
  accessPatterns: [],
  queries: [],
  ...definition,
  collection,
  to: Array.isArray(definition.to) ? (definition.to as readonly To[]) : [definition.to as To],
});
