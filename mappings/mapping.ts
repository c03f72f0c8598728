// defineMapping(): everything Causeway knows about one source collection, in one file.
import type { z } from 'zod';
import type { Target } from '../stores/store.ts';
import type { Row } from '../stores/postgres/target.ts';
import type { KeyRow } from '../stores/redis/target.ts';
import type { Notes } from './notes.ts';
import type { ApplicationQuery } from './query.ts';
import type { TransformSettings } from './settings.ts';
import type { BackSettings, Put, WayBack } from './back/declaration.ts';

/** A source document as decoded without promotion: Int32, Double, Long, Decimal128, ObjectId and Date keep their types. */
export type Document = Record<string, unknown>;

/** What one document becomes: rows per table, a document per collection, keys per Redis target, by target name. */
export type Outcome = Record<string, readonly (Row | KeyRow | Document)[]>;

/** Documents that may not share `key`. The highest `rank` (then source id) stays, the others are quarantined under `rule`. */
export interface UniqueRule {
  readonly rule: string;
  readonly path: string;
  /** undefined: this document takes no part. `settings`: those in force. */
  key(document: Document, settings?: TransformSettings): string | undefined;
  rank(document: Document, settings?: TransformSettings): string;
}

/** A condition on the target after the copy: `sql` counts the rows that break it. */
export interface BusinessRule {
  readonly name: string;
  readonly sql: string;
}

/** The read the application does most, as both sides have it: documents by one field, the newest first where `newest` says so. */
export interface MainRead {
  /** The source's field, and the column or field of the first target that holds it. A Redis target is always read by key. */
  readonly by: readonly [field: string, column: string];
  readonly newest?: readonly [field: string, column: string];
}

/** A reference beyond those that columns made by `references()` and child tables declare: `sql` counts the rows whose other end is missing. */
export type ReferenceRule = BusinessRule;

/** What a column's values must be, beyond its type. Numbers that are not finite are refused everywhere but where `nonFinite` says otherwise. */
export interface ValueRule {
  readonly table: string;
  readonly column: string;
  /** What a jsonb value may be; null is always allowed where the column is. */
  readonly json?: readonly ('object' | 'array' | 'string' | 'number' | 'boolean')[];
  /** Bounds, both included, as PostgreSQL reads them. */
  readonly min?: string;
  readonly max?: string;
  readonly nonFinite?: true;
}

/**
 * Rows and sums that must be the same, group by group, in the source (through this mapping) and in the target. The groups' values stand in
 * validation results: columns with personal data have no place in `by`.
 */
export interface Invariant {
  readonly name: string;
  readonly table: string;
  readonly by: readonly string[];
  /** A timestamptz column whose day, in the migration's zone, is part of the group. */
  readonly localDay?: string;
  readonly sums: readonly string[];
}

/** What the targets hold of one document, for its way back; see putDocument in way-back.ts. */
export interface Wanted {
  readonly sourceId: string;
  readonly old: Uint8Array | undefined;
  readonly content: Outcome;
  readonly settings: BackSettings;
}

export interface Mapping {
  /** The name everything goes by: status, accounting, quarantine. Also the source collection's first name. */
  readonly collection: string;
  /** Other names the source collection has had; each that exists is copied too. */
  readonly aliases: readonly string[];
  /** Static is copied first, active last. */
  readonly class: 'static' | 'historical' | 'active';
  /** Raised by its author whenever `transform` gives other rows. */
  readonly version: number;
  /** The source's fields and the BSON types they are met with; what is not named here is carried over as it is and reported by `assess`. */
  readonly shape: z.ZodObject;
  /** Other spellings of fields: `{ inputTokens: 'input_tokens' }`. Two spellings that disagree quarantine the document (aliases_agree). */
  readonly otherNames: Readonly<Record<string, string>>;
  readonly targets: readonly Target[];
  /** Collections (by mapping name) that must be loaded before this one, because rows refer to them. */
  readonly after: readonly string[];
  readonly unique: readonly UniqueRule[];
  /** A rule name if the document is not data (a marker, a sample) and is to be counted as skipped. */
  skip(document: Document): string | undefined;
  /** Pure: no clock, no randomness, no look-ups. `document` has its fields under their first names. Throws Quarantined. */
  transform(document: Document, notes: Notes, settings: TransformSettings): Outcome;
  /** How target rows become the document again, where it does not follow from `transform` and the names of columns. */
  readonly back: WayBack;
  /** The way back as a whole, where a declaration says it; instead of `back`. `content`: as in putDocument. */
  readonly put: ((wanted: Wanted) => Put) | undefined;
  readonly rules: readonly BusinessRule[];
  readonly references: readonly ReferenceRule[];
  readonly values: readonly ValueRule[];
  readonly invariants: readonly Invariant[];
  /** Queries the application runs on this collection, for `assess` when the server cannot tell. */
  readonly accessPatterns: readonly string[];
  /** What probes measure both sides with; without it, or where the source has no index for it, documents are read by their key. */
  readonly mainRead: MainRead | undefined;
  /** The same as questions that can be put to both systems and measured. */
  readonly queries: readonly ApplicationQuery[];
}

type Optional =
  | 'back'
  | 'put'
  | 'aliases'
  | 'otherNames'
  | 'after'
  | 'unique'
  | 'skip'
  | 'rules'
  | 'references'
  | 'values'
  | 'invariants'
  | 'accessPatterns'
  | 'mainRead'
  | 'queries'
  | 'version';
export type MappingDefinition = Omit<Mapping, Optional> & Partial<Pick<Mapping, Optional>>;

/** Fills in what a simple mapping may leave out. */
export const defineMapping = ({ otherNames = {}, back = {}, ...definition }: MappingDefinition): Mapping => ({
  aliases: [],
  otherNames: byName(otherNames),
  after: [],
  unique: [],
  put: undefined,
  back: Object.fromEntries(Object.entries(back).map(([key, its]) => [key, isTable(its) ? byName(its) : its])),
  rules: [],
  references: [],
  values: [],
  invariants: [],
  accessPatterns: [],
  mainRead: undefined,
  queries: [],
  version: 1,
  skip: () => undefined,
  ...definition,
});

/** What is asked by the names of a document's fields: `constructor` and `__proto__` are names like any other there. */
const byName = <T extends object>(table: T): T => Object.assign(Object.create(null) as T, table);

const isTable = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
