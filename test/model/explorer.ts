// Breadth first through every state of the model; a violation comes with the shortest way to it.
import { readOp } from '../../core/guard.ts';
import {
  beginnings,
  isCaughtUp,
  isEqual,
  movesFrom,
  type Attempt,
  type Doc,
  type Pieces,
  type State,
} from './model.ts';

export interface Explored {
  readonly states: number;
  /** States in which everything was applied, so that source and target were compared. */
  readonly checked: number;
  /** Every state that can be reached was visited: neither a violation nor the limit ended the search. */
  readonly complete: boolean;
  readonly violation:
    { readonly steps: readonly string[]; readonly source: string; readonly target: string } | undefined;
}

/** `operations`: how many changes the source may see. `limit`: states after which to give up. */
export function explore(pieces: Pieces, operations: number, limit = 3_000_000): Explored {
  const seen = new Set<string>();
  // Of state n: its key, and which state it was first reached from. What a way is called is worked out when one is asked for.
  const keys: string[] = [];
  const cameFrom: number[] = [];
  let frontier: State[] = [];
  let checked = 0;
  const visit = (state: State, from: number, into: State[]): void => {
    const key = keyOf(state);
    if (seen.has(key)) return;
    seen.add(key);
    keys.push(key);
    cameFrom.push(from);
    into.push(state);
  };
  const starts = beginnings(pieces, operations);
  for (const state of starts) visit(state, -1, frontier);
  for (let first = 0; frontier.length > 0;) {
    const next: State[] = [];
    for (const [i, state] of frontier.entries()) {
      if (seen.size > limit) return { states: seen.size, checked, complete: false, violation: undefined };
      if (isCaughtUp(state)) {
        checked++;
        if (!isEqual(state)) {
          const way: string[] = [];
          for (let at = first + i; at >= 0; at = cameFrom[at]!) way.unshift(keys[at]!);
          const violation = {
            steps: stepsOf(way, starts, pieces),
            source: docText(state.history.source),
            target: docText(state.held?.content),
          };
          return { states: seen.size, checked, complete: false, violation };
        }
      }
      for (const [, to] of movesFrom(state, pieces)) visit(to, first + i, next);
    }
    first += frontier.length;
    frontier = next;
  }
  return { states: seen.size, checked, complete: true, violation: undefined };
}

/** Walks the way again, for the names of its moves. */
function stepsOf(way: readonly string[], starts: readonly State[], pieces: Pieces): string[] {
  let state = starts.find((one) => keyOf(one) === way[0])!;
  return way.slice(1).map((key) => {
    const [label, to] = movesFrom(state, pieces).find(([, one]) => keyOf(one) === key)!;
    state = to;
    return label;
  });
}

const docText = (doc: Doc | undefined): string => (doc === undefined ? 'none' : `${doc[0]},${doc[1]}`);

/** The whole state in a few characters, so that two states are one only when nothing tells them apart. */
function keyOf(state: State): string {
  const { history, held, attempts } = state;
  return String.fromCharCode(
    history.id & 255,
    history.id >> 8,
    (state.open ? 1 : 0) + (state.copied ? 2 : 0),
    state.at * 16 + state.saved,
    state.restartedAt * 16 + (state.buffered ?? 15),
    held === undefined ? 255 : Number(held.version.time) * 16 + (held.version.op === readOp ? 15 : held.version.op),
    held === undefined ? 0 : docCode(held.content),
    attemptCode(attempts[0]),
    docCode(attempts[0].doc),
    attemptCode(attempts[1]),
    docCode(attempts[1].doc),
  );
}

/** Fields are -1 up to the number of operations. */
const docCode = (doc: Doc | undefined): number => (doc === undefined ? 0 : (doc[0] + 2) * 16 + doc[1] + 2);

const phases = { idle: 0, stamped: 1, read: 2, over: 3 } satisfies Record<Attempt['phase'], number>;
const attemptCode = (one: Attempt): number => one.low * 8 + phases[one.phase] * 2 + (one.superseded ? 1 : 0);
