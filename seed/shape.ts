// What a collection of the seed is: its clean documents and the catalogue of its dirt.
import type { ObjectId } from 'bson';
import type { CollectionPlan } from './collection-plan.ts';
import type { Random } from './random.ts';
import type { Moment } from './time.ts';

export type Document = { _id: unknown; [field: string]: unknown };

/** What the collections know of each other. */
export interface World {
  /** Hex of the `_id` of some user (usually one that exists). */
  userHex(random: Random): string;
}

/** Everything a document is made from. */
export interface Place {
  readonly index: number;
  readonly id: ObjectId;
  readonly moment: Moment;
  readonly random: Random;
  readonly plan: CollectionPlan;
  readonly world: World;
  /** Give the commonest shape, without the legitimate variants: anchors and the bases of dirty documents. */
  readonly plain: boolean;
}

export interface DirtPlace extends Place {
  /** A clean document nearby that no other dirty document borrows from, if there is one. */
  neighbour(): Document | undefined;
  /** A clean document to clash with: a neighbour of plain shape, else an anchor. */
  anchor(): Document;
}

/** Small facts to verify in the target. Columns are named as in the design; `field` where the design names no column. */
export interface Check {
  readonly table?: string;
  readonly column?: string;
  readonly field?: string;
  readonly path?: readonly string[];
  readonly value?: unknown;
  readonly tolerance?: string;
  /** For sessions: whether the key is to be in Redis. */
  readonly redis?: boolean;
}

export type Expectation = 'loaded' | 'quarantined' | 'skipped';
/** Changes the document; returns what to look for in the target. */
export type Dirt = (document: Document, place: DirtPlace) => Check | void;

/** One line of the catalogue. `case` is the number in the list of dirty documents. */
export interface DirtyCase {
  readonly case: number;
  readonly variant: string;
  readonly expect: Expectation;
  readonly rule?: string;
  readonly apply: Dirt;
}

export interface CollectionSeed {
  readonly collection: string;
  /** The mapping the collection belongs to. */
  readonly mapping: string;
  /** Documents per insert: small for collections of large documents. */
  readonly batch: number;
  document(place: Place): Document;
  readonly cases: readonly DirtyCase[];
}
