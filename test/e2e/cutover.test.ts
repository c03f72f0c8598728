// The whole cutover and the way back: 10, 50, 90 % of reads, then the writes; what the new system was given stands in the old one afterwards.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Double, ObjectId } from 'bson';
import { MongoServerError, type Db } from 'mongodb';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { World } from '../support/world.ts';
import { within } from '../support/within.ts';

let world: World;
let before: Map<string, Buffer>;

/** Every document of the old system as its bytes, by collection and id. */
async function bytesOf(db: Db): Promise<Map<string, Buffer>> {
  const result = new Map<string, Buffer>();
  for (const { name } of await db.listCollections({}, { nameOnly: true }).toArray()) {
    if (name.startsWith('causeway') || name.startsWith('system.')) continue;
    for await (const raw of db.collection(name).find({}, { raw: true }) as unknown as AsyncIterable<Buffer>)
      result.set(`${name} ${idOf(raw)}`, Buffer.from(raw));
  }
  return result;
}
/** The `_id` element is the first one; its bytes are the key. */
const idOf = (raw: Buffer): string => {
  const size = raw[4] === 7 ? 12 : raw[4] === 2 ? raw.readInt32LE(9) + 4 : 12;
  return raw.subarray(4, 9 + size).toString('hex');
};
const reverse = async () =>
  JSON.parse((await world.causeway(['reverse', 'status', '--json'])).stdout) as Record<string, number>;
const drained = () =>
  vi.waitFor(async () => expect(await world.rows('select 1 from migration_control.outbox limit 1')).toEqual([]), {
    timeout: 20_000,
    interval: 50,
  });

beforeAll(async () => {
  world = await World.open('cutover');
  await world.seed(3000, 0.05);
  before = await bytesOf(world.source);
  await world.worker();
  const stage = (name: string, percentage: number, writes = 'dual_write') => ({
    name,
    percentage,
    writes,
    soakSeconds: 1,
  });
  const settings = {
    stages: [
      stage('phase_1_reads', 10),
      stage('phase_2_reads', 50),
      stage('phase_3_reads', 90),
      { ...stage('phase_4_writes', 100, 'new_system'), soakSeconds: 600 },
    ],
    sampleSeconds: 0.5,
    // The machine that runs the tests is slow at times, on either side.
    policy: { queryTime: { floorMs: 2000 } },
    quarantineBudget: 0.9,
    configurationDirectory: join(world.home, 'configuration'),
  };
  await writeFile(join(world.home, 'settings.json'), JSON.stringify(settings));
  expect((await world.causeway(['start', '--config', join(world.home, 'settings.json')])).code).toBe(0);
  await world.until(
    (status) => Object.values(status.routing).some((route) => route.writeMode === 'new_system'),
    120_000,
  );
});
afterAll(() => world.close());

test('writes have moved within a second, and the stages before are in the decisions', async () => {
  const [moved] = await world.rows<{ detail: { pauseMs: number } }>(
    `select detail from migration_control.audit_log where action = 'writes moved'`,
  );
  process.stdout.write(`  writers waited ${moved!.detail.pauseMs} ms\n`);
  expect(moved!.detail.pauseMs).toBeLessThan(within(1000));
  const routes = await world.rows<{ percentage: number; write_mode: string }>(
    'select distinct percentage, write_mode from migration_control.routing',
  );
  expect(routes).toEqual([{ percentage: 100, write_mode: 'new_system' }]);
});

test('writers past the library are kept out of the old system; a delete of theirs is noted', async () => {
  const usage = world.source.collection('token_usage');
  await expect(usage.insertOne({ provider: 'deepseek' })).rejects.toThrow(MongoServerError);
  const [one] = await usage.find({ provider: 'deepseek' }).limit(1).toArray();
  await expect(usage.updateOne({ _id: one!._id }, { $set: { cost: 1 } })).rejects.toThrow(/validation/);
  await usage.deleteOne({ _id: one!._id });
  await vi.waitFor(async () => expect((await reverse())['lateWrites']).toBe(1), { timeout: 10_000 });
  // The new system still has it: it is authoritative.
  expect(await world.rows('select 1 from api_usage where source_id = $1', [String(one!._id)])).toHaveLength(1);
});

test('a touched document that says the same comes back byte for byte; nothing else is written', async () => {
  await world.pool
    .query(`update api_usage set cost = cost; update users set full_name = full_name; update user_configs set config_data = config_data;
    update sessions set status = status; update app_metadata set value = value; update market_data set close = close`);
  const optimised = world.target.collection('analysis_results_optimized');
  for (const { _id } of await optimised.find({}, { projection: { _id: 1 } }).toArray()) {
    await optimised.updateOne({ _id }, { $set: { touched: 1 } });
    await optimised.updateOne({ _id }, { $unset: { touched: 1 } });
  }
  await vi.waitFor(async () => expect((await reverse())['unchanged']).toBeGreaterThan(2000), { timeout: 30_000 });
  await drained();
  const after = await bytesOf(world.source);
  const differing = [...before].filter(([key, bytes]) => after.get(key)?.equals(bytes) !== true).map(([key]) => key);
  // The new system is authoritative: it has brought back what the late delete had removed.
  expect(differing).toEqual([]);
  expect([...after.keys()].filter((key) => !before.has(key))).toEqual([]);
});

