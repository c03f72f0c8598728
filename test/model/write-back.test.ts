// What counts as brought back is there, over anchors, aborts and new starts; guards that an earlier anchor left behind do not get in the way.
import { expect, test } from 'vitest';
import type { WriteOrder } from '../../core/write-back.ts';
import { exploreStates } from './states.ts';
import { sound, writingBack, type Pieces } from './write-back.ts';

const byVersion = (held: WriteOrder | undefined, own: WriteOrder) => held !== undefined && held.version >= own.version;

test.each<readonly [name: string, replaced: Partial<Pieces>, expected: 'holds' | 'fails']>([
  ['as built', {}, 'holds'],
  ['guards of every anchor count, and what they skip is done', { isSuperseded: byVersion, skipped: 'done' }, 'fails'],
  [
    'the later anchor gives way',
    { isSuperseded: (held, own) => held !== undefined && held.anchor < own.anchor, skipped: 'done' },
    'fails',
  ],
  ['no guards: who was thought dead writes last', { guards: false }, 'fails'],
])('%s', { timeout: 60_000 }, (name, replaced, expected) => {
  const from = performance.now();
  const { states, complete, violation } = exploreStates(writingBack({ ...sound, ...replaced }));
  const seconds = ((performance.now() - from) / 1000).toFixed(1);
  process.stdout.write(
    `  ${violation ? 'violation' : 'holds    '} ${String(states).padStart(8)} states ${seconds.padStart(5)} s  ${name}\n`,
  );
  if (violation) process.stdout.write(`      ${violation.steps.join('; ')}: ${violation.what}\n`);
  expect(violation === undefined).toBe(expected === 'holds');
  expect(complete).toBe(expected === 'holds');
});
