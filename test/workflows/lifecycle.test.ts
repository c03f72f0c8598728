// The life of a root: what it takes over, what it refuses to begin, what cancelling and terminating it mean, and that it goes on hearing orders.
import { expect, test, vi } from 'vitest';
import { KnownFailure } from '../../core/failures.ts';
import { nothingKnown, type Known, type Standing } from '../../core/lifecycle.ts';
import { readSettings } from '../../core/settings.ts';
import type { Route, Status } from '../../core/state.ts';
import type { RollbackResult } from '../../workflows/children/rollback.ts';
import type { UndoStep } from '../../core/story.ts';
import { StubStores } from '../support/stub-stores.ts';
import { inCutover } from '../support/standing.ts';
import { withWorkflows, type WorkflowTest } from '../support/workflow-env.ts';
import { untilCancelled } from '../support/stub-activities.ts';

const stages = [
  { name: 'first', percentage: 10, soakSeconds: 0 },
  { name: 'writes', percentage: 100, writes: 'new_system' as const, soakSeconds: 0 },
];
const read = readSettings({ stages });
const settings = 'settings' in read ? read.settings : undefined!;
const standing: Standing = {
  ...inCutover,
  collections: {
    token_usage: { source: 10, loaded: 10, quarantined: 0, skipped: 0, chunksDone: 1, chunksTotal: 1 },
  },
  settings,
};
const moved = { moved: ['token_usage'], armed: true, closed: ['token_usage'] };
const knows = (more: Partial<Known>) => ({ readKnown: () => ({ ...nothingKnown, standing, ...more }) });
const failure = async (run: WorkflowTest): Promise<string> =>
  run
    .handle()
    .result()
    .then(
      () => 'it did not fail',
      (error: { cause: Error }) => error.cause.message,
    );
const undone = (run: WorkflowTest): string[] =>
  (['undoCutover', 'undoData', 'undoSchema', 'undoPreparation'] as const).filter(
    (name) => run.callsOf(name).length > 0,
  );

test('a completed migration whose writes have moved is not begun again, whoever starts it', async () => {
  await withWorkflows(
    { stubs: knows({ standing: { ...standing, completed: true }, authority: moved }) },
    async (run) => {
      await run.start({ settings: { stages } });
      const message = await failure(run);
      expect(message).toContain('completed: the new system has the writes of token_usage');
      expect(message).toContain('`causeway rollback --to old`');
      // What the server knows of search attributes is asked by every root.
      expect(run.calls.map((call) => call.name).filter((name) => name !== 'searchAttributesKnown')).toEqual([
        'readKnown',
      ]);
    },
  );
});

test('after a restore that has not ended, and after decommission, nothing is begun', async () => {
  for (const more of [{ restoring: 'The restore of checkpoint x has not ended.' }, { retired: true }])
    await withWorkflows({ stubs: knows(more) }, async (run) => {
      await run.start();
      expect(await failure(run)).toMatch(/has not ended|taken out of use/);
    });
});

test('a root goes on where an ended one stood: phase, stage, what is to be undone, routing and checkpoints', async () => {
  const checkpoints = ['preparation', 'schema', 'data'].map((name) => ({ name, phase: name, at: 'then' }));
  const routing: Record<string, Route> = { token_usage: { percentage: 10, writeMode: 'dual_write', epoch: 4 } };
  const switchToNew = () => {
    routing['token_usage'] = { percentage: 100, writeMode: 'new_system', epoch: 5 };
    return { routes: routing, pauseMs: 1, steps: {}, verified: 0, closed: [], notClosed: [], leftover: 0 };
  };
  await withWorkflows(
    { stubs: { ...knows({ checkpoints, routing }), routesNow: () => routing, switchToNew } },
    async (run) => {
      await run.start({ settings: { stages } });
      const outcome = (await run.handle().result()) as Status;
      expect(outcome).toMatchObject({ state: 'completed', phase: 'cutover', stage: 2 });
      expect(outcome.checkpoints.map((one) => one.name)).toEqual(['preparation', 'schema', 'data', 'cutover']);
      expect(run.callsOf('prepareControl')).toEqual([]);
      expect(run.callsOf('makePostgres')).toEqual([]);
      expect(run.callsOf('preflight')).toHaveLength(1);
      expect(run.callsOf('switchToNew')).toHaveLength(1);
      expect(run.callsOf('route').map(([order]) => (order as { reason: string }).reason)).not.toContain('first');
      expect(run.callsOf('passStage')).toEqual([[2]]);
      const written = run.callsOf('recordCheckpoint')[0]![0] as { next: Standing };
      expect(written.next).toMatchObject({ phase: 'cutover', completed: true, undo: standing.undo });
    },
  );
});

