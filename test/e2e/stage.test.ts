// A stage as it lives for weeks: its history begins anew again and again, an operator is not overruled, and what it asks at its end is asked.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startTemporal, type OwnTemporal } from '../support/temporal.ts';
import { World } from '../support/world.ts';

let temporal: OwnTemporal;
let world: World;
const stage = 'reads';

beforeAll(async () => {
  // A server that asks for a new history after 60 events, not after thousands.
  temporal = await startTemporal({ 'limit.historyCount.suggestContinueAsNew': 60 });
  world = await World.open('stage', temporal.address);
  await world.seed(600, 0);
  await world.worker();
  const end = { validate: true, performance: true };
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({
      stages: [{ name: stage, percentage: 50, soakSeconds: 8, ...end }],
      sampleSeconds: 0.5,
      sampleRate: 1,
      // One row that differs is enough to propose a way back, which somebody then has to approve.
      policy: { corruptedRecords: { count: 1, severity: 'medium' }, queryTime: { floorMs: 5000 } },
      performance: { seconds: 1, rate: 50, query_response_time: { baseline: 5000, threshold: 5000 } },
      configurationDirectory: join(world.home, 'configuration'),
    }),
  );
});
afterAll(async () => {
  await world?.close();
  await temporal?.stop();
});

const cli = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await world.causeway(args);
  expect(code, stdout + stderr).toBe(0);
  return stdout;
};
const runsOf = async (id: string): Promise<string[]> => {
  const found: string[] = [];
  for await (const one of world.temporal.workflow.list({ query: `WorkflowId = 'migration/${world.name}${id}'` }))
    found.push(one.status.name);
  return found;
};
const percentages = async (collection: string) =>
  (
    await world.rows<{ percentage: number }>(
      'select distinct percentage from migration_control.routing where (collection = $1) order by 1',
      [collection],
    )
  ).map((row) => row.percentage);
const corrupt = (cost: string) =>
  world.pool.query(
    `update public.api_usage set cost = ${cost} where id = (select id from public.api_usage order by id limit 1)`,
  );
const waitingFor = (what: string) =>
  world.until((status) => status.state === 'running' && status.waitingFor?.includes(what) === true, 120_000);

test(
  'an operator who takes a collection back holds the stage, through histories that begin anew',
  { timeout: 300_000 },
  async () => {
    expect((await world.causeway(['start', '--config', join(world.home, 'settings.json')])).code).toBe(0);
    await world.until((status) => status.routing['sessions']?.percentage === 50, 120_000);
    await cli('cutover', 'set', '20', '--collection', 'sessions');
    const { waitingFor: why } = await waitingFor('fewer reads');
    expect(why).toContain('(sessions 20 %). `causeway cutover set 50` sends them there');
    await vi.waitFor(
      async () =>
        expect((await runsOf(`/cutover/${stage}`)).filter((is) => is === 'CONTINUED_AS_NEW').length).toBeGreaterThan(1),
      { timeout: 120_000, interval: 1000 },
    );
    // What was moved before is not moved again, and the stage still knows what it waits for.
    expect(await percentages('sessions')).toEqual([20]);
    expect(await percentages('subscription_users')).toEqual([50]);
    expect((await world.query()).waitingFor).toBe(why);
  },
);

test(
  'a stage that goes on in another history than it began in is stopped by a pause, and goes on as it was',
  { timeout: 300_000 },
  async () => {
    // The root's history is full, too: it has no time to begin anew before it has obeyed, and does so afterwards.
    const root = world.temporal.workflow.getHandle(`migration/${world.name}`);
    const runs = (await runsOf('')).length;
    while ((await root.describe()).historyLength < 60) await cli('cutover', 'set', '20', '--collection', 'sessions');
    await cli('pause');
    await world.until((status) => status.state === 'paused', 60_000);
    expect(await runsOf(`/cutover/${stage}`)).not.toContain('RUNNING');
    await cli('resume');
    await waitingFor('fewer reads');
    expect((await runsOf('')).length).toBe(runs + 1);
    expect(await percentages('sessions')).toEqual([20]);
  },
);

test('a planned way back waits for its approval, and then goes one stage back', { timeout: 300_000 }, async () => {
  await corrupt('cost + 1');
  await waitingFor('"rollback"');
  expect(await percentages('token_usage')).toEqual([50]);
  await cli('approve', 'rollback');
  const status = await world.until((one) => one.state === 'parked', 60_000);
  expect(status.lastError).toMatchObject({ type: 'StageFailed' });
  expect(status.lastError!.message).toContain('corrupted_records');
  expect(await percentages('token_usage')).toEqual([0]);
});

test(
  'a stage that is ended all the same is asked what it was to show: a validation that fails takes it back',
  { timeout: 300_000 },
  async () => {
    await cli('retry');
    await waitingFor('"rollback"');
    await cli('cutover', 'advance');
    const status = await world.until((one) => one.state === 'parked', 120_000);
    expect(status.lastError!.message).toContain('sample_validation');
    expect(await percentages('token_usage')).toEqual([0]);
  },
);

test('when it is mended the stage passes, with its measurement and its validation', { timeout: 300_000 }, async () => {
  await corrupt('cost - 1');
  // The gate asks for a validation that passed.
  await cli('validate');
  await cli('retry');
  await world.until((status) => status.routing['token_usage']?.percentage === 50);
  await cli('cutover', 'advance');
  await world.until((status) => status.state === 'completed', 120_000);
  const [performed] = await world.rows<{ n: string }>(
    'select count(*) as n from migration_control.performance_results',
  );
  expect(Number(performed!.n)).toBeGreaterThan(0);
  const decisions = JSON.parse(await cli('decisions', '--json')) as { decision: string }[];
  expect(decisions.map((one) => one.decision)).toEqual(expect.arrayContaining(['hold', 'rollback, planned, of reads']));
  expect((await runsOf('/capture')).length).toBeGreaterThan(1);
});
