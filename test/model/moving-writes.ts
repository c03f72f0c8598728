// Writes move from the old system to the new one: one router, two movers of whom one may be thought dead, a housekeeper, and clocks that nobody
// waits for. Any step may be late or never come. The decisions are the real ones of core/routes.ts. What is not split further: a router that asks
// the old system before a write and then writes (docs/limitations.md).
import {
  admission,
  mayClose,
  mayFlip,
  mayReopen,
  safest,
  standing,
  type Knowledge,
  type RouteRow,
} from '../../core/routes.ts';
import type { Route, WriteMode } from '../../core/state.ts';
import type { Model } from './states.ts';

const c = 'c';
type Mode = Extract<WriteMode, 'dual_write' | 'new_system'>;

interface Mover {
  readonly at: 'idle' | 'fenced' | 'heard' | 'closed' | 'drained' | 'flipping' | 'over';
  readonly epoch: number;
  /** Its own clock has told it that the fence is over. */
  readonly lapsed: boolean;
}

export interface State {
  /** As committed. */
  readonly mode: Mode;
  readonly epoch: number;
  readonly fence: 'none' | 'up' | 'passed';
  /** Who has the routes' lock: a mover (0, 1) whose flip is not committed, or the housekeeper (2). */
  readonly lock: number | null;
  /** Whose closing stands in the old system, and whose is noted. 0: none. */
  readonly closed: number;
  readonly noted: number;
  readonly router: {
    readonly linked: boolean;
    readonly current: boolean;
    readonly mode: Mode | 'old';
    readonly epoch: number;
    readonly fenced: boolean;
    /** What its row says. */
    readonly told: number;
    /** The epoch of a write under way to the old system. */
    readonly write: number | null;
  };
  readonly movers: readonly [Mover, Mover];
  /** What the housekeeper has decided to open; `dead`: the server has ended its transaction. */
  readonly keeper: { readonly token: number; readonly dead: boolean } | null;
  /** A write landed in the old system that no drain has brought. */
  readonly undrained: boolean;
  /** An administrator has opened a collection, once. */
  readonly meddled: boolean;
  readonly wrong: string | undefined;
}

/** The pieces that variants replace. */
export interface Pieces {
  readonly admission: (knowledge: Knowledge, fenceIsOverHere: boolean) => ReturnType<typeof admission>;
  readonly standing: typeof standing;
  /** Who sees that a fence's time has passed ends it in the row first, which a flip under way keeps from happening. */
  readonly lowersFirst: boolean;
  /** A router without a lease asks the old system. */
  readonly asksOld: boolean;
  readonly keeper: 'looks again under the lock' | 'goes on as decided';
  readonly mayClose: typeof mayClose;
  readonly mayReopen: typeof mayReopen;
  readonly mayFlip: typeof mayFlip;
  /** A lapse opens only its own closing, and keeps its mover from flipping. */
  readonly lapse: 'own' | 'any' | 'flips all the same';
  /** Whether all is still closed is looked at under the lock. */
  readonly checksClosed: boolean;
}

export const sound: Pieces = {
  admission: (knowledge) => admission(knowledge),
  standing,
  lowersFirst: true,
  asksOld: true,
  keeper: 'looks again under the lock',
  mayClose,
  mayReopen,
  mayFlip,
  lapse: 'own',
  checksClosed: true,
};

const fresh: Mover = { at: 'idle', epoch: 0, lapsed: false };
const start: State = {
  mode: 'dual_write',
  epoch: 1,
  fence: 'none',
  lock: null,
  closed: 0,
  noted: 0,
  router: { linked: true, current: true, mode: 'dual_write', epoch: 1, fenced: false, told: 1, write: null },
  movers: [fresh, fresh],
  keeper: null,
  undrained: false,
  meddled: false,
  wrong: undefined,
};

type Move = readonly [string, State];

