// Every state that a migration's life can come to: nothing that counts is ever removed, and from each of them documented commands lead out. Each
// mended fault is an unsound neighbour of the rules, and is found.
import { describe, expect, test } from 'vitest';
import { beginning, isGood, movesFrom, sound, type Life, type Rules } from './lifecycle.ts';

interface Explored {
  readonly states: number;
  readonly lost: readonly string[] | undefined;
  /** A way to a state from which no command leads out. */
  readonly stuck: readonly string[] | undefined;
}

function explore(rules: Rules): Explored {
  const states: Life[] = [beginning];
  const found = new Map([[JSON.stringify(beginning), 0]]);
  const cameFrom: { readonly from: number; readonly label: string }[] = [{ from: -1, label: '' }];
  /** By state, where commands and what follows by itself lead from. */
  const backwards: number[][] = [[]];
  const way = (at: number): string[] => (at <= 0 ? [] : [...way(cameFrom[at]!.from), cameFrom[at]!.label]);
  let lost: readonly string[] | undefined;
  for (let at = 0; at < states.length; at++) {
    if (states[at]!.lost) {
      lost ??= way(at);
      continue;
    }
    const { happens, commands } = movesFrom(states[at]!, rules);
    // Mischance leads out of nothing that has to be left.
    const helps = (label: string) => !['terminate', 'cancel'].includes(label);
    for (const [label, to] of [...happens, ...commands]) {
      const key = JSON.stringify(to);
      let next = found.get(key);
      if (next === undefined) {
        next = states.length;
        found.set(key, next);
        states.push(to);
        cameFrom.push({ from: at, label });
        backwards.push([]);
      }
      if (helps(label)) backwards[next]!.push(at);
    }
  }
  const leads = new Set(states.flatMap((life, i) => (isGood(life) ? [i] : [])));
  const queue = [...leads];
  for (let i = 0; i < queue.length; i++)
    for (const before of backwards[queue[i]!]!)
      if (!leads.has(before)) {
        leads.add(before);
        queue.push(before);
      }
  const stuck = states.findIndex((life, i) => !leads.has(i) && !life.lost);
  return { states: states.length, lost, stuck: stuck < 0 ? undefined : way(stuck) };
}

test('nothing that counts is removed, and from every state a documented command leads out', () => {
  const since = performance.now();
  const { states, lost, stuck } = explore(sound);
  process.stdout.write(`  ${states} states in ${Math.round(performance.now() - since)} ms\n`);
  expect(lost).toBeUndefined();
  expect(stuck).toBeUndefined();
  expect(states).toBeGreaterThan(200);
});

const unsound: Record<string, { readonly rules: Partial<Rules>; readonly is: 'lost' | 'stuck' }> = {
  'an undo that believes the workflow, not the database (1a)': {
    rules: {
      mayRemove: () => true,
      arrive: () => ({ is: 'begins' }),
      onCancel: () => 'abort',
      refusesAbort: () => false,
    },
    is: 'lost',
  },
  'a preparation that fails and drops the schema it found (1b)': {
    rules: { compensates: () => true, arrive: () => ({ is: 'begins' }), keepsRecord: false },
    is: 'stuck',
  },
  'an undo log written after the phase has acted': { rules: { writesAhead: false }, is: 'stuck' },
  'a root that begins anew where another ended, and is refused where that left something': {
    rules: {
      arrive: (known) => (known.standing ? { is: 'refused', message: '' } : { is: 'begins' }),
      refusesAbort: () => true,
    },
    is: 'stuck',
  },
};

describe.each(Object.entries(unsound))('%s', (_, { rules, is }) => {
  test(`is found: ${is}`, () => {
    const found = explore({ ...sound, ...rules });
    process.stdout.write(`  ${found.states} states: ${found[is]?.join(', ')}\n`);
    expect(found[is]).toBeDefined();
  });
});
