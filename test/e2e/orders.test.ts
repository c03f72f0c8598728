// Orders during the cutover: from the command line and as bare signals, good ones obeyed within a second, bad ones refused aloud.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readSettings } from '../../core/settings.ts';
import { setCutoverPercentageUpdate } from '../../workflows/contract.ts';
import { within } from '../support/within.ts';
import { World } from '../support/world.ts';

let world: World;
const signal = (name: string, payload?: unknown) =>
  world.temporal.workflow.getHandle(`migration/${world.name}`).signal(name, payload);
const percentages = async () => [
  ...new Set(
    (await world.rows<{ percentage: number }>('select percentage from migration_control.routing')).map(
      (row) => row.percentage,
    ),
  ),
];

beforeAll(async () => {
  world = await World.open('orders');
  await world.seed(1000, 0.02);
  await world.worker();
  const stages = [
    { name: 'first', percentage: 10, soakSeconds: 600 },
    { name: 'writes', percentage: 100, writes: 'new_system', soakSeconds: 0, approve: true },
  ];
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({ stages, configurationDirectory: join(world.home, 'configuration'), quarantineBudget: 0.9 }),
  );
  expect((await world.causeway(['start', '--config', join(world.home, 'settings.json')])).code).toBe(0);
  await world.until((status) => Object.values(status.routing).some((route) => route.percentage === 10));
});
afterAll(() => world.close());

test('a signal changes the routing row within a second, for all collections or for one', async () => {
  const started = Date.now();
  await signal('setCutoverPercentage', { percentage: 25 });
  await vi.waitFor(async () => expect(await percentages()).toEqual([25]), { timeout: 5000, interval: 20 });
  expect(Date.now() - started).toBeLessThan(within(1000));
  await signal('setCutoverPercentage', { percentage: 30, collection: 'sessions' });
  await vi.waitFor(async () => expect((await percentages()).sort()).toEqual([25, 30]), { timeout: 5000, interval: 20 });
});

test('bad payloads are refused with a reason in status, and the workflow lives on', async () => {
  const bad: unknown[] = [
    { percentage: 250 },
    'x',
    { percentage: 12.5 },
    null,
    {},
    { percentage: 5, colection: 'x' },
    { percentage: 5, collection: 'nothing' },
    [],
    7,
    { percentage: '50' },
  ];
  for (const payload of bad) await signal('setCutoverPercentage', payload);
  for (const name of ['approve', 'rollback', 'abort', 'reportIncident']) await signal(name, 'x');
  await signal('setCutoverPercentage');
  const status = await world.until((one) => one.refused.length >= bad.length + 5, 20_000);
  expect(status.state).toBe('running');
  expect(status.refused[0]!.reason).toContain('percentage');
  expect((await percentages()).sort()).toEqual([25, 30]);
});

test('the command line is answered: with the new routing, or with a refusal', async () => {
  const set = await world.causeway(['cutover', 'set', '40', '--json']);
  expect(set.code, set.stderr).toBe(0);
  expect((JSON.parse(set.stdout) as Record<string, { percentage: number }>)['token_usage']!.percentage).toBe(40);
  expect((await world.causeway(['cutover', 'set', '140'])).code).toBe(2);
  const unknown = await world.causeway(['cutover', 'set', '10', '--collection', 'nothing']);
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toContain('there is no nothing');
  expect((await world.causeway(['retry'])).code).toBe(1);
  const snapshot = await world.causeway(['rollback', '--to', 'before-lunch']);
  expect(snapshot.code).toBe(1);
  expect(snapshot.stderr).toContain('`causeway checkpoint restore before-lunch` puts it back');
});

test('an order that is not carried out fails with the reason: nothing has moved, and nobody is told that it has', async () => {
  await world.pool.query(`insert into migration_control.restores (checkpoint, manifest_sha256) values ('before', '')`);
  const set = await world.causeway(['cutover', 'set', '60', '--json']);
  await world.pool.query('delete from migration_control.restores');
  expect([set.code, set.stdout]).toEqual([1, '']);
  expect(set.stderr).toMatch(
    /The traffic was not moved\. The restore of checkpoint before, begun at .*send the order again/,
  );
  expect((await world.query()).refused.at(-1)!.reason).toContain('The restore of checkpoint before');
  expect(await percentages()).toEqual([40]);
});

