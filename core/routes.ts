// Who may write where while writes move: what a router, a mover and a housekeeper may do with what they have read. Pure; test/model/ visits every
// state of it.
import type { Route, WriteMode } from './state.ts';

/** What a router knows of one collection: whether it read a fence last, and whether what it read may still be believed. */
export interface Knowledge {
  readonly isFenced: boolean;
  readonly isCurrent: boolean;
}

/**
 * What is to become of a write. A fence ends only by what is read after it: while nothing can be read its outcome is unknown, and so is the side
 * that counts. `asks old`: it goes by the safe route, if the old system itself does not say that its collection is closed.
 */
export function admission({ isFenced, isCurrent }: Knowledge): 'waits' | 'by route' | 'asks old' {
  if (isFenced) return 'waits';
  return isCurrent ? 'by route' : 'asks old';
}

/** Where the old system is authoritative it serves alone, and capture repairs the new one; where it no longer is, going back would lose writes. */
export const safest = (route: Route): Route =>
  route.writeMode === 'new_system' ? route : { percentage: 0, writeMode: 'old', epoch: route.epoch };

/** A router as its row shows it. `epochs`: for each collection, none of its writes under way is older. */
export interface RouterRow {
  readonly process: string;
  readonly epochs: Readonly<Record<string, number>>;
  readonly silentMs: number;
  readonly leaseMs: number;
  readonly refreshMs: number;
  /** The longest that a write of its application takes. */
  readonly writeMs: number;
}

/**
 * Whether a fence has to wait for a router. One whose lease has run out asks the old system before every write; what began before has ended too when
 * a write's time has passed since.
 */
export function standing(
  router: RouterRow,
  fence: ReadonlyMap<string, number>,
): 'confirmed' | 'awaited' | 'fallen back' {
  const has = ([collection, epoch]: [string, number]) => (router.epochs[collection] ?? -1) >= epoch;
  if ([...fence].every(has)) return 'confirmed';
  return router.silentMs > beliefMs(router) ? 'fallen back' : 'awaited';
}

/** It may be dead, or cut off and going by what it has read: only time tells, and writers should not wait for that behind a fence. */
export const isInDoubt = (router: RouterRow): boolean =>
  router.silentMs > 2 * router.refreshMs + 1000 && router.silentMs <= beliefMs(router);

/** For so long after it was last heard something may happen by what it had read. */
export const beliefMs = ({ leaseMs, writeMs }: Pick<RouterRow, 'leaseMs' | 'writeMs'>): number => leaseMs + writeMs;

/** A route as the mover reads it under the routes' lock. `fenceLeftMs`: null where it is not fenced, negative where the time has passed. */
export interface RouteRow {
  readonly writeMode: WriteMode;
  readonly epoch: number;
  readonly fenceLeftMs: number | null;
}

/** What is left of a fence for the flip's own commit, ms. */
export const flipMarginMs = 150;

export const mayFlip = (row: RouteRow, fencedIn: number, marginMs = flipMarginMs): boolean =>
  row.epoch === fencedIn && row.fenceLeftMs !== null && row.fenceLeftMs > marginMs;

/** Whoever was thought dead must not take a closing over from its successor: it would let it lapse. */
export const mayClose = (row: RouteRow, fencedIn: number): boolean =>
  row.epoch === fencedIn && row.fenceLeftMs !== null && row.fenceLeftMs > 0;

/**
 * Whether an old collection may be opened again: its writes have not moved, and nobody is about to move them. `fencedIn`: the epoch of the fence of
 * whoever asks, if it has one.
 */
export const mayReopen = (row: RouteRow, fencedIn?: number): boolean =>
  row.writeMode !== 'new_system' && (row.fenceLeftMs === null || row.fenceLeftMs <= 0 || row.epoch === fencedIn);