test('a check that fails when a root takes over undoes nothing of what it found', async () => {
  let stray = true;
  const stubs = {
    ...knows({ standing: { ...standing, phase: 'schema', stage: 0, undo: standing.undo.slice(0, 2) } }),
    preflight: () => {
      if (stray) throw new KnownFailure('PreflightFailed', 'A file is in the way.');
      return [];
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'schema' });
    const parked = await run.parked();
    expect(parked.lastError).toMatchObject({ type: 'PreflightFailed', message: 'A file is in the way.' });
    expect(undone(run)).toEqual([]);
    stray = false;
    await run.order('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('a phase that fails for good is undone only where this run has begun it', async () => {
  const stubs = {
    planCollections: () => {
      throw new KnownFailure('TargetConflict', 'A row breaks a constraint.');
    },
  };
  await withWorkflows(
    {
      stubs: {
        ...stubs,
        ...knows({ standing: { ...standing, phase: 'data', stage: 0, undo: standing.undo.slice(0, 3) } }),
      },
    },
    async (run) => {
      await run.start();
      await run.parked();
      expect(undone(run)).toEqual([]);
    },
  );
  await withWorkflows({ stubs }, async (run) => {
    await run.start();
    const { lastError } = await run.parked();
    expect(undone(run)).toEqual(['undoSchema']);
    expect(lastError?.message).toContain('was removed');
  });
});

test('cancelling the root is an order to abort, and orders are heard as before', async () => {
  await withWorkflows({ stubs: { makePostgres: untilCancelled } }, async (run) => {
    await run.start();
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.handle().cancel();
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
    expect(undone(run)).toEqual(['undoSchema', 'undoPreparation']);
  });
});

test('cancelling the root parks where the new system counts; queries, updates and signals go on', async () => {
  const routing = { token_usage: { percentage: 10, writeMode: 'dual_write' as const, epoch: 4 } };
  const known = { ...knows({ authority: moved }), routesNow: () => routing };
  await withWorkflows({ stubs: { ...known, watchStage: untilCancelled } }, async (run) => {
    await run.start({ settings: { stages: [stages[0], { ...stages[1], soakSeconds: 600 }] } });
    await vi.waitFor(() => expect(run.callsOf('watchStage')).not.toEqual([]), 30_000);
    await run.handle().cancel();
    const { lastError } = await run.parked();
    expect(lastError).toMatchObject({ type: 'Cancelled' });
    expect(lastError!.advice).toContain('rollback --to old');
    expect(undone(run)).toEqual([]);
    await run.order('retry');
    await run.until((status) => status.state === 'running');
    await run.order('pause');
    await run.signal('resume');
    await run.until((status) => status.state === 'running');
    await run.order('rollback', { to: 'old' });
    await run.until((status) => status.state === 'parked' && status.lastError?.type !== 'Cancelled');
    expect(run.callsOf('switchBack')).toHaveLength(1);
    expect(undone(run)).toEqual(['undoCutover']);
    await run.handle().cancel();
  });
});

test('a root cancelled while it goes back finishes that; nothing of it is torn down', async () => {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  await withWorkflows({ stubs: { makePostgres: untilCancelled, undoSchema: () => released } }, async (run) => {
    await run.start();
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.order('abort', { reason: 'test' });
    await vi.waitFor(() => expect(run.callsOf('undoSchema')).toHaveLength(1), 30_000);
    await run.handle().cancel();
    expect((await run.status()).state).toBe('compensating');
    release();
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
    expect(await run.runsOf('rollback')).toBe(1);
  });
});

test('a root terminated while it went back is followed by one that goes on going back', async () => {
  let known: Known = nothingKnown;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const stubs = {
    readKnown: () => known,
    makePostgres: untilCancelled,
    undoSchema: () => released,
    writeStanding: (written: Standing) => void (known = { ...nothingKnown, standing: written }),
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start();
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.order('abort', { reason: 'test' });
    await vi.waitFor(() => expect(run.callsOf('undoSchema')).toHaveLength(1), 30_000);
    await run.handle().terminate('by hand');
    expect(known.standing!.undoing).toEqual({ steps: [{ undo: 'schema' }, { undo: 'preparation' }], then: 'aborted' });
    await run.start();
    await run.until((status) => status.state === 'compensating');
    release();
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
    const ended = (await run.handle('rollback').result()) as RollbackResult;
    expect(ended.undone.map((step) => step.undo)).toEqual(['schema', 'preparation']);
    // The first one was left at work, and the second came after it.
    expect(await run.runsOf('rollback')).toBe(2);
    expect(run.callsOf('makeMongo')).toEqual([]);
  });
});

