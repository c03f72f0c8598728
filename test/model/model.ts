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

export interface State {
  readonly source: Doc | undefined;
  readonly log: readonly Change[];
  readonly time: number;
  readonly open: boolean;
  readonly at: number;
  readonly saved: number;
  /** Last version numbered by this process, where numbering is not kept with the position. */
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

export function beginnings(pieces: Pieces): State[] {
  return [undefined, [0, 0] as const].map((source) => ({
    source,
    log: [],
    time: 0,
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
  state.open && state.at === state.log.length && state.buffered === undefined && state.copied;

export const isEqual = (state: State): boolean => same(state.source, state.held?.content);

const same = (a: Doc | undefined, b: Doc | undefined): boolean =>
  a === undefined || b === undefined ? a === b : a[0] === b[0] && a[1] === b[1];

export function movesFrom(state: State, pieces: Pieces, most: number): Move[] {
  return [
    ...applicationMoves(state, most),
    ...(!state.open && state.attempts[0].phase !== 'idle' && state.attempts[0].phase !== 'stamped'
      ? [['open the stream', { ...state, open: true, at: state.log.length, saved: state.log.length }] as const]
      : []),
    ...copyMoves(state, pieces),
    ...(state.open ? laneMoves(state, pieces) : []),
    ...forgetMoves(state, pieces),
  ];
}

function* applicationMoves(state: State, most: number): Generator<Move> {
  if (state.log.length >= most) return;
  for (const first of possible(state.source)) {
    const one = change(state.source, first, state.time + 1, undefined, state.log.length + 1);
    yield [`${first} at ${one.time}`, happened(state, [one])];
    if (state.log.length + 1 >= most) continue;
    for (const second of possible(one.after)) {
      const two = change(one.after, second, state.time + 1, one, state.log.length + 2);
      yield [`transaction of ${first} and ${second} at ${one.time}`, happened(state, [one, two])];
    }
  }
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

const happened = (state: State, changes: readonly Change[]): State => ({
  ...state,
  source: changes.at(-1)!.after,
  log: [...state.log, ...changes],
  time: changes[0]!.time,
});

function* copyMoves(state: State, pieces: Pieces): Generator<Move> {
  for (const i of [0, 1] as const) {
    const attempt = state.attempts[i];
    const put = (next: Attempt, others: Partial<State> = {}): State => {
      const attempts: [Attempt, Attempt] = [...state.attempts];
      attempts[i] = next;
      // That a retry has begun supersedes the first; it may not know.
      if (i === 1 && attempt.phase === 'idle') attempts[0] = { ...attempts[0], superseded: true };
      return { ...state, ...others, attempts };
    };
    if (attempt.phase === 'idle' && (i === 0 || state.attempts[0].phase !== 'idle'))
      yield [
        `copy ${i} takes ${state.time}`,
        put({ phase: 'stamped', low: state.time, doc: undefined, superseded: false }),
      ];
    if (attempt.phase === 'stamped') {
      const { time } = pieces.versionOfChunk(attempt.low, state.time + 1);
      yield [`copy ${i} reads`, put({ ...attempt, phase: 'read', low: Number(time), doc: state.source })];
    }
    if (attempt.phase === 'read') {
      const write = { version: versionOfRead(BigInt(attempt.low)), content: attempt.doc };
      const held = attempt.doc === undefined ? state.held : pieces.written(state.held, write);
      yield [`copy ${i} writes`, put({ ...over, superseded: attempt.superseded }, { held, copied: true })];
    }
  }
}

function* laneMoves(state: State, pieces: Pieces): Generator<Move> {
  if (pieces.position === 'ahead') {
    if (state.buffered === undefined && state.at < state.log.length)
      yield ['the lane buffers', { ...state, at: state.at + 1, buffered: state.at }];
    if (state.buffered !== undefined)
      yield ['the lane applies its buffer', { ...applied(state, pieces, state.buffered), buffered: undefined }];
  } else if (state.at < state.log.length)
    yield [`the lane applies ${state.at}`, { ...applied(state, pieces, state.at), at: state.at + 1 }];
  if (state.saved < state.at) yield ['the position is saved', { ...state, saved: state.at }];
  const restartedAt = pieces.numbering === 'restarted' ? state.saved : 0;
  if (state.saved < state.at || state.buffered !== undefined || restartedAt !== state.restartedAt)
    yield ['the lane dies and begins again', { ...state, at: state.saved, restartedAt, buffered: undefined }];
}

function applied(state: State, pieces: Pieces, index: number): State {
  const { time, op, operation, number, after } = state.log[index]!;
  const before = state.log.slice(Math.max(state.restartedAt, 0), index).filter((other) => other.time === time).length;
  const version = { time: BigInt(time), op: pieces.numbering === 'restarted' ? before : op };
  if (operation === 'delete') {
    const held = pieces.written(state.held, { version, content: undefined });
    return { ...state, held: pieces.tombstones || held === state.held ? held : undefined };
  }
  const content = imageOf(state, pieces, operation, number, after);
  // A document gone before it could be looked up: its delete follows.
  if (content === undefined) return state;
  return { ...state, held: pieces.written(state.held, { version, content }) };
}

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
      return state.source;
    case 'look-up-or-empty':
      return state.source ?? [-1, -1];
    case 'delta':
      return operation.startsWith('set') ? afterwards(state.held?.content ?? [-1, -1], operation, number) : after;
  }
}

function* forgetMoves(state: State, pieces: Pieces): Generator<Move> {
  if (pieces.forget === 'never' || state.held === undefined || state.held.content !== undefined) return;
  const reading = state.attempts.filter((one) => one.phase === 'stamped' || one.phase === 'read');
  // Fencing is what takes a superseded reader out of account: its epoch is no longer the current one.
  const unfenced = reading.filter((one) => isCurrent(one.superseded ? 0 : 1, 1));
  const oldest = unfenced.length === 0 ? undefined : BigInt(Math.min(...unfenced.map((one) => one.low)));
  const lanesPast = BigInt(state.saved === state.at && state.saved > 0 ? state.log[state.saved - 1]!.time : -1);
  const allowed =
    pieces.forget === 'anytime' || isForgettable(state.held.version, { oldestUnfencedRead: oldest, lanesPast });
  if (!allowed) return;
  const fences = pieces.forget === 'when-safe';
  const attempts = state.attempts.map((one) =>
    fences && one.superseded && (one.phase === 'stamped' || one.phase === 'read') ? over : one,
  ) as [Attempt, Attempt];
  yield ['the tombstone is forgotten', { ...state, held: undefined, attempts }];
}
