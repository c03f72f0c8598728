// The words a mapping may use for a target MongoDB: collection() with its validator and indexes.
import type { Target } from '../store.ts';

/** A collection in the target MongoDB. Documents keep the source's `_id`; their versions stand in a collection beside it, `<name>.causeway`. */
export interface CollectionTarget extends Target {
  readonly store: 'mongodb';
  /** `$jsonSchema` of the validator. */
  readonly schema: Readonly<Record<string, unknown>>;
  readonly indexes: readonly Readonly<Record<string, 1 | -1>>[];
}

export const collection = (name: string, options: Omit<CollectionTarget, 'store' | 'name'>): CollectionTarget => ({
  store: 'mongodb',
  name,
  ...options,
});
