// A step that cannot go on parks the migration, says what to do, and goes on when somebody says so.
import { expect, test } from 'vitest';
import { whyNot } from '../../activities/accounting.ts';
import { KnownFailure } from '../../core/failures.ts';
import { judgeQuarantine } from '../../core/quarantine.ts';
import { untilCancelled } from '../support/stub-activities.ts';
import { withWorkflows } from '../support/workflow-env.ts';

test('a phase that fails parks with its reason and its advice, and `retry` goes on to the end', async () => {
  let reachable = false;
  await withWorkflows(
    {
      stubs: {
        planCollections: () => {
          if (!reachable) throw new KnownFailure('PermissionDenied', 'The user may not read token_usage.');
          return [];
        },
      },
    },
    async (run) => {
      await run.start({ until: 'schema' });
      const parked = await run.parked();
      expect(parked).toMatchObject({
        phase: 'schema',
        waitingFor: 'retry, abort or rollback',
        lastError: { type: 'PermissionDenied', message: expect.stringContaining('may not read token_usage') },
      });
      reachable = true;
      await run.order('retry');
      const outcome = (await run.handle().result()) as { state: string; checkpoints: { name: string }[] };
      expect(outcome.state).toBe('completed');
      expect(outcome.checkpoints.map((one) => one.name)).toEqual(['preparation', 'schema']);
    },
  );
});

test('a quarantine over its budget parks with the share, the budget and what to do', async () => {
  const quarantine = judgeQuarantine([{ collection: 'token_usage', documents: 40, quarantined: 12 }], 0.2).reason;
  const why = whyNot({ missing: 0, extra: 0, unknown: [], targets: [], quarantine }).join(' ');
  const failed = { overall_status: 'failed', individual_results: { count_validation: { status: 'failed', why } } };
  await withWorkflows({ stubs: { validateCollection: () => failed as never } }, async (run) => {
    await run.start({ at: 'data', until: 'data' });
    const { lastError } = await run.parked();
    expect(lastError).toMatchObject({ type: 'ValidationFailed' });
    for (const said of ['12 of 40', '30 %', 'quarantineBudget allows 20 %', 'causeway quarantine list'])
      expect(lastError!.message).toContain(said);
    expect(lastError!.message).toContain('Validation failed: token_usage (count_validation)');
    await run.order('abort', { reason: 'test' });
  });
});

test('the whole story goes well on stubs alone, with no workflow kept in memory', async () => {
  await withWorkflows({ uncached: true }, async (run) => {
    await run.start({ settings: { stages: [{ name: 'all', percentage: 100, writes: 'new_system', soakSeconds: 0 }] } });
    const outcome = (await run.handle().result()) as { state: string; routing: Record<string, unknown> };
    expect(outcome).toMatchObject({
      state: 'completed',
      routing: { token_usage: { percentage: 100, writeMode: 'new_system' } },
    });
    expect(run.callsOf('validateCollection')).toHaveLength(2);
  });
});

test('a migration is not complete while capture is behind or fails: it waits, says so, and still takes orders', async () => {
  let steady: () => void = () => undefined;
  const rest = new Promise<void>((resolve) => (steady = resolve));
  await withWorkflows({ stubs: { awaitSteady: () => rest } }, async (run) => {
    await run.start({ at: 'data', until: 'data' });
    const waiting = await run.until((status) => status.waitingFor !== null, 120_000);
    expect(waiting).toMatchObject({
      phase: 'data',
      state: 'running',
      waitingFor: 'change capture to catch up and to fail nowhere',
    });
    expect(waiting.checkpoints.map((one) => one.name)).toEqual(['preparation', 'schema']);
    steady();
    expect(await run.handle().result()).toMatchObject({ state: 'completed', waitingFor: null });
  });
});

test('what awaits the end of a migration is interrupted by an abort', async () => {
  await withWorkflows({ stubs: { awaitSteady: untilCancelled } }, async (run) => {
    await run.start({ at: 'data', until: 'data' });
    await run.until((status) => status.waitingFor !== null, 120_000);
    await run.order('abort', { reason: 'test' });
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
  });
});
