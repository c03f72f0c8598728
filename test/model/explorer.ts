// Breadth first through every state of the model; a violation comes with the shortest way to it.
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
  readonly violation:
    { readonly steps: readonly string[]; readonly source: string; readonly target: string } | undefined;
}

/** `operations`: how many changes the source may see. */
export function explore(pieces: Pieces, operations: number): Explored {
  const came = new Map<string, readonly [from: string, by: string] | undefined>();
  let frontier: [string, State][] = [];
  for (const state of beginnings(pieces)) {
    const key = keyOf(state);
    came.set(key, undefined);
    frontier.push([key, state]);
  }
  let checked = 0;
  while (frontier.length > 0) {
    const next: [string, State][] = [];
    for (const [key, state] of frontier) {
      if (isCaughtUp(state)) {
        checked++;
        if (!isEqual(state))
          return {
            states: came.size,
            checked,
            violation: { steps: wayTo(came, key), source: docText(state.source), target: docText(state.held?.content) },
          };
      }
      for (const [label, to] of movesFrom(state, pieces, operations)) {
        const reached = keyOf(to);
        if (came.has(reached)) continue;
        came.set(reached, [key, label]);
        next.push([reached, to]);
      }
    }
    frontier = next;
  }
  return { states: came.size, checked, violation: undefined };
}

function wayTo(came: ReadonlyMap<string, readonly [string, string] | undefined>, end: string): string[] {
  const steps: string[] = [];
  for (let at = came.get(end); at; at = came.get(at[0])) steps.push(at[1]);
  return steps.reverse();
}

const docText = (doc: Doc | undefined): string => (doc === undefined ? 'none' : `${doc[0]},${doc[1]}`);
const attemptText = (one: Attempt): string =>
  `${one.phase[0]}${one.phase[1]}${one.low}${docText(one.doc)}${one.superseded ? 's' : ''}`;

/** The whole state, so that two states are one only when nothing tells them apart. */
function keyOf(state: State): string {
  const log = state.log.map((one) => `${one.time}.${one.op}${one.operation}`).join(';');
  const held = state.held ? `${state.held.version.time}.${state.held.version.op}=${docText(state.held.content)}` : '';
  return `${docText(state.source)}|${log}|${state.time}|${state.open ? 1 : 0}|${state.at}|${state.saved}|${state.restartedAt}|${state.buffered ?? ''}|${held}|${attemptText(state.attempts[0])}|${attemptText(state.attempts[1])}|${state.copied ? 1 : 0}`;
}
