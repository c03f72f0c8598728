// A stage of the cutover: its gates, its approval, its soak with evidence that holds it or takes it back, and what an operator may do.
import { Context } from '@temporalio/activity';
import { expect, test } from 'vitest';
import type { WatchOrder, Watched } from '../../activities/gates.ts';
import { evidenceSchema, type Evidence } from '../../core/decision.ts';
import { withWorkflows, type WorkflowTest } from '../support/workflow-env.ts';

const stage = { name: 'reads', percentage: 50, soakSeconds: 1 };
const long = { ...stage, soakSeconds: 24 * 3600 };

/** What `watchStage` finds: one sample each half second, of whatever `found` says now. */
function watching(found: () => Record<string, unknown>) {
  return async (order: WatchOrder): Promise<Watched> => {
    const { cancellationSignal } = Context.current();
    const from = new Date();
    await Context.current()
      .sleep(Math.min(order.ms, 500))
      .catch(() => undefined);
    if (cancellationSignal.aborted) return { before: order.state, evidence: order.recent };
    const sample: Evidence = evidenceSchema.parse({
      from: from.toISOString(),
      to: new Date().toISOString(),
      ...found(),
    });
    return { before: order.state, evidence: [...order.recent, sample].slice(-20) };
  };
}
const lagging = { capture: { lagMs: 60_000, gap: false, quarantineShare: 0 } };
const corrupted = { collections: { token_usage: { validation: { checked: 100, corrupted: 50 } } } };

const percentage = async (run: WorkflowTest) => (await run.status()).routing['token_usage']?.percentage;
const decisions = async (run: WorkflowTest) =>
  (await run.handle().query<{ decision: string; reason: string }[]>('decisions')).map((one) => one.decision);

test('passes when its time is over and nothing speaks against it', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [stage] } });
    expect(await run.handle().result()).toMatchObject({ state: 'completed', stage: 1 });
    expect(run.callsOf('route').map(([order]) => order)).toMatchObject([
      { percentage: 0, writeMode: 'dual_write', unmoved: true },
      { percentage: 50, writeMode: 'dual_write', reason: 'reads' },
    ]);
  });
});

test('holds while the evidence does, says why, and passes when it has passed', async () => {
  let found: Record<string, unknown> = lagging;
  await withWorkflows({ stubs: { watchStage: watching(() => found) } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [stage] } });
    await run.until((status) => status.waitingFor?.startsWith('reads holds: ') === true);
    expect(await decisions(run)).toContain('hold');
    expect(await percentage(run)).toBe(50);
    found = {};
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('grave evidence takes the traffic back by itself; the reason is kept, and `retry` begins the stage again', async () => {
  let found: Record<string, unknown> = corrupted;
  await withWorkflows({ stubs: { watchStage: watching(() => found) } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [long] } });
    const { lastError } = await run.parked();
    expect(lastError).toMatchObject({
      type: 'StageFailed',
      message: expect.stringMatching(/^reads went back to 0 % of reads.*corrupted_records/),
    });
    expect(await percentage(run)).toBe(0);
    found = {};
    await run.order('retry');
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    await run.order('advanceStage');
    expect(await run.handle().result()).toMatchObject({ state: 'completed', lastError: null });
  });
});

test('a planned way back is proposed, and waits for its approval', async () => {
  const policy = { corruptedRecords: { count: 1, severity: 'medium' } };
  await withWorkflows({ stubs: { watchStage: watching(() => corrupted) } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [long], policy } });
    await run.until((status) => status.waitingFor === 'approve {"gate": "rollback"}');
    expect(await percentage(run)).toBe(50);
    await run.order('approve', { gate: 'rollback' });
    expect((await run.parked()).lastError).toMatchObject({ type: 'StageFailed' });
    expect(await percentage(run)).toBe(0);
    expect(await decisions(run)).toContain('rollback, planned, of reads');
  });
});

test('an incident takes all traffic back at once', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [long] } });
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    await run.signal('reportIncident', { kind: 'security_breach' });
    expect((await run.parked()).lastError!.message).toContain('security_breach: reported');
    expect(await percentage(run)).toBe(0);
  });
});

test('an operator who takes reads back holds the stage after its time; it ends when they are there again', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [{ ...stage, soakSeconds: 3 }] } });
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    await run.order('setCutoverPercentage', { percentage: 20, collection: 'sessions' });
    const { waitingFor } = await run.until((status) => status.waitingFor?.includes('fewer reads') === true);
    expect(waitingFor).toContain('(sessions 20 %). `causeway cutover set 50` sends them there');
    await run.order('setCutoverPercentage', { percentage: 50 });
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('a shut gate is looked at until it opens, and moves nothing meanwhile', async () => {
  await withWorkflows({ stubs: { shutGates: () => ['Capture is behind.'] } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [stage] } });
    await run.until((status) => status.waitingFor === 'gates of reads: Capture is behind.');
    expect(await percentage(run)).toBe(0);
    run.stubs.shutGates = () => [];
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('a gate that is shut for too long parks', async () => {
  await withWorkflows({ stubs: { shutGates: () => ['Capture is behind.'] } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [stage], gateSeconds: 1 } });
    expect((await run.parked()).lastError).toMatchObject({
      type: 'GateShut',
      message: 'reads cannot begin: Capture is behind.',
    });
    expect(await percentage(run)).toBe(0);
  });
});

test('an approval that nobody gives parks', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [{ ...stage, approve: true }], approvalSeconds: 1 } });
    expect((await run.parked()).lastError).toMatchObject({
      type: 'ApprovalTimedOut',
      message: 'Nobody approved reads within 1 s.',
    });
    expect(await percentage(run)).toBe(0);
  });
});

test('what it asks at its end is asked, also of one that an operator has ended: it goes back', async () => {
  const asked = { ...long, validate: true, performance: true };
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [asked] } });
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    run.stubs.performanceGate = () => ({ passed: false, reasons: ['by_user is slower'], resultId: 1, timestamp: null });
    await run.order('advanceStage');
    expect((await run.parked()).lastError!.message).toContain('by_user is slower');

    run.stubs.performanceGate = () => ({ passed: true, reasons: [], resultId: 2, timestamp: null });
    const { validateCollection } = run.stubs;
    run.stubs.validateCollection = () =>
      ({
        overall_status: 'failed',
        individual_results: { count_validation: { status: 'failed' } },
      }) as never;
    await run.order('retry');
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    await run.order('advanceStage');
    expect((await run.parked()).lastError!.message).toContain('token_usage (count_validation)');
    expect(await percentage(run)).toBe(0);

    run.stubs.validateCollection = validateCollection!;
    await run.order('retry');
    await run.until((status) => status.routing['token_usage']?.percentage === 50);
    await run.order('advanceStage');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('back to a stage: writes and reads as that stage had begun, then it waits for somebody', async () => {
  const stages = [stage, { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 24 * 3600 }];
  await withWorkflows({ uncached: true }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages } });
    await run.until((status) => status.routing['token_usage']?.writeMode === 'new_system');
    await run.order('rollback', { to: 'reads', reason: 'test' });
    const { routing, stage: at } = await run.parked();
    expect([at, routing['token_usage']]).toMatchObject([0, { percentage: 50, writeMode: 'dual_write' }]);
    expect(run.callsOf('switchBack')).toMatchObject([[{ percentage: 50, writeMode: 'dual_write', immediate: false }]]);
    expect(run.callsOf('disarmReverse')).toHaveLength(1);
  });
});
