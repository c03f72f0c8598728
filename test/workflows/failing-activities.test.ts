// What a running activity fails with is known to whoever asks, wherever in the tree it runs, with its attempt and what to do.
import { expect, test, vi } from 'vitest';
import { failingActivities, failingText } from '../../cli/failing-activities.ts';
import { failures, KnownFailure } from '../../core/failures.ts';
import { withWorkflows } from '../support/workflow-env.ts';

test('a step of the copy and a lane that fail again and again are named, until they succeed', async () => {
  let isFull = true;
  await withWorkflows(
    {
      stubs: {
        transformSegment: () => {
          if (isFull) throw new KnownFailure('DiskFull', 'The disk of the worker host is full.');
          return { loaded: 9, quarantined: 1, skipped: 0 };
        },
        tendTargets: () => {
          if (isFull) throw new KnownFailure('StoreBusy', 'Redis, removing keys: CROSSSLOT');
          return { ended: 'closed' };
        },
      },
    },
    async (run) => {
      await run.start({ at: 'data', until: 'data' });
      const failing = await vi.waitFor(
        async () => {
          const found = await failingActivities(run.client, run.name);
          expect(new Set(found.map((one) => one.activity))).toEqual(new Set(['transformSegment', 'tendTargets']));
          return found;
        },
        { timeout: 100_000, interval: 200 },
      );
      const copy = failing.find((one) => one.activity === 'transformSegment')!;
      expect(copy).toMatchObject({
        workflow: expect.stringMatching(/\/copy\//) as string,
        type: 'DiskFull',
        message: 'The disk of the worker host is full.',
        advice: failures.DiskFull.advice,
      });
      expect(copy.attempt).toBeGreaterThan(1);
      expect(failing.map((one) => one.attempt)).toEqual(failing.map((one) => one.attempt).sort((a, b) => b - a));
      expect(failingText(failing)).toMatch(/Failing now[^]*transformSegment of migration\/.*attempt \d+ \(DiskFull\)/);
      expect(failingText(failing)).toMatch(/CROSSSLOT\. \S/);
      expect(failingText(failing)).not.toMatch(/\.\./);
      isFull = false;
      await run.handle().result();
      expect(await failingActivities(run.client, run.name)).toEqual([]);
    },
  );
});
