// A store that is away is asked by one, and not by everybody.
import { expect, test } from 'vitest';
import { answered, ask, closed } from '../../core/circuit.ts';

test('after a failure nobody asks for a while, then one does, and its answer decides', () => {
  expect(ask(closed, 10, 5000)).toEqual({ may: true, next: closed });
  const open = answered(true, 1000, 5000);
  expect(ask(open, 5999, 5000)).toEqual({ may: false, next: open });
  const trial = ask(open, 6000, 5000);
  expect(trial.may).toBe(true);
  // Who comes while that one waits for its answer is not let through, unless it never comes.
  expect(ask(trial.next, 6001, 5000).may).toBe(false);
  expect(ask(trial.next, 11_000, 5000).may).toBe(true);
  expect(answered(false, 6500, 5000)).toEqual(closed);
});
