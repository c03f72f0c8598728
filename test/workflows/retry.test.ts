// `retry` also ends the waiting of a step that is tried again by itself; where nothing waits and nothing is parked it is refused.
import { ApplicationFailure } from '@temporalio/common';
import { expect, test, vi } from 'vitest';
import { endBackOffs } from '../../activities/back-off.ts';
import { untilCancelled } from '../support/stub-activities.ts';
import { withWorkflows } from '../support/workflow-env.ts';

test.each(['update', 'signal'])('as %s, a step that would wait for ten minutes is tried at once', async (form) => {
  let away = true;
  const stubs = {
    endBackOffs,
    makePostgres: () => {
      if (away) throw ApplicationFailure.create({ type: 'StoreUnreachable', message: 'away', nextRetryDelay: '10m' });
      return { made: [], timescale: false };
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'schema' });
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    away = false;
    // Temporal learns a moment later that the attempt has failed.
    await vi.waitFor(
      async () => {
        const [step] = (await run.handle('schema').describe()).raw.pendingActivities ?? [];
        expect(step).toMatchObject({ attempt: 2, state: 1 });
      },
      { timeout: 20_000 },
    );
    if (form === 'update') await run.order('retry');
    else await run.signal('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('where nothing waits it is refused', async () => {
  await withWorkflows({ stubs: { endBackOffs, makePostgres: untilCancelled } }, async (run) => {
    await run.start({ until: 'schema' });
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await expect(run.order('retry')).rejects.toMatchObject({
      cause: { message: expect.stringContaining('Nothing is parked, and no step waits') as string },
    });
  });
});
