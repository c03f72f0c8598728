// The one rule every writer obeys: of two writes to a document the newer wins, a delete leaves a tombstone, and order of arrival means nothing.

/** How new a write is: the source's cluster time, then the position of the operation within it. Unique and increasing per document. */
export interface Version {
  /** seconds * 2^32 + increment. */
  readonly time: bigint;
  readonly op: number;
}

/** `op` of a document read from the source, not from its stream: such a read holds everything that its cluster time holds. */
export const readOp = 2147483647;

/** `L` must be taken before the read, else a write between the two is taken for included (protocol, part B, pitfall 2). */
export const versionOfRead = (L: bigint): Version => ({ time: L, op: readOp });

export const isNewer = (version: Version, than: Version | undefined): boolean =>
  than === undefined || version.time > than.time || (version.time === than.time && version.op > than.op);

/** A document as a store holds it, or as a writer wants it: `content` undefined is a tombstone, which is kept like a document. */
export interface Held<T> {
  readonly version: Version;
  readonly content: T | undefined;
}

/** What a store holds after a write. Every store's guard, in SQL, in a MongoDB transaction or in Lua, is this function. */
export const written = <T>(held: Held<T> | undefined, write: Held<T>): Held<T> =>
  held === undefined || isNewer(write.version, held.version) ? write : held;

/**
 * Who has decided that a write to a store beside PostgreSQL is newer. `guard`: the store's own guard; a version that stands there is not written
 * again. `ledger`: the caller holds the document's row, which is older; what stands under the same version then is an earlier read with the
 * same stamp, as there are many while the source is quiet, or comes from an attempt that broke off.
 */
export type DecidedBy = 'guard' | 'ledger';

/** Whether a write passes the guard of a store beside PostgreSQL. */
export const passes = (version: Version, held: Version | undefined, by: DecidedBy): boolean =>
  by === 'guard' ? isNewer(version, held) : held === undefined || !isNewer(held, version);

/** Whether a writer that took its lane in `epoch` may still write. Taking a lane raises its epoch, so one thought dead is refused. */
export const isCurrent = (epoch: number, current: number): boolean => epoch === current;

/** Numbers operations that share a cluster time. Its state is kept with the resume token: begun anew, it would repeat numbers (pitfall 5). */
export const numbered = (last: Version | undefined, time: bigint): Version => ({
  time,
  op: last !== undefined && last.time === time ? last.op + 1 : 0,
});

/** Of several changes to one document in a batch only the newest need be applied: each holds the whole document. Order of first appearance. */
export function newestPerKey<T extends { readonly key: string; readonly version: Version }>(
  changes: readonly T[],
): T[] {
  const newest = new Map<string, T>();
  for (const change of changes) {
    const known = newest.get(change.key);
    if (known === undefined || isNewer(change.version, known.version)) newest.set(change.key, change);
  }
  return [...newest.values()];
}

/**
 * A tombstone may be forgotten when no read older than it can still be written and every lane has passed it (pitfall 3, invariant I6). The
 * explorer proves it and what breaks without it; the ledger keeps its tombstones until the end of the migration, which is always allowed (variant A3).
 */
export const isForgettable = (
  tombstone: Version,
  at: { readonly oldestUnfencedRead: bigint | undefined; readonly lanesPast: bigint },
): boolean =>
  tombstone.time <= at.lanesPast && (at.oldestUnfencedRead === undefined || at.oldestUnfencedRead >= tombstone.time);