test('who sends an order while another is carried out is answered when the own one has been', async () => {
  const set = (percentage: number) =>
    world.temporal.workflow
      .getHandle(`migration/${world.name}`)
      .startUpdate(setCutoverPercentageUpdate, { args: [{ percentage }], waitForStage: 'ACCEPTED' });
  const client = await world.pool.connect();
  try {
    await client.query('begin; select 1 from migration_control.routing for update');
    const first = await set(35);
    // The first order is being carried out, and waits.
    await vi.waitFor(async () =>
      expect(await world.rows(`select 1 from pg_locks where locktype = 'transactionid' and not granted`)).not.toEqual(
        [],
      ),
    );
    const second = await set(40);
    await client.query('rollback');
    const answers = await Promise.all([first.result(), second.result()]);
    expect(answers.map((routes) => routes['token_usage']!.percentage)).toEqual([35, 40]);
  } finally {
    await client.query('rollback');
    client.release();
  }
});

test('a pause holds, resume goes on with the routing as the operator left it', async () => {
  expect((await world.causeway(['pause'])).code).toBe(0);
  expect((await world.query()).state).toBe('paused');
  expect((await world.causeway(['resume'])).code).toBe(0);
  const status = await world.until((one) => one.state === 'running');
  expect(status.phase).toBe('cutover');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(await percentages()).toEqual([40]);
});

test('an incident while the migration is paused takes all traffic back', async () => {
  expect((await world.causeway(['pause'])).code).toBe(0);
  expect(await percentages()).toEqual([40]);
  expect((await world.causeway(['incident', 'complete_system_failure'])).code).toBe(0);
  const status = await world.until((one) => one.state === 'parked', 60_000);
  expect(status.lastError!.message).toContain(
    'went back to the old system: incident reported: complete_system_failure',
  );
  expect(await percentages()).toEqual([0]);
  expect((await world.causeway(['retry'])).code).toBe(0);
  await vi.waitFor(async () => expect(await percentages()).toEqual([10]), { timeout: 30_000 });
});

test('an incident while a stage waits for its approval is not kept for later: all goes back, and writes do not move', async () => {
  await signal('advanceStage');
  await world.until((status) => status.waitingFor?.includes('writes') === true);
  const advanced = await world.causeway(['cutover', 'advance']);
  expect([advanced.code, advanced.stderr]).toEqual([
    1,
    expect.stringContaining('waits for approve {"gate": "writes"}'),
  ]);
  expect((await world.causeway(['incident', 'rain'])).stderr).toContain('the kind is one of data_corruption');
  const reported = await world.causeway(['incident', 'data_corruption', '--detail', 'found by an auditor']);
  expect(reported.code, reported.stderr).toBe(0);
  const status = await world.until((one) => one.state === 'parked', 60_000);
  expect(status.lastError).toMatchObject({ type: 'StageFailed' });
  expect(status.lastError!.message).toContain('incident reported: data_corruption');
  expect(await percentages()).toEqual([0]);
  expect(await world.rows('select distinct write_mode from migration_control.routing')).toEqual([
    { write_mode: 'dual_write' },
  ]);
  expect((await world.causeway(['retry'])).code).toBe(0);
  await vi.waitFor(async () => expect(await percentages()).toEqual([10]), { timeout: 30_000 });
});

test('an incident while a stage is watched, as a bare signal: all goes back', async () => {
  await signal('reportIncident', { kind: 'security_breach' });
  const status = await world.until((one) => one.state === 'parked', 60_000);
  expect(status.lastError!.message).toContain('security_breach: reported');
  expect(await percentages()).toEqual([0]);
  expect((await world.causeway(['retry'])).code).toBe(0);
  await vi.waitFor(async () => expect(await percentages()).toEqual([10]), { timeout: 30_000 });
});

test('a rollback that could not be ordered is not shown as one that could', async () => {
  const dry = await world.causeway(['rollback', '--to', 'nowhere', '--dry-run']);
  expect([dry.code, dry.stdout]).toEqual([2, '']);
  expect(dry.stderr).toContain('There is no way back to nowhere. Known: preparation, schema, data, old, first');
  const known = await world.causeway(['rollback', '--to', 'first', '--dry-run']);
  expect([known.code, known.stdout]).toEqual([0, 'Would undo, in this order: cutover back to first.\n']);
});

test('a gate waits for its approval and for no other; then the migration completes', async () => {
  const advanced = await world.causeway(['cutover', 'advance']);
  expect(advanced.code, advanced.stderr).toBe(0);
  const waiting = await world.until((status) => status.waitingFor !== null);
  expect(waiting.waitingFor).toContain('writes');
  expect((await world.causeway(['approve', 'other'])).code).toBe(1);
  expect((await world.causeway(['approve', 'writes'])).code).toBe(0);
  const done = await world.until((status) => status.state === 'completed');
  expect(done.waitingFor).toBeNull();
  expect(
    new Set(
      (await world.rows<{ write_mode: string }>('select write_mode from migration_control.routing')).map(
        (row) => row.write_mode,
      ),
    ),
  ).toEqual(new Set(['new_system']));
});

