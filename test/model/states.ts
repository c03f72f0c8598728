// Breadth first through every state of a small model; a violation comes with the shortest way to it.

export interface Model<State> {
  readonly starts: readonly State[];
  readonly movesFrom: (state: State) => readonly (readonly [label: string, next: State])[];
  /** What is wrong with a state, if anything is. */
  readonly wrong: (state: State) => string | undefined;
  /** States that are alike here are one. Default: their JSON. */
  readonly keyOf?: (state: State) => string;
}

export interface Found {
  readonly states: number;
  /** Every state that can be reached was visited. */
  readonly complete: boolean;
  readonly violation: { readonly steps: readonly string[]; readonly what: string } | undefined;
}

/** `limit`: states after which to give up. */
export function exploreStates<State>(model: Model<State>, limit = 2_000_000): Found {
  const keyOf = model.keyOf ?? ((state: State) => JSON.stringify(state));
  const seen = new Map<string, { readonly from: string | undefined; readonly label: string }>();
  let frontier: (readonly [key: string, state: State])[] = [];
  const wayTo = (key: string): string[] => {
    const steps: string[] = [];
    for (let at = seen.get(key); at?.from !== undefined; at = seen.get(at.from)) steps.unshift(at.label);
    return steps;
  };
  for (const state of model.starts) {
    const key = keyOf(state);
    seen.set(key, { from: undefined, label: '' });
    frontier.push([key, state]);
  }
  while (frontier.length > 0) {
    const next: typeof frontier = [];
    for (const [key, state] of frontier) {
      const what = model.wrong(state);
      if (what !== undefined) return { states: seen.size, complete: false, violation: { steps: wayTo(key), what } };
      for (const [label, to] of model.movesFrom(state)) {
        const toKey = keyOf(to);
        if (seen.has(toKey)) continue;
        if (seen.size >= limit) return { states: seen.size, complete: false, violation: undefined };
        seen.set(toKey, { from: key, label });
        next.push([toKey, to]);
      }
    }
    frontier = next;
  }
  return { states: seen.size, complete: true, violation: undefined };
}