export const movingWrites = (pieces: Pieces): Model<State> => ({
  starts: [start],
  movesFrom: (state) =>
    state.wrong !== undefined
      ? []
      : [
          ...ofRouter(state, pieces),
          ...ofClocks(state, pieces),
          ...ofMovers(state, pieces),
          ...ofKeeper(state, pieces),
          ...ofStranger(state),
        ],
  wrong: (state) => state.wrong,
});

/** A write acknowledged by the old system: it counts where that is authoritative and somebody still drains it. */
const landed = (state: State, who: string): State =>
  state.mode === 'new_system'
    ? { ...state, wrong: `the old system acknowledged ${who} after the writes had moved` }
    : { ...state, undrained: true };

function ofRouter(state: State, pieces: Pieces): Move[] {
  const { router } = state;
  const moves: Move[] = [];
  const set = (more: Partial<State['router']>, of = state): State => ({ ...of, router: { ...of.router, ...more } });
  if (router.linked) {
    moves.push(['the router is cut off', set({ linked: false })]);
    // A row that a flip has locked is left as it is, and read as it was.
    const lowers = pieces.lowersFirst && state.fence === 'passed' && (state.lock === null || state.lock === 2);
    const after: State = lowers ? { ...state, fence: 'none', epoch: state.epoch + 1 } : state;
    const fenced = pieces.lowersFirst ? after.fence !== 'none' : after.fence === 'up';
    const told = Math.min(after.epoch, router.write ?? after.epoch);
    moves.push(['the router reads', set({ current: true, mode: after.mode, epoch: after.epoch, fenced, told }, after)]);
  } else {
    moves.push(['the router is linked again', set({ linked: true })]);
    if (router.current) moves.push(['the lease runs out', set({ current: false })]);
  }
  if (router.write !== null) {
    moves.push(['the write lands', set({ write: null }, landed(state, 'a write of the library'))]);
    return moves;
  }
  const verdict = pieces.admission({ isFenced: router.fenced, isCurrent: router.current }, state.fence !== 'up');
  const known: Route = { percentage: 0, writeMode: router.mode, epoch: router.epoch };
  if (verdict === 'by route' && router.mode !== 'new_system')
    moves.push(['a write is admitted by the route', set({ write: router.epoch })]);
  if (verdict === 'asks old' && safest(known).writeMode !== 'new_system' && !(pieces.asksOld && state.closed !== 0))
    moves.push(['a write goes by the safe route', landed(state, 'a write of the library')]);
  return moves;
}

function ofClocks(state: State, pieces: Pieces): Move[] {
  const moves: Move[] = [];
  if (state.fence === 'up') moves.push(['the fence passes', { ...state, fence: 'passed' }]);
  for (const who of [0, 1] as const) {
    const mover = state.movers[who];
    const may = ['closed', 'drained', 'flipping'].includes(mover.at) && !mover.lapsed && state.fence !== 'up';
    if (!may) continue;
    const opens = pieces.lapse === 'any' || state.closed === who + 1;
    const next = withMover(state, who, { lapsed: pieces.lapse !== 'flips all the same' });
    moves.push([`mover ${who} lets its closing lapse`, opens ? { ...next, closed: 0 } : next]);
  }
  return moves;
}

const withMover = (state: State, who: 0 | 1, more: Partial<Mover>): State => {
  const movers: [Mover, Mover] = [...state.movers];
  movers[who] = { ...movers[who], ...more };
  return { ...state, movers };
};

const rowOf = (state: State): RouteRow => ({
  writeMode: state.mode,
  epoch: state.epoch,
  fenceLeftMs: { none: null, up: 1000, passed: -1 }[state.fence],
});