/** As the command does where no root runs. */
const undoAlone = (run: WorkflowTest, steps: readonly UndoStep[]) =>
  run.client.workflow.start('rollback', {
    workflowId: run.handle('rollback').workflowId,
    taskQueue: run.queue,
    args: [run.name, steps, settings],
  });

test('a root that is started while a way back of before it has written nothing down begins from what that leaves', async () => {
  const stores = new StubStores();
  const own = stores.stubs();
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const stubs = {
    ...own,
    noteUndoing: async (steps: readonly UndoStep[]) => {
      await released;
      return own.noteUndoing!(steps);
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'data', settings: { stages } });
    expect(await run.handle().result()).toMatchObject({ state: 'completed', phase: 'data' });
    await undoAlone(run, [...stores.standing!.undo].reverse());
    await vi.waitFor(() => expect(run.callsOf('noteUndoing')).toHaveLength(1), 30_000);
    await run.start({ until: 'data', settings: { stages } });
    await vi.waitFor(() => expect(run.callsOf('readKnown').length).toBeGreaterThan(1), 30_000);
    release();
    expect(await run.handle().result()).toMatchObject({ state: 'completed', phase: 'data' });
    expect(run.callsOf('undoPreparation')).toHaveLength(1);
    expect([stores.schema, stores.tables, stores.data, run.callsOf('prepareControl').length]).toEqual([
      true,
      true,
      true,
      2,
    ]);
    expect(stores.violations).toEqual([]);
  });
});

test('a way back that comes to a root which was started meanwhile is its order', async () => {
  const stores = new StubStores();
  const own = stores.stubs();
  let hang = false;
  const stubs = { ...own, settleCollection: () => (hang ? untilCancelled() : []) };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'schema', settings: { stages } });
    await run.handle().result();
    const steps = [...stores.standing!.undo].reverse();
    hang = true;
    await run.start({ until: 'data', settings: { stages } });
    await vi.waitFor(() => expect(run.callsOf('settleCollection').length).toBeGreaterThan(0), 30_000);
    const alone = await undoAlone(run, steps);
    expect(await alone.result()).toEqual({ passedOnTo: run.handle().workflowId });
    expect(await run.handle().result()).toMatchObject({ state: 'rolled-back' });
    expect(stores.isClean).toBe(true);
    expect(stores.violations).toEqual([]);
  });
});

test('a root terminated in a phase is followed by one that begins that phase again', async () => {
  let known: Known = nothingKnown;
  let hang = true;
  const stubs = {
    readKnown: () => known,
    makePostgres: () => (hang ? untilCancelled() : ({ made: [], timescale: false } as never)),
    writeStanding: (written: Standing) => void (known = { ...nothingKnown, standing: written }),
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'schema' });
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.handle().terminate('by hand');
    hang = false;
    await run.start({ until: 'schema' });
    expect(await run.handle().result()).toMatchObject({ state: 'completed', phase: 'schema' });
    expect(run.callsOf('prepareControl')).toHaveLength(1);
  });
});

test('a checkpoint that cannot be written parks, and undoes nothing; `retry` writes it without doing the phase again', async () => {
  let away = true;
  const stubs = {
    recordCheckpoint: () => {
      if (away) throw new KnownFailure('PermissionDenied', 'PostgreSQL, recording a checkpoint: denied');
      return 'now';
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'preparation' });
    const { lastError } = await run.parked();
    expect(lastError).toMatchObject({ phase: 'checkpoint of preparation', type: 'PermissionDenied' });
    expect(undone(run)).toEqual([]);
    away = false;
    await run.order('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
    expect(run.callsOf('prepareControl')).toHaveLength(1);
  });
});

