// Makes document i of a collection, from nothing but (seed, sizes, collection, i).
import { sourceId } from '../core/identity.ts';
import { ANCHORS, type CollectionPlan } from './collection-plan.ts';
import { hash, Random } from './random.ts';
import type { Check, CollectionSeed, DirtPlace, DirtyCase, Document, Place, World } from './shape.ts';

/** Every sixteenth clean document is plain, so that duplicates have something of known shape to clash with. */
const PLAIN_EVERY = 16;
const CONTENT = 0x636f_6e74;
const DIRT = 0x6261_6421;

export interface Made {
  readonly document: Document;
  readonly clean: boolean;
  readonly planted?: Planted;
}

/** What the planted file says about a dirty document. */
export interface Planted {
  readonly collection: string;
  readonly mapping: string;
  readonly sourceId: string;
  readonly case: number;
  readonly variant: string;
  readonly expect: DirtyCase['expect'];
  readonly rule?: string;
  readonly check?: Check;
}

export class Generator {
  readonly shape: CollectionSeed;
  readonly plan: CollectionPlan;
  readonly #world: World;

  constructor(shape: CollectionSeed, plan: CollectionPlan, world: World) {
    this.shape = shape;
    this.plan = plan;
    this.#world = world;
  }

  make(index: number): Made {
    const ordinal = this.plan.dirtyOrdinal(index);
    if (ordinal === undefined) return { document: this.clean(index), clean: true };
    const dirt = this.shape.cases[ordinal % this.shape.cases.length]!;
    const place = this.#dirtPlace(index);
    const document = this.shape.document(this.#place(index, true));
    const check = dirt.apply(document, place);
    return { document, clean: false, planted: this.#planted(document, dirt, check) };
  }

  /** The document that stands at `index` when no dirt is put there. */
  clean(index: number): Document {
    return this.shape.document(this.#place(index, index < ANCHORS || index % PLAIN_EVERY === 0));
  }

  #place(index: number, plain: boolean, salt = CONTENT): Place {
    return {
      index,
      plain,
      id: this.plan.objectId(index),
      moment: this.plan.moment(index),
      random: new Random(hash(this.plan.seed, this.plan.salt ^ salt, index)),
      plan: this.plan,
      world: this.#world,
    };
  }

  #dirtPlace(index: number): DirtPlace {
    const place = this.#place(index, true, DIRT);
    return {
      ...place,
      neighbour: () => {
        for (const other of this.plan.neighbours(index)) return this.clean(other);
        return undefined;
      },
      anchor: () => {
        for (const other of this.plan.neighbours(index)) if (other % PLAIN_EVERY === 0) return this.clean(other);
        return this.clean(place.random.integer(0, Math.min(ANCHORS, this.plan.count) - 1));
      },
    };
  }

  #planted(document: Document, dirt: DirtyCase, check: Check | void): Planted {
    return {
      collection: this.shape.collection,
      mapping: this.shape.mapping,
      sourceId: sourceId(document._id),
      case: dirt.case,
      variant: dirt.variant,
      expect: dirt.expect,
      ...(dirt.rule !== undefined && { rule: dirt.rule }),
      ...(check && { check }),
    };
  }
}