function ofMovers(state: State, pieces: Pieces): Move[] {
  return ([0, 1] as const).flatMap((who): Move[] => {
    const mover = state.movers[who];
    const token = who + 1;
    const step = (label: string, next: State, more: Partial<Mover>): Move => [
      `mover ${who} ${label}`,
      withMover(next, who, more),
    ];
    const isFree = state.lock === null;
    const ends: Move[] = [];
    if (!['idle', 'over', 'flipping'].includes(mover.at)) {
      ends.push(step('gives up', state, { at: 'over' }));
      if (isFree && pieces.mayReopen(rowOf(state), mover.epoch)) {
        const lowered = state.epoch === mover.epoch ? { fence: 'none' as const, epoch: state.epoch + 1 } : {};
        ends.push(step('opens again', { ...state, ...lowered, closed: 0, noted: 0 }, { at: 'over' }));
      }
    }
    if (mover.at === 'idle') {
      if (!isFree || state.mode === 'new_system') return [];
      const epoch = state.epoch + 1;
      return [step('raises a fence', { ...state, epoch, fence: 'up' }, { at: 'fenced', epoch })];
    }
    if (mover.at === 'fenced') {
      // One that is cut off may be silent for longer than any guess, and still go by its lease, or have a write under way.
      const { told, current, linked, write } = state.router;
      const silentMs = linked ? 0 : current ? 6000 : write === null ? 99_000 : 40_000;
      const row = { process: '', epochs: { [c]: told }, silentMs, leaseMs: 30_000, refreshMs: 1000, writeMs: 30_000 };
      if (pieces.standing(row, new Map([[c, mover.epoch]])) === 'awaited') return ends;
      return [...ends, step('has heard the router', state, { at: 'heard' })];
    }
    if (mover.at === 'heard')
      return isFree && pieces.mayClose(rowOf(state), mover.epoch)
        ? [...ends, step('closes', { ...state, closed: token, noted: token }, { at: 'closed' })]
        : ends;
    if (mover.at === 'closed') return [...ends, step('drains', { ...state, undrained: false }, { at: 'drained' })];
    if (mover.at === 'drained') {
      const may =
        isFree && pieces.mayFlip(rowOf(state), mover.epoch, 0) && (!pieces.checksClosed || state.closed === token);
      return may ? [...ends, step('begins to flip', { ...state, lock: who }, { at: 'flipping' })] : ends;
    }
    if (mover.at === 'flipping') {
      if (state.lock !== who) return [];
      const undone = step('loses its flip', { ...state, lock: null }, { at: 'drained' });
      if (mover.lapsed) return [undone];
      const moved: State = { ...state, lock: null, mode: 'new_system', fence: 'none', epoch: state.epoch + 1 };
      const wrong = state.undrained ? 'a write that the old system acknowledged never came to the new one' : undefined;
      return [undone, step('commits its flip', { ...moved, wrong }, { at: 'over' })];
    }
    return ends;
  });
}

function ofKeeper(state: State, pieces: Pieces): Move[] {
  const { keeper } = state;
  if (!keeper) {
    const moves: Move[] = [];
    if (state.noted !== 0 && state.lock === null && pieces.mayReopen(rowOf(state)))
      moves.push(['housekeeping decides to open', { ...state, lock: 2, keeper: { token: state.noted, dead: false } }]);
    if (state.mode === 'new_system' && state.noted !== 0 && state.closed === 0 && state.lock === null)
      moves.push(['housekeeping closes again', { ...state, closed: state.noted }]);
    return moves;
  }
  const opened: State = {
    ...state,
    lock: keeper.dead ? state.lock : null,
    closed: 0,
    noted: 0,
    keeper: null,
  };
  if (!keeper.dead)
    return [
      ['housekeeping opens', opened],
      [
        'housekeeping hangs, and the server ends its transaction',
        { ...state, lock: null, keeper: { ...keeper, dead: true } },
      ],
    ];
  // What it asks last fails, because its connection is gone.
  return pieces.keeper === 'goes on as decided'
    ? [['housekeeping comes back and opens', opened]]
    : [['housekeeping comes back and is refused', { ...state, keeper: null }]];
}

/** A writer that knows nothing of the migration: only the closing keeps it out. An administrator who opens it is noticed before writes move. */
function ofStranger(state: State): Move[] {
  if (state.closed === 0) return [['a stranger inserts', landed(state, 'an insert of a stranger')]];
  return state.meddled || state.mode === 'new_system' || state.lock !== null
    ? []
    : [['an administrator opens what is closed', { ...state, closed: 0, meddled: true }]];
}