test('a phase whose own workflow is cancelled from outside parks, and undoes nothing', async () => {
  let hang = true;
  const stubs = { makePostgres: () => (hang ? untilCancelled() : ({ made: [], timescale: false } as never)) };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'schema' });
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.handle('schema').cancel();
    expect((await run.parked()).lastError).toMatchObject({ type: 'Cancelled' });
    expect(undone(run)).toEqual([]);
    hang = false;
    await run.order('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('while it cannot be read where the migration stands, nothing is begun and nothing undone', async () => {
  let away = true;
  const stubs = {
    readKnown: () => {
      if (away) throw new KnownFailure('AuthenticationFailed', 'PostgreSQL refuses the password.');
      return { ...nothingKnown, standing: { ...standing, phase: 'data' as const, undo: standing.undo.slice(0, 3) } };
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start();
    expect((await run.parked()).lastError).toMatchObject({ phase: 'start', type: 'AuthenticationFailed' });
    away = false;
    await run.order('abort', { reason: 'test' });
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
    expect(undone(run)).toEqual(['undoData', 'undoSchema', 'undoPreparation']);
  });
});

test('a rollback whose own workflow is terminated parks the root, and `retry` goes on undoing', async () => {
  let hang = true;
  const stubs = {
    makePostgres: untilCancelled,
    undoSchema: () => (hang ? (untilCancelled() as unknown as Promise<void>) : undefined),
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start();
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.order('abort', { reason: 'test' });
    await vi.waitFor(() => expect(run.callsOf('undoSchema')).toHaveLength(1), 30_000);
    await run.handle('rollback').terminate('by hand');
    const { lastError } = await run.parked();
    expect(lastError).toMatchObject({ type: 'CompensationFailed' });
    expect(lastError!.message).toMatch(/rollback.* was terminated/);
    hang = false;
    await run.order('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
  });
});

test('a phase whose workflow is terminated from outside is told as that, not as a defect', async () => {
  let hang = true;
  const stubs = { makePostgres: () => (hang ? untilCancelled() : ({ made: [], timescale: false } as never)) };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ until: 'schema' });
    await vi.waitFor(() => expect(run.callsOf('makePostgres')).toHaveLength(1), 30_000);
    await run.handle('schema').terminate('by hand');
    const { lastError } = await run.parked();
    expect(lastError!.message).toMatch(/schema was terminated from outside/);
    expect(lastError!.advice).toContain('`causeway retry`');
    expect(undone(run)).toEqual([]);
    hang = false;
    await run.order('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
  });
});

test('an order that waits for a database that refuses does not make the root ask as fast as it can', async () => {
  let away = true;
  const readKnown = () => {
    if (away) throw new KnownFailure('AuthenticationFailed', 'PostgreSQL refuses the password.');
    return nothingKnown;
  };
  await withWorkflows({ stubs: { readKnown } }, async (run) => {
    await run.start();
    await run.parked();
    await run.order('abort', { reason: 'test' });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(run.callsOf('readKnown').length).toBeLessThan(4);
    expect((await run.status()).waitingFor).toBe('retry');
    away = false;
    await run.order('retry');
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
  });
});

test('a rollback ordered while another is under way is judged again by what that one left', async () => {
  for (const to of ['old', 'data', 'first']) {
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    await withWorkflows({ stubs: { undoData: () => released } }, async (run) => {
      await run.start({ at: 'cutover', settings: { stages: [{ ...stages[0], soakSeconds: 600 }, stages[1]] } });
      await run.until((status) => status.routing['sessions']?.percentage === 10);
      await run.order('rollback', { to: 'schema' });
      await vi.waitFor(() => expect(run.callsOf('undoData')).toHaveLength(1), 30_000);
      await run.signal('rollback', { to });
      release();
      const { phase, refused } = await run.parked();
      expect([to, phase, refused.at(-1)?.order]).toEqual([to, 'data', 'rollback']);
      expect(undone(run)).toEqual(['undoCutover', 'undoData']);
    });
  }
});

