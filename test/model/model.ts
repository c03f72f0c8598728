// One document on its way through copy and capture, small enough to visit every state. The rules are the real ones of core/guard.ts.
import {
  isCurrent,
  isForgettable,
  numbered,
  versionOfRead,
  written,
  type Held,
  type Version,
} from '../../core/guard.ts';

/** Two fields, each holding the number of the operation that wrote it last. */
export type Doc = readonly [number, number];
type Operation = 'insert' | 'set 0' | 'set 1' | 'replace' | 'delete';

export interface Change {
  readonly time: number;
  readonly op: number;
  readonly operation: Operation;
  readonly number: number;
  readonly after: Doc | undefined;
}

/** A read of the chunk that holds the document: `low` taken, then read, then written. A retry supersedes it; it may be alive all the same. */
export interface Attempt {
  readonly phase: 'idle' | 'stamped' | 'read' | 'over';
  readonly low: number;
  readonly doc: Doc | undefined;
  readonly superseded: boolean;
}

/** What happened to the source, and what can happen next. A tree made once: most moves leave it alone, and its `id` stands for all of it. */
export interface History {
  readonly id: number;
  readonly log: readonly Change[];
  readonly source: Doc | undefined;
  readonly time: number;
  readonly next: readonly (readonly [label: string, to: History])[];
}

export interface State {
  readonly history: History;
  readonly open: boolean;
  readonly at: number;
  readonly saved: number;
  /** Where the lane last began, if it numbers anew from there. */
  readonly restartedAt: number;
  readonly buffered: number | undefined;
  readonly held: Held<Doc> | undefined;
  readonly attempts: readonly [Attempt, Attempt];
  readonly copied: boolean;
}

/** The pieces of the protocol. The sound one takes them from core/guard.ts; each unsound variant replaces one. */
export interface Pieces {
  readonly written: (held: Held<Doc> | undefined, write: Held<Doc>) => Held<Doc>;
  readonly versionOfChunk: (low: number, afterRead: number) => Version;
  readonly tombstones: boolean;
  readonly forget: 'never' | 'when-safe' | 'anytime' | 'without-fencing';
  readonly image: 'post-image' | 'look-up' | 'delta' | 'look-up-or-empty';
  readonly position: 'applied' | 'ahead';
  readonly numbering: 'kept' | 'restarted';
  readonly anchor: 'before' | 'after';
}

export const sound: Pieces = {
  written,
  versionOfChunk: (low) => versionOfRead(BigInt(low)),
  tombstones: true,
  forget: 'when-safe',
  image: 'post-image',
  position: 'applied',
  numbering: 'kept',
  anchor: 'before',
};

export type Move = readonly [label: string, next: State];

const idle: Attempt = { phase: 'idle', low: 0, doc: undefined, superseded: false };
const over: Attempt = { phase: 'over', low: 0, doc: undefined, superseded: true };

/** `most`: how many changes the source may see. */
export function beginnings(pieces: Pieces, most: number): State[] {
  const ids = { next: 0 };
  return [undefined, [0, 0] as const].map((source) => ({
    history: historyOf([], source, 0, most, ids),
    open: pieces.anchor === 'before',
    at: 0,
    saved: 0,
    restartedAt: 0,
    buffered: undefined,
    held: undefined,
    attempts: [idle, idle] as const,
    copied: false,
  }));
}

/** Everything has been read and applied: now the target must be what the source is. */
export const isCaughtUp = (state: State): boolean =>
  state.open && state.at === state.history.log.length && state.buffered === undefined && state.copied;

export const isEqual = (state: State): boolean => same(state.history.source, state.held?.content);

