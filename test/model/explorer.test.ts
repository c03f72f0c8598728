// Every state of the bounded model, for the rules that production uses; each unsound neighbour must be caught.
import { expect, test } from 'vitest';
import { explore } from './explorer.ts';
import { sound } from './model.ts';
import { variants } from './variants.ts';

/** Changes the source may see; transactions of two among them. */
const operations = 3;

test.each(variants)('$name', { timeout: 120_000 }, ({ name, pieces, expected, size }) => {
  const started = performance.now();
  const { states, checked, complete, violation } = explore(pieces, operations);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(
    `  ${violation ? 'violation' : 'holds    '} ${String(states).padStart(8)} states ${String(checked).padStart(7)} compared ${seconds.padStart(5)} s  ${name}\n`,
  );
  if (violation)
    process.stdout.write(
      `      ${violation.steps.join('; ')}: source ${violation.source}, target ${violation.target}\n`,
    );
  expect(checked).toBeGreaterThan(0);
  expect(complete, 'every state was visited, or a violation ended the search').toBe(violation === undefined);
  if (expected === 'holds') expect(violation).toBeUndefined();
  if (expected === 'fails') expect(violation).toBeDefined();
  if (size) expect({ states, checked }).toEqual(size);
});

test('a search that gives up does not pass for a complete one', () => {
  expect(explore(sound, operations, 10_000)).toMatchObject({ complete: false, violation: undefined });
});
