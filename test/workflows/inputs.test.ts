// Workflows that a person starts by hand: the smallest natural input runs, a wrong one ends the workflow as failed with a sentence per problem.
import { expect, test } from 'vitest';
import { readSettings, type Settings } from '../../core/settings.ts';
import { nothingKnown, type Known } from '../../core/lifecycle.ts';
import { withWorkflows, type WorkflowTest } from '../support/workflow-env.ts';

const settings = (readSettings({}) as { settings: Settings }).settings;
const begun = { startedWith: () => ({ settings, collections: ['sessions', 'token_usage'] }) };

let completed = false;
const known: Known = {
  ...nothingKnown,
  standing: {
    phase: 'cutover',
    stage: 4,
    override: false,
    undo: (['preparation', 'schema', 'data', 'cutover'] as const).map((undo) => ({ undo })),
    undoing: null,
    completed: true,
    until: 'cutover',
    collections: {},
    settings: {},
  },
  authority: { moved: ['sessions'], armed: true, closed: [] },
  checkpoints: [{ name: 'data', phase: 'data', at: 'then' }],
};

const byHand = (run: WorkflowTest, type: string, workflowId: string, ...args: unknown[]) =>
  run.client.workflow.execute(type, { workflowId, taskQueue: run.queue, args: args as [] });

const reasonOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it went well',
    (error: { cause?: { message?: string; nonRetryable?: boolean } }) => error.cause?.message ?? String(error),
  );

test.each([
  ['{}', {}],
  ['nothing at all', undefined],
  ['its name', 'NAME'],
  ['its name in an object', { name: 'NAME' }],
])('a migration begins with %s, and with the defaults', async (_what, input) => {
  await withWorkflows({}, async (run) => {
    const given: unknown = JSON.parse(JSON.stringify(input ?? null).replace('NAME', run.name));
    const args = input === undefined ? [] : [given];
    const handle = await run.client.workflow.start('migration', {
      workflowId: `migration/${run.name}`,
      taskQueue: run.queue,
      args: args as [],
    });
    await run.until((status) => status.phase !== 'preparation');
    expect(run.callsOf('preflight')[0]!.slice(0, 2)).toEqual([run.name, settings]);
    await handle.terminate();
  });
});

test("under another id it begins the migration of its queue under that one's own", async () => {
  await withWorkflows({}, async (run) => {
    const id = '2f1c9a53-6f0e-4b0c-9a55-0d6f5c1f7a11';
    const handle = await run.client.workflow.start('migration', {
      workflowId: id,
      taskQueue: run.queue,
      args: [{ until: 'schema' }],
    });
    expect(await handle.result()).toMatchObject({ migration: run.name, state: 'completed' });
  });
});

