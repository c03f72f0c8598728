// What a store refuses once traffic has moved leaves the traffic where it is: the migration parks, and goes on when the right was granted.
import { expect, test } from 'vitest';
import { KnownFailure, type FailureType } from '../../core/failures.ts';
import { allGoesWell } from '../support/stub-activities.ts';
import { withWorkflows } from '../support/workflow-env.ts';

const stages = [
  { name: 'reads', percentage: 10, writes: 'dual_write', soakSeconds: 0 },
  { name: 'all', percentage: 100, writes: 'new_system', soakSeconds: 0 },
];

test.each(['PermissionDenied', 'TargetConflict'] satisfies FailureType[])(
  '%s where writes move parks and undoes nothing',
  async (type) => {
    let granted = false;
    const stubs = allGoesWell();
    await withWorkflows(
      {
        stubs: {
          ...stubs,
          switchToNew: (order) => {
            if (!granted) throw new KnownFailure(type, 'MongoDB, closing users: code 13 Unauthorized');
            return stubs.switchToNew!(order);
          },
        },
      },
      async (run) => {
        await run.start({ settings: { stages } });
        const parked = await run.until((status) => status.state === 'parked', 90_000);
        expect(parked).toMatchObject({ phase: 'cutover', stage: 1, lastError: { type } });
        expect(parked.lastError!.message).not.toContain('was removed');
        for (const undo of ['undoCutover', 'undoData', 'undoSchema'] as const) expect(run.callsOf(undo)).toEqual([]);
        expect(parked.routing).toMatchObject({ token_usage: { percentage: 10, writeMode: 'dual_write' } });
        granted = true;
        await run.order('retry');
        expect(await run.handle().result()).toMatchObject({
          state: 'completed',
          routing: { token_usage: { percentage: 100, writeMode: 'new_system' } },
        });
      },
    );
  },
  180_000,
);

test('an outage of some seconds while writes move back parks nothing: there may be nobody to ask', async () => {
  const stubs = allGoesWell();
  let tried = 0;
  const outage = new KnownFailure('StoreUnreachable', 'PostgreSQL, looking for the way back: ECONNRESET');
  await withWorkflows(
    {
      stubs: {
        ...stubs,
        switchBack: (order) => {
          if (++tried <= 7) throw outage;
          return stubs.switchBack!(order);
        },
      },
    },
    async (run) => {
      await run.start({
        settings: { stages: [...stages, { name: 'last', percentage: 100, writes: 'new_system', soakSeconds: 3600 }] },
      });
      await run.until((status) => status.stage === 2 && status.state === 'running', 90_000);
      await run.order('rollback', { to: 'old', reason: 'a test' });
      const parked = await run.until((status) => status.state === 'parked', 90_000);
      expect({ tried, refused: parked.lastError }).toEqual({ tried: 8, refused: null });
      expect(parked.routing).toMatchObject({ token_usage: { percentage: 0, writeMode: 'old' } });
    },
  );
}, 180_000);