test('a way back never sends more reads to the new system than go there', async () => {
  const three = [
    { name: 'first', percentage: 10, soakSeconds: 600 },
    { name: 'half', percentage: 50, soakSeconds: 600, approve: true },
  ];
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: three } });
    await run.until((status) => status.routing['sessions']?.percentage === 10);
    await run.order('advanceStage');
    await run.until((status) => status.waitingFor === 'approve {"gate": "half"}');
    // Nobody has approved it yet.
    await run.order('rollback', { to: 'half' });
    await run.until((status) => status.state === 'parked');
    expect(Object.values((await run.status()).routing).map((one) => one.percentage)).toEqual([10, 10]);
  });
});

test('an order that comes at the very end of the last phase is obeyed', async () => {
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const recordCheckpoint = async () => (await released, new Date().toISOString());
  await withWorkflows({ stubs: { recordCheckpoint } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages } });
    await vi.waitFor(() => expect(run.callsOf('recordCheckpoint')).toHaveLength(1), 30_000);
    await run.order('rollback', { to: 'old' });
    release();
    await run.until((status) => status.state === 'parked');
    expect(run.callsOf('switchBack')).toHaveLength(1);
  });
});

test('the way back begins change capture again where somebody has ended it', async () => {
  const startedWith = () => ({ settings, collections: ['token_usage', 'sessions'] });
  await withWorkflows({ stubs: { startedWith } }, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [{ ...stages[1], soakSeconds: 600 }] } });
    await run.until((status) => status.routing['sessions']?.writeMode === 'new_system');
    await run.handle('capture').cancel();
    await vi.waitFor(
      async () => expect((await run.handle('capture').describe()).status.name).not.toBe('RUNNING'),
      30_000,
    );
    await run.order('rollback', { to: 'old' });
    await run.parked();
    expect(await run.runsOf('capture')).toBe(2);
  });
});

test('a rollback that was cut off after the migration had completed is brought to its end by a new start', async () => {
  let known: Known = {
    ...nothingKnown,
    authority: moved,
    standing: { ...standing, completed: true, undoing: { steps: [{ undo: 'cutover' }], then: 'parked' } },
  };
  const disarmReverse = () => void (known = { ...known, authority: nothingKnown.authority });
  await withWorkflows({ stubs: { readKnown: () => known, disarmReverse } }, async (run) => {
    await run.start({ settings: { stages } });
    expect(await run.parked()).toMatchObject({ phase: 'cutover', stage: 0, lastError: null });
    expect(undone(run)).toEqual([]);
    await run.order('abort', { reason: 'test' });
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
  });
});

test('reads that were moved by an order after the cutover was undone go back before anything is removed', async () => {
  const at = new Date().toISOString();
  const stubs = knows({ standing, checkpoints: [{ name: 'data', phase: 'data', at }] });
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ settings: { stages } });
    await run.until((status) => status.phase === 'cutover');
    await run.order('rollback', { to: 'old', reason: 'test' });
    await run.parked();
    await run.order('setCutoverPercentage', { percentage: 5, collection: 'token_usage' });
    await run.order('abort', { reason: 'test' });
    expect(await run.handle().result()).toMatchObject({ state: 'aborted' });
    const calls = run.calls.map((call) => call.name);
    expect(calls.lastIndexOf('undoCutover')).toBeGreaterThan(calls.lastIndexOf('noteUndoing'));
    expect(calls.lastIndexOf('undoCutover')).toBeLessThan(calls.indexOf('undoData'));
  });
});

test('a rollback that is ordered before the root knows where the migration stands is obeyed when it does', async () => {
  let read: () => void = () => undefined;
  const reading = new Promise<void>((resolve) => (read = resolve));
  const stubs = {
    readKnown: async () => {
      await reading;
      const at = new Date().toISOString();
      return { ...nothingKnown, standing, checkpoints: [{ name: 'data', phase: 'data' as const, at }] };
    },
  };
  await withWorkflows({ stubs }, async (run) => {
    await run.start({ settings: { stages } });
    await run.until(() => run.callsOf('readKnown').length > 0);
    await run.order('rollback', { to: 'data', reason: 'test' });
    read();
    expect(await run.parked()).toMatchObject({ phase: 'cutover', refused: [], lastError: null });
  });
});
