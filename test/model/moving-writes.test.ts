// Whatever is late, cut off or comes back: no write is acknowledged where it no longer counts. Each fault that once was is a variant, and is caught.
import { expect, test } from 'vitest';
import { movingWrites, sound, type Pieces } from './moving-writes.ts';
import { exploreStates } from './states.ts';

const variants: readonly (readonly [name: string, replaced: Partial<Pieces>])[] = [
  [
    'a fence is over by the router’s own clock',
    {
      admission: ({ isFenced, isCurrent }, isOver) =>
        isFenced && !isOver ? 'waits' : isCurrent ? 'by route' : 'asks old',
    },
  ],
  ['a fence whose time has passed is over, though its flip is being committed', { lowersFirst: false }],
  ['a router without a lease goes by the safe route, and asks nobody', { asksOld: false }],
  [
    'every router is taken for fallen back after the same five seconds',
    {
      standing: (router, fence) =>
        router.silentMs > 5000
          ? 'fallen back'
          : (router.epochs['c'] ?? -1) >= fence.get('c')!
            ? 'confirmed'
            : 'awaited',
    },
  ],
  ['housekeeping that hung opens what it once decided to open', { keeper: 'goes on as decided' }],
  ['whoever has given up opens, whether or not the writes have moved', { mayReopen: () => true }],
  ['a flip looks at the epoch alone', { mayFlip: (row, epoch) => row.epoch === epoch, lowersFirst: false }],
  ['a flip looks at the fence alone', { mayFlip: (row) => row.fenceLeftMs !== null && row.fenceLeftMs > 0 }],
  ['a mover that was thought dead takes the closing over', { mayClose: () => true }],
  ['a lapse opens whatever closing it finds', { lapse: 'any' }],
  ['a closing lapses, and its mover flips all the same', { lapse: 'flips all the same' }],
  ['nobody looks whether all is still closed', { checksClosed: false }],
];

const run = (name: string, pieces: Pieces) => {
  const from = performance.now();
  const found = exploreStates(movingWrites(pieces));
  const seconds = ((performance.now() - from) / 1000).toFixed(1);
  process.stdout.write(
    `  ${found.violation ? 'violation' : 'holds    '} ${String(found.states).padStart(8)} states ${seconds.padStart(5)} s  ${name}\n`,
  );
  if (found.violation) process.stdout.write(`      ${found.violation.steps.join('; ')}: ${found.violation.what}\n`);
  return found;
};

test('as built: no write is acknowledged where it no longer counts', { timeout: 120_000 }, () => {
  const { complete, violation, states } = run('as built', sound);
  expect(violation).toBeUndefined();
  expect(complete).toBe(true);
  expect(states).toBeGreaterThan(1000);
});

test.each(variants)('caught: %s', { timeout: 120_000 }, (name, replaced) => {
  expect(run(name, { ...sound, ...replaced }).violation).toBeDefined();
});