test('a completed migration whose writes have moved is neither begun again nor aborted; the way back loses nothing', async () => {
  await world.rows(
    `insert into api_usage ("timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id)
     values (now(), 'openai', 'born on the new side', 1, 1, 1, 'USD', 's')`,
  );
  const born = () => world.source.collection('token_usage').countDocuments({ model_name: 'born on the new side' });
  await vi.waitFor(async () => expect(await born()).toBe(1), { timeout: 20_000 });
  const held = async () => ({
    rows: await world.rows('select count(*) from api_usage'),
    documents: await world.target.collection('analysis_results_optimized').countDocuments(),
    ledger: await world.rows('select count(*) from migration_control.ledger where not deleted'),
    closed: await world.rows('select count(*) from migration_control.closed_collections'),
  });
  const before = await held();
  for (const [order, says] of [
    [['start'], /is completed: the new system has the writes of .*`causeway rollback --to old`/],
    [
      ['abort', '--reason', 'test'],
      /is not aborted, because the new system has the writes of .*`causeway rollback --to old`/,
    ],
  ] as const) {
    const refused = await world.causeway(order);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(says)]);
  }
  // Past the command line the workflow itself refuses.
  const { settings } = readSettings({}) as { settings: object };
  const args = [{ name: world.name, settings, until: 'cutover' }];
  const { taskQueue } = await world.temporal.workflow.getHandle(`migration/${world.name}`).describe();
  const started = await world.temporal.workflow.start('migration', {
    workflowId: `migration/${world.name}`,
    taskQueue,
    args,
  });
  await expect(started.result()).rejects.toMatchObject({
    cause: { message: expect.stringContaining('There is nothing to start') as string },
  });
  expect(await held()).toEqual(before);
  expect(await world.status()).toMatchObject({ state: 'completed', phase: 'cutover' });
});

test('a migration that has ended names the ways back it has, and tells where traffic goes now', async () => {
  const stage = await world.causeway(['rollback', '--to', 'first', '--reason', 'test']);
  expect(stage.code).toBe(2);
  expect(stage.stderr).toContain('There is no way back to first: the migration is completed');
  expect(stage.stderr).toContain('`--to old` (reads and writes to the old system, what was copied stays)');
  expect(stage.stderr).toContain('`--to schema`, `--to data`, no --to');
  expect(stage.stderr).not.toContain('`--to cutover`');
  for (const order of [
    ['incident', 'data_corruption'],
    ['pause'],
    ['resume'],
    ['retry'],
    ['approve', 'writes'],
    ['cutover', 'set', '5'],
    ['cutover', 'advance'],
  ]) {
    const refused = await world.causeway(order);
    expect([refused.code, order, refused.stderr]).toEqual([
      1,
      order,
      expect.stringMatching(/is completed, and nothing of it runs.*`causeway rollback --to old`/),
    ]);
  }
  const there = await world.causeway(['rollback', '--to', 'cutover']);
  expect([there.code, there.stdout]).toEqual([0, 'Nothing to undo: the migration stands there.\n']);
  const routes = async () =>
    new Set(Object.values((await world.status()).routing).map((one) => `${one.percentage} ${one.writeMode}`));
  expect(await routes()).toEqual(new Set(['100 new_system']));
  expect((await world.causeway(['rollback', '--to', 'old', '--reason', 'test', '--wait'])).code).toBe(0);
  expect(await routes()).toEqual(new Set(['0 old']));
  expect(await world.status()).toMatchObject({ phase: 'cutover', state: 'stopped', waitingFor: 'causeway start' });
  expect(await world.source.collection('token_usage').countDocuments({ model_name: 'born on the new side' })).toBe(1);
});

test('a migration that has ended can still be rolled back, and afterwards nothing of it is left', async () => {
  const dry = await world.causeway(['rollback', '--dry-run', '--json']);
  expect((JSON.parse(dry.stdout) as { undo: string[] }).undo).toEqual(['data', 'schema', 'preparation']);
  const rolled = await world.causeway(['rollback', '--reason', 'test', '--wait']);
  expect(rolled.code, rolled.stderr + rolled.stdout).toBe(0);
  expect(await world.rows(`select 1 from pg_tables where schemaname in ('public', 'migration_control')`)).toEqual([]);
  expect(await world.target.listCollections().toArray()).toEqual([]);
  expect(await world.redis.dbsize()).toBe(0);
  expect(await world.status()).toMatchObject({ state: 'rolled-back', routing: {} });
});
