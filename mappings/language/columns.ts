// What stands among a table's columns: columns, child rows, fields that become rows, what follows from others, and the residual. And the row's type.
import type { Json } from './codecs/containers.ts';
import type { Codec, SqlType } from './codec.ts';
import type { Look } from './fast/look.ts';
import { Column } from './column.ts';

/** A list that becomes rows of a table of its own, at any depth. */
export interface Rows<C extends Columns = Columns> {
  readonly kind: 'rows';
  readonly path: string;
  readonly table: string;
  /** Columns by which an entry is known; without them, its position, which is a column then. */
  readonly key?: readonly string[];
  /** One object where a list is meant is a list of one. */
  readonly single: 'accept' | 'quarantine';
  readonly columns: C;
}

/** Fields that become rows of a table of their own, one each, known by their name. */
export interface Entries<Out = unknown> {
  readonly kind: 'entries';
  readonly table: string;
  readonly key: string;
  readonly value: string;
  readonly fields: Readonly<Record<string, Codec<Out>>>;
  /** Field -> its other names. */
  readonly aliases: Readonly<Record<string, readonly string[]>>;
}

/** Follows from other columns: never read from the document, never written back. `sql`: of `new`, for an application that writes rows by itself. */
export interface Derived<out Out = unknown> {
  readonly kind: 'derived';
  readonly out?: Out;
  readonly type: SqlType;
  readonly from: readonly string[];
  readonly null: boolean;
  readonly make: (...values: never[]) => Out;
  readonly sql?: string;
}

/** Every path that is not declared, with what was noted and kept of the document under `_causeway`. */
export interface Residual {
  readonly kind: 'residual';
  /** The row, as it is without this column -> keys added to the residual, where they are not false: they follow from it and are not written back. */
  readonly tags?: Readonly<Record<string, (row: Readonly<Record<string, unknown>>) => unknown>>;
  /** For the compiled reader: true where no tag can apply. Left out: with tags, every document takes the slow path. */
  readonly untagged?: (look: Look) => boolean;
  /** A field whose own keys stand in the residual side by side with the undeclared fields. */
  readonly spread: string | undefined;
  /** Where a key goes that is new, in a document without the field that is spread: into such a field, or beside it. */
  readonly fresh: 'inside' | 'beside';
  /** Fields without a column that documents are expected to have, with the BSON types they are met with: \`assess\` reports others. */
  readonly known: Readonly<Record<string, readonly string[]>>;
  /** Key of the residual -> the field that it is written back to, where they differ. */
  readonly renamed: Readonly<Record<string, string>>;
}

export type Member = Column | Rows | Entries | Derived | Residual;
export type Columns = Readonly<Record<string, Member>>;

type Of<M> =
  M extends Column<infer Out, infer Null>
    ? Null extends false
      ? Out
      : Out | null
    : M extends Rows<infer C>
      ? readonly Row<C>[]
      : M extends Entries<infer Out>
        ? readonly Readonly<Record<string, string | Out>>[]
        : M extends Derived<infer Out>
          ? Out
          : Readonly<Record<string, Json>> | null;

/** A row, from its declaration: what rules, escape hatches and the new system's own code see. */
export type Row<C extends Columns> = { readonly [K in keyof C]: Of<C[K]> };

export interface RowsOptions<C extends Columns> {
  readonly table: string;
  readonly key?: readonly (keyof C & string)[];
  readonly single?: 'accept' | 'quarantine';
  readonly columns: C;
}

export const rows = <C extends Columns>(path: string, options: RowsOptions<C>): Rows<C> => ({
  kind: 'rows',
  path,
  single: 'quarantine',
  ...options,
});

export const entries = <Out>(
  table: string,
  options: Omit<Entries<Out>, 'kind' | 'table' | 'aliases'> & Partial<Pick<Entries<Out>, 'aliases'>>,
): Entries<Out> => ({ kind: 'entries', table, aliases: {}, ...options });

/** Columns of a field's fields: `...group('shipping_address', { ship_city: text().from('city') })`. */
export function group<C extends Readonly<Record<string, Column>>>(path: string, columns: C): C {
  const inside = (its: string) => `${path}.${its}`;
  return Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [
      name,
      new Column(column.codec, {
        ...column.facts,
        from: (column.facts.from ?? [name]).map(inside),
        or: column.facts.or.map((one) => one.map(inside)),
      }),
    ]),
  ) as unknown as C;
}

export function derived<Out, Values extends readonly unknown[]>(
  codec: Pick<Codec<Out & {}>, 'type'>,
  from: readonly string[],
  make: (...values: Values) => Out,
  sql?: string,
): Derived<Out> {
  const its = {
    kind: 'derived' as const,
    type: codec.type,
    from,
    make: make as unknown as Derived<Out>['make'],
    null: false,
  };
  return sql === undefined ? its : { ...its, sql };
}

export const residual = (options: Partial<Omit<Residual, 'kind'>> = {}): Residual => ({
  kind: 'residual',
  spread: undefined,
  fresh: 'beside',
  known: {},
  renamed: {},
  ...options,
});
