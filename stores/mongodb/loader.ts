// Documents written under their guards (guards.ts), in one transaction: of two writers in any order the newer stays.
import type { ClientSession, Db } from 'mongodb';
import { serverKeyOf } from '../../core/bson/equal-ids.ts';
import { isNewer, passes, type DecidedBy, type Version } from '../../core/guard.ts';
import { KnownFailure } from '../../core/failures.ts';
import { idOf, sourceId, sourceIdOf } from '../../core/identity.ts';
import { mongo, type WrittenDatabase } from './connection.ts';
import { Guards } from './guards.ts';
import { deleteIds, insertRaw, replaceRaw } from './raw-write.ts';

/** A document as it should stand, or none: then a tombstone stays in the guard, so that an older write finds it (docs/decisions/0010-outside-guards.md). */
export interface DocumentWrite {
  readonly id: unknown;
  readonly version: Version;
  /** Its BSON. */
  readonly document: Uint8Array | undefined;
  /** The ledger had it loaded until now: what stands there and has no guard, as what was made in the new system, is this document. */
  readonly wasLoaded?: boolean;
}

/** Where documents go, and whose they are: several source collections of a mapping may have an `_id`, and one of them its document there. */
export interface Place {
  readonly collection: string;
  /** The ledger's number of the source collection that the documents are of. */
  readonly owner: number;
  /** The numbers of all whose documents go there. */
  readonly siblings: readonly number[];
}

export interface Decision {
  readonly by: DecidedBy;
  /** The caller holds the ledger rows that the others have of these ids, and none is loaded: what is left of theirs is replaced. */
  readonly over?: boolean;
}

export interface Written {
  readonly stale: number;
  /** Not written: another source collection's document stands under the `_id`. Where the guard alone decides, the server refuses all of them. */
  readonly held: readonly DocumentWrite[];
}

/** A crash leaves all of it or nothing. */
export async function writeDocuments(
  target: WrittenDatabase,
  place: Place,
  writes: readonly DocumentWrite[],
  decision: Decision = { by: 'guard' },
): Promise<Written> {
  if (writes.length === 0) return { stale: 0, held: [] };
  return mongo(`loading ${place.collection}`, async () => {
    const session = await target.session();
    try {
      return await session.withTransaction(() => write(session, target.db, place, writes, decision), {
        readConcern: { level: 'snapshot' },
        writeConcern: { w: 'majority' },
      });
    } finally {
      await session.endSession();
    }
  });
}

/** Under its source id. */
type Fresh = readonly [id: string, one: DocumentWrite];

async function write(
  session: ClientSession,
  db: Db,
  { collection, owner, siblings }: Place,
  writes: readonly DocumentWrite[],
  { by, over = false }: Decision,
): Promise<Written> {
  const newest = newestPerId(writes);
  // Who goes by the guard alone is refused where anything else stands; the ledger's word is worth a look.
  const others = by === 'guard' ? [] : siblings.filter((one) => one !== owner);
  const guards = await Guards.read(session, db, collection, [owner, ...others], [...newest.keys()]);
  const fresh = [...newest].filter(([id, one]) => passes(one.version, guards.version(owner, id), by));
  const isMine = (id: string) => guards.isThere([owner], id);
  const isTheirs = (id: string) => guards.isThere(others, id);
  const asked = fresh.filter(([id, one]) => !hasOneForm(one.id) || !isMine(id));
  const standing = await standingAmong(session, db, collection, by === 'guard' ? [] : asked.map(([, one]) => one.id));
  const leaving = new Set(fresh.flatMap(([id, one]) => (one.document === undefined && isMine(id) ? [id] : [])));
  const todo = { inserted: [] as Fresh[], replaced: [] as Fresh[], removed: [] as Fresh[], gone: [] as Fresh[] };
  const held: DocumentWrite[] = [];
  for (const each of fresh) {
    const [id, one] = each;
    const there = standing(one);
    const isEqualOnly = there !== undefined && there !== id && !leaving.has(there);
    if (one.document === undefined) {
      const isOwn = isMine(id) || (one.wasLoaded === true && !isTheirs(id));
      (isOwn && !isEqualOnly ? todo.removed : todo.gone).push(each);
    } else if (isEqualOnly)
      throw new KnownFailure(
        'TargetConflict',
        `${collection} has a document under a number that is equal to this one's _id and of another type`,
      );
    else if (there === id && isTheirs(id) && !over) held.push(one);
    else (isMine(id) || there === id ? todo.replaced : todo.inserted).push(each);
  }
  const put = [...todo.inserted, ...todo.replaced];
  // Two writers of one document both write its guard, so one of them meets a write conflict and begins again.
  await guards.write(owner, [
    ...put.map(([id, { version }]) => ({ id, version, isThere: true })),
    ...[...todo.removed, ...todo.gone].map(([id, { version }]) => ({ id, version, isThere: false })),
  ]);
  await guards.retire(
    others,
    put.map(([id]) => id),
  );
  const removed = todo.removed.map(([, { id }]) => id);
  await deleteIds(db, collection, removed, { session });
  const inserted = todo.inserted.map(([, { document }]) => document!);
  if (inserted.length > 0) await insertRaw(db, collection, inserted, { session });
  const replaced = todo.replaced.map(([, { id, document }]) => ({ id, bytes: document! }));
  await replaceRaw(db, collection, replaced, { session });
  return { stale: writes.length - fresh.length, held };
}

/** Which document stands in the target where each of these would go: to a server, numbers of equal value are one id. */
async function standingAmong(
  session: ClientSession,
  db: Db,
  collection: string,
  ids: readonly unknown[],
): Promise<(one: DocumentWrite) => string | undefined> {
  if (ids.length === 0) return () => undefined;
  const options = { session, projection: { _id: 1 }, raw: true };
  const there = await db
    .collection(collection)
    .find({ _id: { $in: ids } } as never, options)
    .toArray();
  const standing = new Map((there as unknown as Uint8Array[]).map((raw) => [serverKeyOf(idOf(raw)), sourceIdOf(raw)]));
  return standing.size === 0 ? () => undefined : (one) => standing.get(serverKeyOf(one.id));
}

/** Of these the server knows no other form. */
const hasOneForm = (id: unknown): boolean =>
  typeof id === 'string' || (typeof id === 'object' && (id as { _bsontype?: string } | null)?._bsontype === 'ObjectId');

function newestPerId(writes: readonly DocumentWrite[]): Map<string, DocumentWrite> {
  const newest = new Map<string, DocumentWrite>();
  for (const one of writes) {
    const id = sourceId(one.id);
    const other = newest.get(id);
    if (!other || !isNewer(other.version, one.version)) newest.set(id, one);
  }
  return newest;
}