test('what the new system changes, adds and removes, the old one has', async () => {
  const [changed, removed] = await world.rows<{ source_id: string; cost: string }>(
    `select source_id, cost from api_usage where source_id ~ '^[0-9a-f]{24}$' and source_id in
       (select source_id from migration_control.accounting where collection = 'token_usage' and state = 'loaded') order by source_id desc limit 2`,
  );
  await world.pool.query('update api_usage set cost = cost + 1, provider = $2 where source_id = $1', [
    changed!.source_id,
    'openai',
  ]);
  await world.pool.query('delete from api_usage where source_id = $1', [removed!.source_id]);
  const born = await world.rows<{ source_id: string }>(
    `insert into api_usage ("timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, session_id)
     values (now(), 'deepseek', 'deepseek-chat', 10, 5, 0.25, 'CNY', 'born in the new system') returning source_id`,
  );
  const [user] = await world.rows<{ id: string; source_id: string }>(
    `select id, source_id from users where source_id ~ '^[0-9a-f]{24}$' limit 1`,
  );
  await world.pool.query(
    `insert into user_configs (user_id, config_type, config_data) values ($1, 'preferences', '{"theme": "dark"}')
     on conflict (user_id, config_type) do update set config_data = excluded.config_data`,
    [user!.id],
  );
  const optimised = world.target.collection('analysis_results_optimized');
  const [analysis] = await optimised.find({}).limit(1).toArray();
  await optimised.updateOne({ _id: analysis!._id }, { $set: { status: 'reviewed' } });
  await vi.waitFor(
    async () => {
      const usage = world.source.collection('token_usage');
      const now = await usage.findOne({ _id: new ObjectId(changed!.source_id) });
      expect(now).toMatchObject({ provider: 'openai' });
      expect(Number(now!['cost'])).toBeCloseTo(Number(changed!.cost) + 1, 9);
      expect(await usage.findOne({ _id: new ObjectId(removed!.source_id) })).toBeNull();
      expect(await usage.findOne({ _id: new ObjectId(born[0]!.source_id) })).toMatchObject({
        provider: 'deepseek',
        input_tokens: 10,
        session_id: 'born in the new system',
      });
      const people = await Promise.all(
        ['subscription_users', 'users'].map((name) =>
          world.source.collection(name).findOne({ _id: new ObjectId(user!.source_id) }),
        ),
      );
      expect(people.find((one) => one !== null)).toMatchObject({ preferences: { theme: 'dark' } });
      const reports = await Promise.all(
        ['analysis_results', 'analysis_reports'].map((name) =>
          world.source.collection(name).findOne({ _id: analysis!._id }),
        ),
      );
      expect(reports.find((one) => one !== null)).toMatchObject({ status: 'reviewed' });
    },
    { timeout: 20_000, interval: 200 },
  );
  await drained();
  // Our own writes to the old system are no news to capture.
  expect((await reverse())['lateWrites']).toBe(1);
  await expect(world.pool.query('truncate api_usage')).rejects.toThrow(/TRUNCATE/);
});

test('back to 90 % and dual write, then everything to the old system; nothing of the new system is lost', async () => {
  const afterBefore = await bytesOf(world.source);
  // No document of the old system can have this id.
  await world.pool.query(
    `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency)
     values ('u-17', now(), 'deepseek', 'deepseek-chat', 1, 1, 0.1, 'CNY')`,
  );
  await drained();
  const back = await world.causeway(['rollback', '--to', 'phase_3_reads', '--reason', 'test']);
  expect(back.code, back.stderr).toBe(0);
  const missing = await world.until((status) => status.state === 'parked', 60_000);
  expect(missing.lastError).toMatchObject({ type: 'CompensationFailed' });
  expect(missing.lastError!.message).toContain('1 of token_usage. `causeway reverse status` lists them.');
  expect((await world.causeway(['reverse', 'accept', '--reason', 'test'])).code).toBe(0);
  expect((await world.causeway(['retry'])).code).toBe(0);
  const parked = await world.until((status) => status.state === 'parked' && status.lastError === null, 60_000);
  expect(parked.lastError).toBeNull();
  expect(new Set(Object.values(parked.routing).map((route) => `${route.percentage} ${route.writeMode}`))).toEqual(
    new Set(['90 dual_write']),
  );
  // Writers past the library may write again, and the late delete has reached the new system.
  const inserted = await world.source.collection('token_usage').insertOne({
    timestamp: new Date(),
    provider: 'deepseek',
    model_name: 'deepseek-chat',
    input_tokens: 1,
    output_tokens: 1,
    cost: new Double(0.5),
    currency: 'CNY',
  });
  await vi.waitFor(
    async () =>
      expect(
        await world.rows('select 1 from api_usage where source_id = $1', [String(inserted.insertedId)]),
      ).toHaveLength(1),
    { timeout: 20_000 },
  );
  expect((await world.causeway(['rollback', '--to', 'old', '--reason', 'test', '--wait'])).code).toBe(0);
  await vi.waitFor(
    async () =>
      expect(await world.rows('select distinct percentage, write_mode from migration_control.routing')).toEqual([
        { percentage: 0, write_mode: 'old' },
      ]),
    { timeout: 30_000 },
  );
  const now = await bytesOf(world.source);
  for (const [key, bytes] of afterBefore) expect(now.get(key)?.equals(bytes), key).toBe(true);
  expect(
    await world.rows(`select 1 from pg_trigger where tgname like 'causeway%' and tgname <> 'causeway_fill'`),
  ).toEqual([]);
  expect((await world.source.listCollections({ name: 'causeway_reverse' }).toArray()).length).toBe(0);
});
