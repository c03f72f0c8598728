// The guards in MongoDB: versions in a collection beside the target's, compared and written in the transaction that writes the documents.
import { Int32, Long } from 'bson';
import type { ClientSession, Db } from 'mongodb';
import type { Version } from '../../core/guard.ts';

interface Guard {
  /** A text: there are servers that keep a document under any `_id`, and do not find it again by each. */
  readonly _id: string;
  readonly v: Long;
  readonly o: Int32;
  /** What stands in the target is this document. Otherwise there is none, or another's, which is not to be removed with this one. */
  readonly l: boolean;
}

export const guardOf = (collection: string): string => `${collection}.causeway`;

/** Versions of two documents say nothing about each other, whatever `_id` both have. */
export const guardId = (owner: number, id: string): string => `${owner}\t${id}`;

/** What the guards of some documents held when they were read, and how they are written. */
export class Guards {
  readonly #session: ClientSession;
  readonly #collection;
  readonly #held: ReadonlyMap<string, Guard>;

  private constructor(session: ClientSession, collection: ReturnType<typeof guardsIn>, held: readonly Guard[]) {
    this.#session = session;
    this.#collection = collection;
    this.#held = new Map(held.map((guard) => [guard._id, guard]));
  }

  static async read(
    session: ClientSession,
    db: Db,
    collection: string,
    owners: readonly number[],
    ids: readonly string[],
  ): Promise<Guards> {
    const guards = guardsIn(db, collection);
    const keys = owners.flatMap((owner) => ids.map((id) => guardId(owner, id)));
    const held = await guards.find({ _id: { $in: keys } }, { session, promoteLongs: false }).toArray();
    return new Guards(session, guards, held);
  }

  version(owner: number, id: string): Version | undefined {
    const guard = this.#held.get(guardId(owner, id));
    return guard && { time: BigInt(guard.v.toString()), op: Number(guard.o) };
  }

  isThere(owners: readonly number[], id: string): boolean {
    return owners.some((owner) => this.#held.get(guardId(owner, id))?.l === true);
  }

  async write(
    owner: number,
    writes: readonly { readonly id: string; readonly version: Version; readonly isThere: boolean }[],
  ): Promise<void> {
    const all = writes.map(({ id, version: { time, op }, isThere }): Guard => ({
      _id: guardId(owner, id),
      v: Long.fromBigInt(time),
      o: new Int32(op),
      l: isThere,
    }));
    const added = all.filter((one) => !this.#held.has(one._id));
    const changed = all.filter((one) => this.#held.has(one._id));
    if (added.length > 0) await this.#collection.insertMany(added, { session: this.#session });
    if (changed.length > 0)
      await this.#collection.bulkWrite(
        changed.map(({ _id, ...set }) => ({ updateOne: { filter: { _id }, update: { $set: set } } })),
        { session: this.#session },
      );
  }

  /** What stands under these ids is no longer of any of these. */
  async retire(owners: readonly number[], ids: readonly string[]): Promise<void> {
    const keys = owners.flatMap((owner) =>
      ids.filter((id) => this.isThere([owner], id)).map((id) => guardId(owner, id)),
    );
    if (keys.length > 0)
      await this.#collection.updateMany({ _id: { $in: keys } }, { $set: { l: false } }, { session: this.#session });
  }
}

const guardsIn = (db: Db, collection: string) => db.collection<Guard>(guardOf(collection));
