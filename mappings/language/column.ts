// A column: a codec with the path it is read from, and what is said of it. Every word gives another column; none changes the one it is said of.
import type { Document } from '../mapping.ts';
import type { Codec, Settings, SqlType } from './codec.ts';

/** What must hold of a value that was read, and its SQL where it has one. */
export interface Check {
  readonly rule: string;
  readonly holds: (value: never) => boolean;
  /** `holds` is asked of a plain number, too: what the compiled reader asks. */
  readonly ofNumber?: true;
  /** True for what may stand in the column. */
  readonly sql?: (column: string) => string;
}

/** Documents that may not share a value: the one that ranks highest stays, the others are set aside under `rule`. */
export interface Unique {
  readonly rule: string;
  /** `caseless`: case, width, composition and surrounding space do not tell values apart; adds the column `<name>_key`. */
  readonly by: 'exact' | 'caseless';
  /** Columns that decide who stays, the most important first: filled before empty, true before false, later before earlier; then by source id. */
  readonly rank: readonly string[];
  /** What decides instead, as text of which the greater stays; `document` has its fields under their first names. */
  readonly rankBy?: (document: Document, settings: Settings) => string;
}

export interface Facts {
  /** Source path under its first name, with its other names. None: the column's own name. */
  readonly from?: readonly string[];
  /** Other fields that may hold the value in another form: read by the codec itself, written where they are filled. */
  readonly or: readonly (readonly string[])[];
  /** Fields that the codec looks at and accounts for, besides its own: they are not in the residual where `when` holds. */
  readonly owns: readonly { readonly field: string; readonly when: (document: Document) => boolean }[];
  /** Fields that the codec looks at besides its own. */
  readonly with: readonly string[];
  /** null is refused under this rule. */
  readonly required?: string;
  /** What cannot be read is refused under this rule, though null is allowed. */
  readonly strict?: string;
  readonly fallback?: { readonly value: unknown; readonly warn?: string };
  readonly checks: readonly Check[];
  readonly values?: readonly unknown[];
  readonly unique?: Unique;
  readonly index?: 'asc' | 'desc';
  /** Nothing is written as null where the document does not show how. */
  readonly nullable: boolean;
  readonly public: boolean;
  readonly secret: boolean;
  /** Where the value is a part of `_id` or all of it: what a document born in the new system is called. */
  readonly id: boolean;
}

const bare: Facts = {
  or: [],
  owns: [],
  with: [],
  checks: [],
  nullable: false,
  public: false,
  secret: false,
  id: false,
};

export class Column<out Out = unknown, out Null extends boolean = boolean> {
  readonly kind = 'column';
  declare readonly out: Out;
  declare readonly null: Null;
  readonly codec: Codec<Out>;
  readonly facts: Facts;

  constructor(codec: Codec<Out>, facts: Facts = bare) {
    this.codec = codec;
    this.facts = facts;
  }

  get type(): SqlType {
    return this.codec.type;
  }

  protected with_<N extends boolean = Null>(facts: Partial<Facts>): Column<Out, N> {
    return new Column<Out, N>(this.codec, { ...this.facts, ...facts });
  }

  /** `name.first` for a field of a field. Aliases are other spellings; two that disagree set the document aside (aliases_agree). */
  from(path: string, ...aliases: string[]): Column<Out, Null> {
    return this.with_({ from: [path, ...aliases] });
  }

  /** Another field that may hold the value, with its other spellings. */
  or(path: string, ...aliases: string[]): Column<Out, Null> {
    return this.with_({ or: [...this.facts.or, [path, ...aliases]] });
  }

  with(...fields: string[]): Column<Out, Null> {
    return this.with_({ with: [...this.facts.with, ...fields] });
  }

  owns(field: string, when: (document: Document) => boolean = () => true): Column<Out, Null> {
    return this.with_({ owns: [...this.facts.owns, { field, when }] });
  }

  /** A value that is missing, null or unreadable sets the document aside; under `<column>_valid` where no rule is named. */
  required(rule = ''): Column<Out, false> {
    return this.with_<false>({ required: rule });
  }

  /** A missing value is null; one that is there and cannot be read sets the document aside. */
  strict(rule = ''): Column<Out, Null> {
    return this.with_({ strict: rule });
  }

  /** What stands for a missing value, warned of under `warn`; one that cannot be read sets the document aside, unless `lenient` comes after. */
  orElse(value: Out, warn?: string): Column<Out, false> {
    return this.with_<false>({
      fallback: { value, ...(warn !== undefined && { warn }) },
      strict: this.facts.strict ?? '',
    });
  }

  /** Unreadable values are null, or what `orElse` says, and kept. What every column is without another word. */
  lenient(): Column<Out, Null> {
    const { strict: _, ...facts } = this.facts;
    return new Column<Out, Null>(this.codec, facts);
  }

  oneOf<const Values extends readonly (Out & string)[]>(values: Values, rule = ''): Column<Values[number], Null> {
    const known: Check = {
      rule,
      holds: (value) => values.includes(value),
      sql: (column) => `${column} in (${values.map((one) => `'${one.replaceAll("'", "''")}'`).join(', ')})`,
    };
    return this.with_({ values, checks: [...this.facts.checks, known] }) as unknown as Column<Values[number], Null>;
  }

  /** `sql`: the same of the column, so that the new side cannot write what the mapping refuses; `$` stands for its name. */
  check(rule: string, holds: (value: Out) => boolean, sql?: string): Column<Out, Null> {
    const check: Check = {
      rule,
      holds,
      ...(sql !== undefined && { sql: (column) => sql.replaceAll('$', () => column) }),
    };
    return this.with_({ checks: [...this.facts.checks, check] });
  }

  /** Numbers from `least` on. */
  atLeast(least: number, rule: string): Column<Out, Null> {
    const check: Check = {
      rule,
      holds: (value) => Number(value) >= least,
      ofNumber: true,
      sql: (column) => `${column} >= ${least}`,
    };
    return this.with_({ checks: [...this.facts.checks, check] });
  }

  unique(options: Partial<Unique> & { readonly rank?: readonly string[] } = {}): Column<Out, Null> {
    const { rule = '', by = 'exact', rank = [], rankBy } = options;
    return this.with_({ unique: { rule, by, rank, ...(rankBy && { rankBy }) } });
  }

  index(order: 'asc' | 'desc' = 'asc'): Column<Out, Null> {
    return this.with_({ index: order });
  }

  /** The application writes null for nothing; without it, it leaves the field out. */
  nullable(): Column<Out, Null> {
    return this.with_({ nullable: true });
  }

  public(): Column<Out, Null> {
    return this.with_({ public: true });
  }

  secret(): Column<Out, Null> {
    return this.with_({ secret: true });
  }
}

/** A column that is `_id`, or a part of it. */
export const asId = <Out>(column: Column<Out, boolean>, part?: string): Column<Out, false> =>
  new Column<Out, false>(column.codec, {
    ...column.facts,
    from: [part === undefined ? '_id' : `_id.${part}`],
    required: column.facts.required ?? '',
    id: true,
  });
