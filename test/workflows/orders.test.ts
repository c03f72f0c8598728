// Orders to the root, as updates that are answered or refused, and as bare signals that leave a trace where they are refused.
import { expect, test } from 'vitest';
import { KnownFailure } from '../../core/failures.ts';
import type { Status } from '../../core/state.ts';
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

test('what its own workflows tell it, sent by hand and wrong, is refused like any order, and so is what nobody knows', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    const told = ['progress', 'captureProgress', 'stageProgress', 'restored'];
    for (const name of told)
      for (const args of [
        [],
        ['x'],
        [null],
        [7, 7],
        [{}],
        ['sessions', { source: 'x' }],
        [{ stage: 99, routing: null }],
      ])
        await run.signal(name, ...args);
    await run.signal('nobodyKnowsThis', 1);
    const { refused } = await run.until((status) => status.refused.at(-1)?.order === 'nobodyKnowsThis');
    expect(refused.at(-1)!.reason).toContain('setCutoverPercentage');
    expect(new Set(refused.map((one) => one.order))).toEqual(new Set([...told.slice(1), 'nobodyKnowsThis']));
    expect(Object.keys((await run.status()).collections)).toEqual(['token_usage', 'sessions']);
    expect(await run.order('pause')).toMatchObject({ state: 'paused' });
    expect(await percentages(run)).toEqual([10, 10]);
  });
});

test('names that every object has are no collections, and what is refused is told in a few words', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    for (const collection of ['toString', 'constructor', '__proto__', 'hasOwnProperty'])
      expect(await refusal(run.order('setCutoverPercentage', { percentage: 5, collection }))).toContain(
        'known are token_usage, sessions',
      );
    const long = 'x'.repeat(300_000);
    for (const payload of [
      { percentage: 5, collection: long },
      { percentage: 5, [long]: 1 },
    ]) {
      expect((await refusal(run.order('setCutoverPercentage', payload))).length).toBeLessThan(1000);
      await run.signal('setCutoverPercentage', payload);
    }
    await run.signal('approve', { gate: long });
    await run.signal('rollback', { to: long });
    const { refused } = await run.until((status) => status.refused.length === 4);
    for (const { reason } of refused) expect(reason.length).toBeLessThan(1000);
    expect(await percentages(run)).toEqual([10, 10]);
  });
});

test('a bare signal that comes out of its time leaves a trace', async () => {
  let open = false;
  await withWorkflows({ stubs: { planCollections: untilOpen(() => open) } }, async (run) => {
    await run.start({ until: 'schema' });
    await run.until((status) => status.phase === 'schema');
    await run.signal('advanceStage');
    await run.signal('resume');
    const { refused } = await run.until((status) => status.refused.length === 2);
    expect(refused.map((one) => one.reason)).toEqual([
      'No stage is soaking; the migration is in schema, running.',
      'Nothing is paused; the migration is running.',
    ]);
    open = true;
    await run.handle().result();
  });
});

test('while the migration is being undone no reads are sent to what is about to be removed', async () => {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  await withWorkflows({ stubs: { undoData: () => released } }, async (run) => {
    await soaking(run);
    await run.order('abort', { reason: 'test' });
    await expect.poll(() => run.callsOf('undoData').length, { timeout: 30_000 }).toBe(1);
    expect(await refusal(run.order('setCutoverPercentage', { percentage: 50 }))).toContain('being undone');
    await run.signal('setCutoverPercentage', { percentage: 50 });
    release();
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
    expect(await percentages(run)).toEqual([0, 0]);
    expect(run.callsOf('route').map(([order]) => (order as { reason: string }).reason)).not.toContain('operator');
  });
});

test('an incident that no stage can judge takes the traffic back all the same', async () => {
  let steady: () => void = () => undefined;
  const waits = new Promise<void>((resolve) => (steady = resolve));
  const stubs = { awaitSteady: () => waits };
  await withWorkflows({ stubs }, async (run) => {
    // Passed, and not complete while change capture has not come to rest.
    await run.start({ at: 'cutover', settings: { stages: [{ ...stages[0], soakSeconds: 0 }] } });
    await run.until((status) => status.waitingFor?.includes('change capture') === true);
    expect(await percentages(run)).toEqual([10, 10]);
    await run.order('reportIncident', { kind: 'data_corruption' });
    expect((await run.parked()).lastError!.message).toContain('incident reported: data_corruption');
    expect(await percentages(run)).toEqual([0, 0]);
    steady();
  });
  // Between a resume and the stage that goes on.
  let opening: (() => void) | undefined;
  let hang = false;
  const openCapture = async () => {
    if (hang) await new Promise<void>((resolve) => (opening = resolve));
    return { lanes: 1, images: 'post-images' as const, openedAt: '1.1' };
  };
  await withWorkflows({ stubs: { openCapture } }, async (run) => {
    await soaking(run);
    await run.order('pause');
    hang = true;
    await run.order('resume');
    await expect.poll(() => opening, { timeout: 30_000 }).toBeDefined();
    await run.order('reportIncident', { kind: 'data_corruption' });
    hang = false;
    opening!();
    expect((await run.parked()).lastError!.message).toContain('incident reported: data_corruption');
    expect(await percentages(run)).toEqual([0, 0]);
  });
});

test('a pause that was ordered while it was parked can be taken back before it is obeyed', async () => {
  await withWorkflows({}, async (run) => {
    await soaking(run);
    await run.order('reportIncident', { kind: 'data_corruption' });
    const { waitingFor } = await run.parked();
    // A stage's word that comes late hides no waiting of the migration's own.
    await run.signal('stageProgress', { stage: 0, waitingFor: null, routing: {} });
    await run.order('pause');
    expect((await run.order('resume')) as Status).toMatchObject({ state: 'parked', waitingFor });
    await run.order('retry');
    await run.until((status) => status.routing['sessions']?.percentage === 10);
  });
});

/** The stub of planCollections that answers once it may. */
function untilOpen(isOpen: () => boolean) {
  return async (): Promise<[]> => {
    while (!isOpen()) await new Promise((resolve) => setTimeout(resolve, 50));
    return [];
  };
}
