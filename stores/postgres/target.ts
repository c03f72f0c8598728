// The words a mapping may use for PostgreSQL and TimescaleDB: table(), hypertable(), column types, references.
import type { Target } from '../store.ts';

export type ColumnType =
  | 'text'
  | 'bigint'
  | 'integer'
  | 'boolean'
  | 'double precision'
  | 'timestamptz'
  | 'date'
  | 'jsonb'
  | `numeric(${number},${number})`;

export interface Column {
  readonly type: ColumnType;
  readonly notNull?: boolean;
  /** A row of another table, found by one of its columns while loading; null where none is found. */
  readonly references?: { readonly table: string; readonly by: readonly string[] };
  /** For an application that writes rows by itself: where it gives no value, the column follows another; `sql` says how, of `new`. */
  readonly derived?: { readonly from: string; readonly sql: string };
}

/**
 * A table made from a mapping. Every table but a child has `id bigint identity` and `source_id text not null` added by the store.
 * With `time` it becomes a hypertable where TimescaleDB is there, a table partitioned by month otherwise; its primary key is then
 * (source_id, time), else `source_id` is unique.
 */
export interface TableTarget extends Target {
  readonly store: 'postgres';
  readonly columns: Readonly<Record<string, Column>>;
  /** A NOT NULL timestamptz column to partition by. */
  readonly time?: string;
  /** Rows that belong to a row of another table of the same mapping; `column` gets that row's id, and with `unique` identifies the row. */
  readonly child?: { readonly of: string; readonly column: string; readonly unique: readonly string[] };
  /** Column sets that must be unique, in the order of the mapping's `unique` rules, which name each and settle clashes before loading. */
  readonly unique?: readonly (readonly string[])[];
  /** Column sets that are unique because one of `unique` is, which is made of them: what an application names in ON CONFLICT. They need no rule. */
  readonly alsoUnique?: readonly (readonly string[])[];
  /** Columns of each secondary index; a trailing ` desc` is allowed. */
  readonly indexes?: readonly (readonly string[])[];
  /** TimescaleDB only: compression and retention policies, created but not armed, and a daily aggregate. */
  readonly lifecycle?: {
    readonly compressAfter: string;
    readonly retainFor: string;
    readonly segmentBy: string;
    readonly daily?: {
      readonly view: string;
      readonly by: readonly string[];
      readonly sums: readonly string[];
      readonly zone: string;
    };
  };
}

/** Whatever is unique in a table beside its key. */
export const uniqueSets = (target: TableTarget): (readonly string[])[] => [
  ...(target.unique ?? []),
  ...(target.alsoUnique ?? []),
];

type TableOptions = Omit<TableTarget, 'store' | 'name' | 'time' | 'lifecycle'>;
type HypertableOptions = Omit<TableTarget, 'store' | 'name' | 'time'> & { readonly time: string };

export const table = (name: string, options: TableOptions): TableTarget => ({ store: 'postgres', name, ...options });
export const hypertable = (name: string, options: HypertableOptions): TableTarget => ({
  store: 'postgres',
  name,
  ...options,
});

export const text = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'text', ...options });
export const bigint = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'bigint', ...options });
export const integer = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'integer', ...options });
export const boolean = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'boolean', ...options });
export const double = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'double precision', ...options });
export const timestamptz = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'timestamptz', ...options });
export const date = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'date', ...options });
export const jsonb = (options: Omit<Column, 'type'> = {}): Column => ({ type: 'jsonb', ...options });
export const numeric = (precision: number, scale: number, options: Omit<Column, 'type'> = {}): Column => ({
  type: `numeric(${precision},${scale})`,
  ...options,
});

/** A bigint column holding another table's id, looked up by the first of `by` that matches; see `reference()` in mappings. */
export const references = (tableName: string, by: readonly string[]): Column => ({
  type: 'bigint',
  references: { table: tableName, by },
});

/** A value for a `references` column: what to look for, in order, as [column, value]. */
export class Reference {
  readonly table: string;
  readonly candidates: readonly (readonly [column: string, value: string])[];
  constructor(table: string, candidates: readonly (readonly [string, string])[]) {
    this.table = table;
    this.candidates = candidates;
  }
}

/** What stands in a `references` column, as it is read back: the row it names, with the columns that a Reference may find it by. */
export class Parent {
  readonly table: string;
  readonly id: bigint;
  readonly values: Readonly<Record<string, string>>;
  constructor(table: string, id: bigint, values: Readonly<Record<string, string>>) {
    this.table = table;
    this.id = id;
    this.values = values;
  }
}

/**
 * What a mapping puts into a column. timestamptz: a number of microseconds since 1970-01-01T00:00:00Z. numeric: decimal text.
 * bigint: a number or bigint. date: `YYYY-MM-DD`. jsonb: any JSON value. references: a Reference; a Parent
 * where the row was read back. null and undefined are NULL.
 */
export type ColumnValue = unknown;
export type Row = Record<string, ColumnValue>;