const same = (a: Doc | undefined, b: Doc | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a[0] === b[0] && a[1] === b[1];

export function movesFrom(state: State, pieces: Pieces): Move[] {
  const moves: Move[] = [];
  for (const [label, history] of state.history.next) moves.push([label, { ...state, history }]);
  const phase = state.attempts[0].phase;
  const end = state.history.log.length;
  if (!state.open && (phase === 'read' || phase === 'over'))
    moves.push(['the stream is opened', { ...state, open: true, at: end, saved: end }]);
  addCopyMoves(moves, state, pieces);
  if (state.open) addLaneMoves(moves, state, pieces);
  addForgetMove(moves, state, pieces);
  return moves;
}

function historyOf(
  log: readonly Change[],
  source: Doc | undefined,
  time: number,
  most: number,
  ids: { next: number },
): History {
  const id = ids.next++;
  const next: [string, History][] = [];
  const happens = (label: string, changes: readonly Change[]) =>
    next.push([label, historyOf([...log, ...changes], changes.at(-1)!.after, time + 1, most, ids)]);
  for (const first of log.length < most ? possible(source) : []) {
    const one = change(source, first, time + 1, undefined, log.length + 1);
    happens(`${first} at ${one.time}`, [one]);
    for (const second of log.length + 1 < most ? possible(one.after) : []) {
      const two = change(one.after, second, time + 1, one, log.length + 2);
      happens(`transaction of ${first} and ${second} at ${one.time}`, [one, two]);
    }
  }
  return { id, log, source, time, next };
}

const possible = (doc: Doc | undefined): Operation[] =>
  doc === undefined ? ['insert'] : ['set 0', 'set 1', 'replace', 'delete'];

function change(
  doc: Doc | undefined,
  operation: Operation,
  time: number,
  last: Change | undefined,
  number: number,
): Change {
  const { op } = numbered(last && { time: BigInt(last.time), op: last.op }, BigInt(time));
  return { time, op, operation, number, after: afterwards(doc, operation, number) };
}

function afterwards(doc: Doc | undefined, operation: Operation, number: number): Doc | undefined {
  if (operation === 'delete') return undefined;
  if (operation === 'set 0') return [number, doc![1]];
  if (operation === 'set 1') return [doc![0], number];
  return [number, number];
}

function addCopyMoves(moves: Move[], state: State, pieces: Pieces): void {
  const { source, time } = state.history;
  for (const i of [0, 1] as const) {
    const attempt = state.attempts[i];
    if (attempt.phase === 'idle' && (i === 0 || state.attempts[0].phase !== 'idle')) {
      const stamped: Attempt = { phase: 'stamped', low: time, doc: undefined, superseded: false };
      // That a retry has begun supersedes the first; it may not know.
      const attempts: [Attempt, Attempt] =
        i === 0 ? [stamped, state.attempts[1]] : [{ ...state.attempts[0], superseded: true }, stamped];
      moves.push([`copy ${i} takes ${time}`, { ...state, attempts }]);
    }
    if (attempt.phase === 'stamped') {
      const low = Number(pieces.versionOfChunk(attempt.low, time + 1).time);
      const attempts = changed(state.attempts, i, { ...attempt, phase: 'read', low, doc: source });
      moves.push([`copy ${i} reads`, { ...state, attempts }]);
    }
    if (attempt.phase === 'read') {
      const write = { version: versionOfRead(BigInt(attempt.low)), content: attempt.doc };
      const held = attempt.doc === undefined ? state.held : pieces.written(state.held, write);
      const attempts = changed(state.attempts, i, { ...over, superseded: attempt.superseded });
      moves.push([`copy ${i} writes`, { ...state, held, copied: true, attempts }]);
    }
  }
}

const changed = (attempts: State['attempts'], i: 0 | 1, to: Attempt): State['attempts'] =>
  i === 0 ? [to, attempts[1]] : [attempts[0], to];

function addLaneMoves(moves: Move[], state: State, pieces: Pieces): void {
  const behind = state.at < state.history.log.length;
  if (pieces.position === 'ahead') {
    if (state.buffered !== undefined)
      moves.push([
        'the lane applies its buffer',
        { ...state, held: applied(state, pieces, state.buffered), buffered: undefined },
      ]);
    else if (behind) moves.push(['the lane buffers', { ...state, at: state.at + 1, buffered: state.at }]);
  } else if (behind)
    moves.push([
      `the lane applies ${state.at}`,
      { ...state, held: applied(state, pieces, state.at), at: state.at + 1 },
    ]);
  if (state.saved < state.at) moves.push(['the position is saved', { ...state, saved: state.at }]);
  const restartedAt = pieces.numbering === 'restarted' ? state.saved : 0;
  if (state.saved < state.at || state.buffered !== undefined || restartedAt !== state.restartedAt)
    moves.push(['the lane dies and begins again', { ...state, at: state.saved, restartedAt, buffered: undefined }]);
}

/** What the target holds when the lane has applied one change. */
function applied(state: State, pieces: Pieces, index: number): State['held'] {
  const { log } = state.history;
  const { time, op, operation, number, after } = log[index]!;
  const version =
    pieces.numbering === 'kept' ? { time: BigInt(time), op } : numberedFrom(log.slice(state.restartedAt, index + 1));
  if (operation === 'delete') {
    const held = pieces.written(state.held, { version, content: undefined });
    return pieces.tombstones || held === state.held ? held : undefined;
  }
  const content = imageOf(state, pieces, operation, number, after);
  // A document gone before it could be looked up: its delete follows.
  return content === undefined ? state.held : pieces.written(state.held, { version, content });
}

/** The version of the last of `changes`, for a lane that has seen none before them. */
const numberedFrom = (changes: readonly Change[]): Version =>
  changes.reduce<Version | undefined>((last, { time }) => numbered(last, BigInt(time)), undefined)!;

function imageOf(
  state: State,
  pieces: Pieces,
  operation: Operation,
  number: number,
  after: Doc | undefined,
): Doc | undefined {
  switch (pieces.image) {
    case 'post-image':
      return after;
    case 'look-up':
      return state.history.source;
    case 'look-up-or-empty':
      return state.history.source ?? [-1, -1];
    case 'delta':
      return operation.startsWith('set') ? afterwards(state.held?.content ?? [-1, -1], operation, number) : after;
  }
}

function addForgetMove(moves: Move[], state: State, pieces: Pieces): void {
  if (pieces.forget === 'never' || state.held === undefined || state.held.content !== undefined) return;
  // Fencing is what takes a superseded reader out of account: its epoch is no longer the current one.
  const unfenced = state.attempts.filter((one) => isReading(one) && isCurrent(one.superseded ? 0 : 1, 1));
  const oldestUnfencedRead = unfenced.length === 0 ? undefined : BigInt(Math.min(...unfenced.map((one) => one.low)));
  // What was applied and not saved is applied again: the lane is past only what it has saved.
  const lanesPast = BigInt(state.saved === 0 ? -1 : state.history.log[state.saved - 1]!.time);
  if (pieces.forget !== 'anytime' && !isForgettable(state.held.version, { oldestUnfencedRead, lanesPast })) return;
  const [first, second] = state.attempts;
  const fenced = pieces.forget === 'when-safe' && first.superseded && isReading(first);
  moves.push(['the tombstone is forgotten', { ...state, held: undefined, attempts: [fenced ? over : first, second] }]);
}

const isReading = (attempt: Attempt): boolean => attempt.phase === 'stamped' || attempt.phase === 'read';
