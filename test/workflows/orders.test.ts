// Orders to the root, as updates that are answered or refused, and as bare signals that leave a trace where they are refused.
import { expect, test } from 'vitest';
import { KnownFailure } from '../../core/failures.ts';
import { withWorkflows, type WorkflowTest } from '../support/workflow-env.ts';

const week = 7 * 24 * 3600;
const stages = [
  { name: 'first', percentage: 10, soakSeconds: week },
  { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 0, approve: true },
];
const soaking = async (run: WorkflowTest) => {
  await run.start({ at: 'cutover', settings: { stages } });
  return run.until((status) => status.routing['token_usage']?.percentage === 10);
};
/** What the caller reads. */
const refusal = (order: Promise<unknown>): Promise<string> =>
  order.then(
    (answer) => `obeyed: ${JSON.stringify(answer)}`,
    (error: { cause?: Error }) => error.cause?.message ?? String(error),
  );
const percentages = async (run: WorkflowTest) =>
  Object.values((await run.status()).routing).map((route) => route.percentage);

test('payloads that are none are refused with a sentence, to the caller or in status, and history says nothing of updates', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    const before = (await run.handle().describe()).historyLength;
    for (const payload of [
      { percentage: 250 },
      'x',
      { percentage: 12.5 },
      null,
      {},
      { percentage: 5, colection: 'x' },
      7,
      [],
    ])
      expect(await refusal(run.order('setCutoverPercentage', payload))).toMatch(
        /Send for example \{"percentage": 50\}/,
      );
    expect(await refusal(run.order('setCutoverPercentage', { percentage: 5, collection: 'nothing' }))).toContain(
      'there is no nothing; known are token_usage, sessions',
    );
    expect((await run.handle().describe()).historyLength).toBe(before);
    const names = ['setCutoverPercentage', 'approve', 'rollback', 'abort', 'reportIncident'];
    for (const name of names) await run.signal(name, 'x');
    const { refused, state } = await run.until((status) => status.refused.length >= names.length);
    expect(state).toBe('running');
    expect(refused.map((one) => one.order)).toEqual(names);
    for (const { reason } of refused) expect(reason).toContain('Send for example');
    expect(await percentages(run)).toEqual([10, 10]);
  });
});

test('orders out of their time are refused, and say what the migration does instead', async () => {
  let open = false;
  await withWorkflows({ stubs: { planCollections: untilOpen(() => open) } }, async (run) => {
    await run.start({ until: 'schema' });
    await run.until((status) => status.phase === 'schema');
    expect(await refusal(run.order('setCutoverPercentage', { percentage: 10 }))).toBe(
      'Traffic can be moved only in the cutover phase; the migration is in schema, running.',
    );
    expect(await refusal(run.order('resume'))).toBe('Nothing is paused; the migration is running.');
    expect(await refusal(run.order('advanceStage'))).toBe('No stage is soaking; the migration is in schema, running.');
    expect(await refusal(run.order('approve', { gate: 'writes' }))).toContain('nothing waits for "writes" now');
    expect(await refusal(run.order('rollback', { to: 'lunch' }))).toContain(
      'there is no checkpoint lunch; known are preparation',
    );
    open = true;
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('traffic is moved for all collections or for one, and the caller is answered with where it goes', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    expect(await run.order('setCutoverPercentage', { percentage: 25 })).toMatchObject({
      token_usage: { percentage: 25 },
      sessions: { percentage: 25 },
    });
    await run.signal('setCutoverPercentage', { percentage: 30, collection: 'sessions' });
    await run.until((status) => status.routing['sessions']?.percentage === 30);
    expect(await percentages(run)).toEqual([25, 30]);
    expect(run.callsOf('route').at(-1)).toEqual([{ collections: ['sessions'], percentage: 30, reason: 'operator' }]);
  });
});

test('an order that cannot be carried out fails with the reason, and nobody is told that traffic has moved', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    const route = run.stubs.route!;
    run.stubs.route = () => {
      throw new KnownFailure('ConfigurationInvalid', 'A restore is under way.');
    };
    expect(await refusal(run.order('setCutoverPercentage', { percentage: 60 }))).toBe(
      'The traffic was not moved. A restore is under way. When that has passed, send the order again; `causeway status` shows where the traffic goes.',
    );
    expect((await run.status()).refused.at(-1)).toMatchObject({ order: 'setCutoverPercentage' });
    expect(await percentages(run)).toEqual([10, 10]);
    run.stubs.route = route;
    expect(await run.order('setCutoverPercentage', { percentage: 60 })).toMatchObject({ sessions: { percentage: 60 } });
  });
});

test('a pause stops the stage and keeps what an operator has set; an incident while paused takes all traffic back', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    await run.order('setCutoverPercentage', { percentage: 40 });
    expect(await run.order('pause')).toMatchObject({ state: 'paused', waitingFor: 'resume' });
    const watched = run.callsOf('watchStage').length;
    expect(await run.order('resume')).toMatchObject({ state: 'running' });
    await expect.poll(() => run.callsOf('watchStage').length, { timeout: 60_000 }).toBeGreaterThan(watched);
    expect(await percentages(run)).toEqual([40, 40]);

    await run.order('pause');
    await run.order('reportIncident', { kind: 'complete_system_failure' });
    const { lastError } = await run.parked();
    expect(lastError!.message).toContain(
      'All traffic went back to the old system: incident reported: complete_system_failure',
    );
    expect(await percentages(run)).toEqual([0, 0]);
    await run.order('retry');
    await run.until((status) => status.routing['sessions']?.percentage === 10);
  });
});

test('a gate waits for its approval and for no other order', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    await run.order('advanceStage');
    const waits = 'approve {"gate": "writes"}';
    await run.until((status) => status.waitingFor === waits);
    expect(await refusal(run.order('advanceStage'))).toContain(`waits for ${waits}`);
    expect(await refusal(run.order('approve', { gate: 'other' }))).toContain(`the migration waits for ${waits}`);
    expect(run.callsOf('switchToNew')).toEqual([]);
    await run.order('approve', { gate: 'writes' });
    expect(await run.handle().result()).toMatchObject({
      state: 'completed',
      waitingFor: null,
      routing: { token_usage: { percentage: 100, writeMode: 'new_system' } },
    });
  });
});

/** The stub of planCollections that answers once it may. */
function untilOpen(isOpen: () => boolean) {
  return async (): Promise<[]> => {
    while (!isOpen()) await new Promise((resolve) => setTimeout(resolve, 50));
    return [];
  };
}
