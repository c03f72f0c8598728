// One document on its way back to the old system: anchored, taken down, anchored anew; appliers that die and go on all the same. The order of two
// writes is the real one of core/write-back.ts. An applier of an anchor that was taken down has given up by then (`until`, stores/mongodb/write-back.ts).
import { isSuperseded, type WriteOrder } from '../../core/write-back.ts';
import type { Model } from './states.ts';

interface Applier {
  readonly order: readonly [anchor: number, version: number];
  /** What it read of the new system. */
  readonly value: number;
  readonly wrote: boolean;
  /** Its transaction is gone; what it writes to the old system lands. */
  readonly dead: boolean;
}

interface State {
  readonly time: number;
  readonly anchor: number;
  readonly sequence: number;
  readonly starts: number;
  readonly changes: number;
  readonly fresh: number;
  readonly old: number;
  readonly pending: boolean;
  readonly guard: readonly [anchor: number, version: number] | null;
  readonly appliers: readonly Applier[];
}

export interface Pieces {
  readonly isSuperseded: typeof isSuperseded;
  readonly skipped: 'an error' | 'done';
  readonly guards: boolean;
}
export const sound: Pieces = { isSuperseded, skipped: 'an error', guards: true };

const order = ([anchor, version]: readonly [number, number]): WriteOrder => ({
  anchor: BigInt(anchor),
  version: BigInt(version),
});

type Move = readonly [string, State];

export const writingBack = (
  pieces: Pieces,
  most = { starts: 3, changes: 3, appliers: 2, writes: 5 },
): Model<State> => ({
  starts: [
    {
      time: 1,
      anchor: 0,
      sequence: 0,
      starts: 0,
      changes: 0,
      fresh: 0,
      old: 0,
      pending: false,
      guard: null,
      appliers: [],
    },
  ],
  wrong: ({ anchor, pending, fresh, old, appliers }) =>
    anchor !== 0 && !pending && fresh !== old && appliers.length === 0
      ? 'a change of the new system counts as brought back, and the old one does not have it'
      : undefined,
  movesFrom: (state) => {
    const moves: Move[] = [];
    const { anchor, appliers } = state;
    if (anchor === 0 && state.starts < most.starts) {
      // A new start makes the control schema anew, and with it the sequence; both systems are equal then.
      const again = { ...state, time: state.time + 1, anchor: state.time, starts: state.starts + 1, fresh: state.old };
      moves.push(['anchored', again], ['started anew and anchored', { ...again, sequence: 0 }]);
    }
    if (anchor === 0) return moves;
    const down = { ...state, anchor: 0, pending: false, appliers: [] };
    moves.push(['taken down', { ...down, guard: null }], ['taken down, but for the guards', down]);
    if (state.changes < most.changes) {
      const changes = state.changes + 1;
      moves.push(['the new system changes', { ...state, changes, fresh: changes, pending: true }]);
    }
    const isLed = appliers.some((one) => !one.dead);
    if (state.pending && !isLed && appliers.length < most.appliers && state.sequence < most.writes) {
      const version = state.sequence + 1;
      const applier: Applier = { order: [anchor, version], value: state.fresh, wrote: false, dead: false };
      moves.push(['an applier begins', { ...state, sequence: version, appliers: [...appliers, applier] }]);
    }
    for (const [i, one] of appliers.entries()) {
      const others = appliers.filter((_, at) => at !== i);
      const as = (more: Partial<Applier>) => appliers.map((each, at) => (at === i ? { ...each, ...more } : each));
      if (!one.dead) moves.push([`applier ${i} is thought dead`, { ...state, appliers: as({ dead: true }) }]);
      else moves.push([`applier ${i} ends`, { ...state, appliers: others }]);
      if (!one.wrote) {
        const held = state.guard === null ? undefined : order(state.guard);
        const skips = pieces.guards && pieces.isSuperseded(held, order(one.order));
        if (!skips)
          moves.push([
            `applier ${i} writes`,
            { ...state, old: one.value, guard: one.order, appliers: as({ wrote: true }) },
          ]);
        else if (pieces.skipped === 'done')
          moves.push([`applier ${i} skips`, { ...state, appliers: as({ wrote: true }) }]);
        else moves.push([`applier ${i} is refused`, { ...state, appliers: others }]);
      } else if (!one.dead)
        moves.push([`applier ${i} commits`, { ...state, pending: state.fresh !== one.value, appliers: others }]);
    }
    return moves;
  },
});
