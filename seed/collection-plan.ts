// Where everything in one collection is: times, ObjectIds and the places of the dirty documents, all computed from the index alone.
import { ObjectId } from 'bson';
import { hash, saltOf } from './random.ts';
import { SPAN, START, type Moment } from './time.ts';

/** The first documents of each collection are always clean and of the plainest shape: something for duplicates to clash with. */
export const ANCHORS = 8;

/**
 * Dirty documents lie one in each of `dirty` equal strata behind the anchors, at a seeded place, so "is i dirty" and "which i is
 * the d-th dirty one" are both arithmetic. A stratum's other documents are clean: a dirty document may borrow from its own
 * stratum without two dirty documents ever borrowing from the same one.
 */
export class CollectionPlan {
  readonly collection: string;
  readonly seed: number;
  readonly count: number;
  readonly dirty: number;
  readonly salt: number;

  constructor(collection: string, seed: number, count: number, dirty: number) {
    this.collection = collection;
    this.seed = seed;
    this.count = count;
    this.dirty = Math.max(0, Math.min(dirty, count - ANCHORS));
    this.salt = saltOf(collection);
  }

  /** Times rise with the index. */
  moment(index: number): Moment {
    const h = hash(this.seed, this.salt ^ 0x7431_6d65, index);
    const step = SPAN / this.count;
    return { time: START + Math.floor((index + h / 0x1_0000_0000) * step), micros: h % 1000 };
  }

  objectId(index: number): ObjectId {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, Math.floor(this.moment(index).time / 1000));
    view.setUint32(4, hash(this.seed, this.salt, -1));
    view.setUint32(8, (((this.salt & 0xff) << 24) | (index & 0xff_ffff)) >>> 0);
    return new ObjectId(bytes);
  }

  /** Which dirty document (0, 1, ...) stands at `index`; undefined for a clean one. */
  dirtyOrdinal(index: number): number | undefined {
    if (this.dirty === 0 || index < ANCHORS) return undefined;
    const ordinal = this.#stratumOf(index);
    return this.dirtyIndex(ordinal) === index ? ordinal : undefined;
  }

  dirtyIndex(ordinal: number): number {
    const start = this.#stratumStart(ordinal);
    return start + (hash(this.seed, this.salt ^ 0x6469_7274, ordinal) % (this.#stratumStart(ordinal + 1) - start));
  }

  /** The clean documents near a dirty one that no other dirty document borrows from. */
  *neighbours(index: number): Generator<number> {
    const ordinal = this.#stratumOf(index);
    for (let i = this.#stratumStart(ordinal); i < this.#stratumStart(ordinal + 1); i++) if (i !== index) yield i;
  }

  #stratumStart(ordinal: number): number {
    return ANCHORS + Math.floor((ordinal * (this.count - ANCHORS)) / this.dirty);
  }

  #stratumOf(index: number): number {
    let ordinal = Math.floor(((index - ANCHORS) * this.dirty) / (this.count - ANCHORS));
    while (this.#stratumStart(ordinal + 1) <= index) ordinal++;
    return ordinal;
  }
}
