// What a mapping may say about its way back. Everything is optional: the forward direction decides whether a value is the right one.
import type { Document } from '../mapping.ts';
import type { TransformSettings } from '../settings.ts';
import type { TimeForm } from './times.ts';

export interface WayBack {
  /**
   * Column -> the fields it is made of, most preferred first; `decision.action` for a field of a field. None: the column follows from
   * others and is never written. Left out: the field of the same name, else whichever field changes the column.
   */
  readonly fields?: Readonly<Record<string, readonly string[]>>;
  /** Column -> values that may stand for a new one, tried before the usual ones. `old` is what stands in the field. */
  readonly values?: Readonly<
    Record<string, (value: unknown, old: unknown, settings: BackSettings) => readonly unknown[]>
  >;
  /** How times are written where the document does not show it. BSON dates by default. */
  readonly time?: TimeForm;
  /** Columns and fields that say how the document was converted, not what it holds: neither compared nor written. */
  readonly notes?: readonly string[];
  /** The field of an optimised document that holds fields without a place of their own; one that is new there counts as one of them. */
  readonly rest?: string;
  /** Keys of `metadata` that `transform` sets by itself: they follow from the document and are not written. */
  readonly tags?: readonly string[];
  /** Key of `metadata` -> field it comes from, where they differ. */
  readonly kept?: Readonly<Record<string, string>>;
  /** A field of an optimised document that holds several things -> each by a key of its own, compared and written one by one. */
  readonly parts?: Readonly<Record<string, (value: unknown) => Readonly<Record<string, unknown>>>>;
  /** What `Notes.keep` kept in an optimised document, by path. In rows it stands under `metadata._causeway.original`. */
  readonly originals?: (document: Document) => Readonly<Record<string, unknown>>;
  /**
   * A column, a part or a child table -> changes to the document that say its new value (undefined: it is gone), best first. `document` has
   * its fields under their first names, and so have paths.
   */
  readonly edits?: Readonly<Record<string, (key: string, value: unknown, document: Document) => readonly Change[]>>;
}

export type BackSettings = Pick<TransformSettings, 'zone' | 'providers'>;

/** Edits that belong together. */
export type Change = readonly Edit[];

/**
 * One field gets a BSON value, or what JSON says with the types of what it replaces, or what is made of the value it has by then; undefined
 * removes it.
 */
export type Edit = { readonly path: readonly string[] } & (
  { readonly value: unknown } | { readonly json: unknown } | { readonly make: (old: unknown) => unknown }
);

export interface Put {
  /** The very bytes that were given when nothing has changed. */
  readonly bytes: Uint8Array;
  /** What the targets hold and no document of this shape says, by name of column or field; the nearest value was written. */
  readonly unsaid: readonly string[];
  /** The forward direction would not take the document with any value in its place: it is not to be written. */
  readonly refused?: { readonly rule: string; readonly path: string } | undefined;
}