test('what is wrong ends each of them as failed, with the reasons', async () => {
  await withWorkflows({ stubs: { ...begun, readKnown: () => (completed ? known : nothingKnown) } }, async (run) => {
    completed = true;
    const root = `migration/${run.name}`;
    const refused = async (type: string, id: string, input: unknown) => reasonOf(byHand(run, type, id, input));
    // Of another queue's migration. A replay knows no queue: this history is not among those that are replayed.
    expect(await refused('migration', `by-hand-${run.name}`, 'x')).toMatch(
      /is of the migration "workflow-.*", not of "x"/,
    );
    expect(await refused('migration', root, { name: 'a b' })).toMatch(/cannot be a migration's name/);
    const many = await refused('migration', root, {
      until: 'tomorrow',
      settings: { parallelism: 'many', zon: 1 },
      and: 1,
    });
    expect(many).toMatch(/settings\.parallelism: /);
    expect(many).toMatch(/until: /);
    expect(many).toMatch(/zon/);
    const types = ['validation', 'verification', 'snapshot', 'checkpoint', 'restore', 'rollback', 'quarantineRetry'];
    const nonsense = [7, [], true, { nonsense: 1 }, { migration: 5, name: 5 }];
    const isRefused = async (type: string, id: string, input: unknown, reason: RegExp) =>
      expect(await refused(type, id, input), type).toMatch(reason);
    for (const input of nonsense) await isRefused('migration', root, input, /^The input is refused: /);
    await Promise.all(
      ['decommission', ...types].flatMap((type) =>
        nonsense.map((input, n) => isRefused(type, `${root}/${type}-${n}`, input, /^The input is refused: /)),
      ),
    );
    expect(await refused('restore', `${root}/restore`, {})).toMatch(/name: /);
    expect(await refused('decommission', `${root}/decommission`, {})).toMatch(/confirm: give \{"confirm": true\}/);
    // What looks like a command's input, and is none, is read as a person's.
    expect(await refused('decommission', `${root}/decommission`, { snapshotDirectory: 'x' })).toMatch(/confirm/);
    expect(await reasonOf(byHand(run, 'validation', `by-hand-${run.name}-v`, 'x', 'y', 'z'))).toMatch(/not of "x"/);
    expect(await reasonOf(byHand(run, 'rollback', `${root}/r`, 'x', 'y', 'z'))).toMatch(/There is no way back to x/);
    expect(await refused('rollback', `${root}/r`, { everything: 'yes' })).toMatch(/everything: give true/);
    expect(await refused('checkpoint', `${root}/c`, 'a/b')).toMatch(/name: /);
    expect(await refused('validation', `${root}/v`, { checks: ['luck'] })).toMatch(/checks\.0: /);
    expect(await refused('verification', `${root}/v`, { collections: ['nothing'] })).toMatch(
      /has no collection nothing; it has sessions, token_usage/,
    );
    const steps = ['changeCapture', 'reverseSync', 'copyCollection', 'cutoverStage', 'cutoverPhase', 'dataPhase'];
    await Promise.all(
      steps.flatMap((step) =>
        [{}, 'x', undefined].map((input, n) =>
          isRefused(step, `${root}/by-hand-${step}-${n}`, input, /is a step of a migration, which starts it/),
        ),
      ),
    );
    completed = false;
    // The root's own is replayed with the others.
    await run.start({ until: 'preparation' });
    await run.handle().result();
  });
});

test('validation and checkpoints take `{}`: what the migration was started with', async () => {
  const stubs = {
    ...begun,
    createSnapshot: (order: unknown) =>
      ({ ...(order as object), folder: 'f', records: 0, bytes: 0, barrierMs: 0 }) as never,
  };
  await withWorkflows({ stubs }, async (run) => {
    await byHand(run, 'validation', `migration/${run.name}/validation`, {});
    expect(run.callsOf('validateCollection')).toHaveLength(2);
    await byHand(run, 'snapshot', `migration/${run.name}/snapshot/by-hand`, 'by-hand');
    expect(run.callsOf('createSnapshot')[0]![0]).toMatchObject({
      migration: run.name,
      name: 'by-hand',
      snapshotDirectory: 'snapshots',
    });
    await run.start({ until: 'preparation' });
    await run.handle().result();
  });
});

test('a checkpoint by hand is one of all stores, named as its id says; quarantined documents are tried again by `{}`', async () => {
  const stubs = {
    ...begun,
    createSnapshot: (order: unknown) =>
      ({ ...(order as object), folder: 'f', records: 0, bytes: 0, barrierMs: 0 }) as never,
    retryQuarantined: (order: unknown) => ({ ...(order as object), rules: {} }) as never,
  };
  await withWorkflows({ stubs }, async (run) => {
    const root = `migration/${run.name}`;
    await byHand(run, 'checkpoint', `${root}/checkpoint/before-cutover`);
    await byHand(run, 'checkpoint', `${root}/by-hand`, 'named');
    await byHand(run, 'checkpoint', `${root}/by-hand`, {});
    expect(run.callsOf('createSnapshot').map(([order]) => order)).toMatchObject([
      { name: 'before-cutover' },
      { name: 'named' },
      { name: expect.stringMatching(/^\d{8}T\d{6}Z$/) as string },
    ]);
    await byHand(run, 'quarantineRetry', `${root}/quarantine/retry`, {});
    await byHand(run, 'quarantineRetry', `${root}/quarantine/retry`, { collection: 'sessions', dryRun: true });
    expect(run.callsOf('retryQuarantined').map(([order]) => order)).toMatchObject([
      { dryRun: false },
      { dryRun: true, collection: 'sessions' },
    ]);
    await run.start({ until: 'preparation' });
    await run.handle().result();
  });
});

test('a rollback by hand takes reads and writes to the old system: a root that runs is told, of one that has ended it is done here', async () => {
  await withWorkflows({ stubs: { ...begun, readKnown: () => known } }, async (run) => {
    const root = `migration/${run.name}`;
    expect(await byHand(run, 'rollback', `${root}/rollback`, {})).toMatchObject({ undone: [{ undo: 'cutover' }] });
    expect(await byHand(run, 'rollback', `${root}/rollback`, { everything: true, reason: 'over' })).toMatchObject({
      undone: [{ undo: 'cutover' }, { undo: 'data' }, { undo: 'schema' }, { undo: 'preparation' }],
    });
    run.stubs.readKnown = () => nothingKnown;
    expect(await reasonOf(byHand(run, 'rollback', `${root}/rollback`, {}))).toMatch(
      /^The input is refused: .*takes no/,
    );
    await run.start({ at: 'cutover', settings: { stages: [{ name: 'reads', percentage: 50, soakSeconds: 3600 }] } });
    await run.until((status) => status.routing['sessions']?.percentage === 50);
    expect(await byHand(run, 'rollback', `${root}/rollback`)).toEqual({ passedOnTo: root });
    await run.until((status) => status.state === 'parked' && status.routing['sessions']?.percentage === 0);
  });
});

test('started by hand or by a command, each is found by the name of its migration', async () => {
  const stubs = { ...begun, searchAttributesKnown: () => true };
  await withWorkflows({ stubs }, async (run) => {
    const id = `migration/${run.name}/validation`;
    await byHand(run, 'validation', id, {});
    const { searchAttributes } = await run.client.workflow.getHandle(id).describe();
    expect(searchAttributes['MigrationName']).toEqual([run.name]);
    await run.start({ until: 'preparation' });
    await run.handle().result();
  });
});
