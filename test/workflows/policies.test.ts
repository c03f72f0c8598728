// TimescaleDB's policies are armed when the last stage has passed with writes on the new system, and never before.
import { expect, test } from 'vitest';
import { withWorkflows } from '../support/workflow-env.ts';

const reads = { name: 'reads', percentage: 50, soakSeconds: 1 };
const writes = { name: 'writes', percentage: 100, writes: 'new_system' as const, soakSeconds: 1 };

test('armed once, after the soak of the stage that moved the writes; nothing is dropped for it', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [reads, writes] } });
    expect(await run.handle().result()).toMatchObject({ state: 'completed', stage: 2 });
    expect(run.callsOf('armPolicies')).toEqual([[{ dropOlder: false }]]);
    expect(run.callsOf('switchToNew')).toHaveLength(1);
  });
});

test('not where writes have not moved', async () => {
  await withWorkflows({}, async (run) => {
    await run.start({ at: 'cutover', settings: { stages: [reads] } });
    expect(await run.handle().result()).toMatchObject({ state: 'completed' });
    expect(run.callsOf('armPolicies')).toEqual([]);
  });
});
