// Workflows that a person starts by hand: the smallest natural input runs, a wrong one ends the workflow as failed with a sentence per problem.
import { expect, test } from 'vitest';
import { readSettings, type Settings } from '../../core/settings.ts';
import { withWorkflows, type WorkflowTest } from '../support/workflow-env.ts';

const settings = (readSettings({}) as { settings: Settings }).settings;
const begun = { startedWith: () => ({ settings, collections: ['sessions', 'token_usage'] }) };

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
  await withWorkflows({ stubs: begun }, async (run) => {
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
    for (const type of ['migration', 'validation', 'verification', 'snapshot', 'restore', 'decommission'])
      for (const [n, input] of [7, [], true, { nonsense: 1 }].entries())
        expect(await refused(type, type === 'migration' ? root : `${root}/${type}-${n}`, input), type).toMatch(
          /^The input is refused: /,
        );
    expect(await refused('restore', `${root}/restore`, {})).toMatch(/name: /);
    expect(await refused('decommission', `${root}/decommission`, {})).toMatch(/confirm: give \{"confirm": true\}/);
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
