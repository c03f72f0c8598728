// The dual write against real stores: the old system's answer is the answer, the new one has the document at once, and capture mends what failed.
import { once } from 'node:events';
import { Double, ObjectId } from 'bson';
import type { Document } from 'mongodb';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openResources, type Resources } from '../../activities/resources.ts';
import { route } from '../../activities/route.ts';
import type { Route } from '../../core/state.ts';
import { DualWriteManager, type SecondWriteFailure } from '../../traffic/dual-write.ts';
import { checkEqual } from '../support/checker.ts';
import { cuttable } from '../support/cuttable.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let manager: DualWriteManager;
let worker: Awaited<ReturnType<World['worker']>>;
let routes: Record<string, Route> = {};
const failures: SecondWriteFailure[] = [];
const routeOf = (collection: string): Route => routes[collection] ?? { percentage: 0, writeMode: 'old', epoch: 0 };

beforeAll(async () => {
  world = await World.open('dual');
  await world.seed(2000, 0);
  worker = await world.worker();
  expect((await world.causeway(['start', '--until', 'data', '--wait'])).code).toBe(0);
  resources = await world.resources();
  manager = await DualWriteManager.open({
    source: { client: world.source.client, db: world.source },
    targets: resources,
    routes: {
      routeOf,
      admit: (collection) =>
        Promise.resolve({ route: routeOf(collection), waitedMs: 0, isUncertain: false, done: () => undefined }),
    },
    settings: { zone: 'Asia/Shanghai', providers: [] },
    sampleRate: 1,
    onFailure: (failure) => failures.push(failure),
  });
});
afterAll(async () => {
  manager.close();
  await resources.close();
  await world.close();
});

const turn = async (writeMode: Route['writeMode']) => {
  const collections = ['token_usage', 'analysis_results', 'sessions'];
  routes = await route(resources, { collections, percentage: 0, writeMode, reason: 'test' });
};
const usage = (more: Document = {}): Document => ({
  _id: new ObjectId(),
  timestamp: new Date(),
  provider: 'deepseek',
  model_name: 'deepseek-chat',
  input_tokens: 10,
  output_tokens: 5,
  cost: new Double(0.25),
  currency: 'CNY',
  session_id: 'dual',
  analysis_type: 'stock_analysis',
  ...more,
});
const tokensOf = async (id: unknown) =>
  (
    await world.rows<{ input_tokens: string }>('select input_tokens from api_usage where source_id = $1', [String(id)])
  ).map((row) => Number(row.input_tokens));
const inOld = (id: unknown) => world.source.collection('token_usage').findOne({ _id: id as never });

test('off: only the old system is written; on: each operation answers as the driver does, and the new system has it', async () => {
  // Without a worker nothing is captured: what arrives came by the second write.
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  const dual = manager.collection('token_usage');
  const [a, b, c, d, e] = [usage(), usage(), usage(), usage(), usage()] as [
    Document,
    Document,
    Document,
    Document,
    Document,
  ];
  await dual.insertOne(a);
  expect([(await inOld(a['_id'])) !== null, await tokensOf(a['_id'])]).toEqual([true, []]);

  await turn('dual_write');
  expect(await dual.insertOne(b)).toMatchObject({ acknowledged: true, insertedId: b['_id'] as unknown });
  expect(await tokensOf(b['_id'])).toEqual([10]);
  expect((await dual.insertMany([c, d, e])).insertedCount).toBe(3);
  expect(await tokensOf(e['_id'])).toEqual([10]);
  expect(await dual.updateOne({ _id: b['_id'] as never }, { $set: { input_tokens: 11 } })).toMatchObject({
    modifiedCount: 1,
  });
  expect(await tokensOf(b['_id'])).toEqual([11]);
  const several = { _id: { $in: [c['_id'], d['_id']] as never[] } };
  expect((await dual.updateMany(several, { $inc: { input_tokens: 2 } })).modifiedCount).toBe(2);
  expect([await tokensOf(c['_id']), await tokensOf(d['_id'])]).toEqual([[12], [12]]);
  const { _id, ...replacement } = usage({ input_tokens: 77, timestamp: new Date(Date.now() - 60 * 86_400_000) });
  expect(_id).toBeDefined();
  await dual.replaceOne({ _id: e['_id'] as never }, replacement);
  expect(await tokensOf(e['_id'])).toEqual([77]);
  const before = await dual.findOneAndUpdate({ session_id: 'dual', input_tokens: 77 }, { $set: { input_tokens: 78 } });
  expect(Number(before!['input_tokens'])).toBe(77);
  expect(await tokensOf(e['_id'])).toEqual([78]);
  const { _id: none, ...fresh } = usage({ input_tokens: 5 });
  expect(none).toBeDefined();
  const upserted = await dual.updateOne({ _id: new ObjectId() as never }, { $set: fresh }, { upsert: true });
  expect(await tokensOf(upserted.upsertedId)).toEqual([5]);
  const f = usage();
  await dual.bulkWrite([
    { insertOne: { document: f as never } },
    { updateOne: { filter: { _id: c['_id'] as never }, update: { $set: { input_tokens: 99 } } } },
    { deleteOne: { filter: { _id: d['_id'] as never } } },
  ]);
  expect([await tokensOf(f['_id']), await tokensOf(c['_id']), await tokensOf(d['_id'])]).toEqual([[10], [99], []]);
  await dual.findOneAndDelete({ _id: f['_id'] as never });
  expect((await dual.deleteMany({ _id: { $in: [c['_id'], e['_id']] as never[] } })).deletedCount).toBe(2);
  expect([await tokensOf(f['_id']), await tokensOf(c['_id']), await tokensOf(e['_id'])]).toEqual([[], [], []]);
  expect(failures).toEqual([]);
});

test('what fails on the old system fails, and is not written to the new one', async () => {
  const twice = usage();
  const dual = manager.collection('token_usage');
  await dual.insertOne(twice);
  await expect(dual.insertOne({ ...twice, input_tokens: 1 })).rejects.toMatchObject({ code: 11000 });
  expect(await tokensOf(twice['_id'])).toEqual([10]);
});

test('a session of the caller is refused before anything is written; a transaction within `write` goes to both', async () => {
  const dual = manager.collection('token_usage');
  const session = world.source.client.startSession();
  const [a, b, c] = [usage(), usage(), usage()] as [Document, Document, Document];
  await dual.insertOne(a);
  const id = { _id: a['_id'] as never };
  const given = { session } as object;
  const { _id: _, ...replacement } = usage({ input_tokens: 666 });
  session.startTransaction();
  for (const write of [
    () => dual.insertOne(b, given),
    () => dual.insertMany([b], given),
    () => dual.updateOne(id, { $set: { input_tokens: 666 } }, given),
    () => dual.updateMany(id, { $set: { input_tokens: 666 } }, given),
    () => dual.replaceOne(id, replacement, given),
    () => dual.deleteOne(id, given),
    () => dual.deleteMany(id, given),
    () => dual.findOneAndUpdate(id, { $set: { input_tokens: 666 } }, given),
    () => dual.findOneAndReplace(id, replacement, given),
    () => dual.findOneAndDelete(id, given),
    () => dual.bulkWrite([{ insertOne: { document: b as never } }], given),
    () => dual.findOneAndDelete(id, { includeResultMetadata: true } as object),
  ])
    await expect(write()).rejects.toThrow(/is refused, nothing was written/);
  await session.commitTransaction();
  await session.endSession();
  expect(await inOld(a['_id'])).toMatchObject({ input_tokens: 10 });
  expect([await inOld(b['_id']), await tokensOf(a['_id'])]).toEqual([null, [10]]);

  const written = await manager.write(
    'token_usage',
    (old, own) =>
      own.withTransaction(async () => {
        await old.insertMany([b, c] as never[], { session: own });
        await old.updateOne(id, { $set: { input_tokens: 12 } }, { session: own });
        return [a['_id'], b['_id'], c['_id']];
      }),
    (ids) => ids,
  );
  expect(written).toHaveLength(3);
  expect([await tokensOf(a['_id']), await tokensOf(b['_id']), await tokensOf(c['_id'])]).toEqual([[12], [10], [10]]);
  expect(failures).toEqual([]);
});

test('what decides which document is met decides which is written a second time', async () => {
  const dual = manager.collection('token_usage');
  const [first, last] = [usage({ session_id: 'two of it' }), usage({ session_id: 'two of it', input_tokens: 20 })];
  await dual.insertMany([first, last]);
  const met = { session_id: 'two of it' };
  await dual.updateOne(met, { $set: { input_tokens: 21 } }, { sort: { input_tokens: -1 } });
  expect([await tokensOf(first['_id']), await tokensOf(last['_id'])]).toEqual([[10], [21]]);
  await dual.updateMany(
    { $expr: { $eq: ['$session_id', '$$of'] } },
    { $set: { output_tokens: 7 } },
    { let: { of: 'two of it' } },
  );
  const rows = await world.rows('select output_tokens from api_usage where source_id = any($1)', [
    [String(first['_id']), String(last['_id'])],
  ]);
  expect(rows).toEqual([{ output_tokens: '7' }, { output_tokens: '7' }]);
});

test('documents and keys: MongoDB and Redis are written, and a deleted one leaves them', async () => {
  const now = Date.now();
  const session = {
    _id: new ObjectId(),
    session_id: `dual-${now}`,
    user_id: 'nobody',
    status: 'active',
    created_at: new Date(now),
    expires_at: new Date(now + 3_600_000),
    data: { a: 1 },
  };
  await manager.collection('sessions').insertOne(session);
  expect(JSON.parse((await world.redis.get(`session:dual-${now}`))!)).toMatchObject({ session_id: `dual-${now}` });
  await manager.collection('sessions').deleteOne({ _id: session._id });
  expect(await world.redis.get(`session:dual-${now}`)).toBeNull();
  const one = (await world.source.collection('analysis_results').findOne({}))!;
  await manager
    .collection('analysis_results')
    .updateOne({ _id: one._id }, { $set: { summary: 'changed by the application' } });
  expect(
    JSON.stringify(await world.target.collection('analysis_results_optimized').findOne({ _id: one._id })),
  ).toContain('changed by the application');
});

test('a target MongoDB that is frozen holds up one write, no longer than its time-out, and is then left to capture', async () => {
  const line = await cuttable(world.environment['TARGET_MONGODB_URL']!);
  const url = (name: string) => world.environment[name]!;
  const own = await openResources(
    {
      source: url('SOURCE_MONGODB_URL'),
      postgres: url('TARGET_POSTGRES_URL'),
      mongodb: line.url,
      redis: url('TARGET_REDIS_URL'),
    },
    world.home,
    { host: 'frozen', process: 'frozen' },
  );
  await turn('dual_write');
  const told: SecondWriteFailure[] = [];
  const dual = await DualWriteManager.open({
    source: { client: world.source.client, db: world.source },
    targets: own,
    routes: {
      routeOf,
      admit: (collection) =>
        Promise.resolve({ route: routeOf(collection), waitedMs: 0, isUncertain: false, done: () => undefined }),
    },
    settings: { zone: 'Asia/Shanghai', providers: [] },
    timeoutMs: 800,
    onFailure: (failure) => told.push(failure),
  });
  const example = (await world.source.collection('analysis_results').findOne({}))!;
  const analysis = async () => {
    const from = performance.now();
    await dual
      .collection('analysis_results')
      .insertOne({ ...example, _id: new ObjectId(), analysis_id: new ObjectId().toHexString() });
    return performance.now() - from;
  };
  try {
    await vi.waitFor(
      async () => {
        await analysis();
        expect(dual.counters.second).toBeGreaterThan(0);
      },
      { timeout: 20_000, interval: 500 },
    );
    told.length = 0;
    line.hold();
    expect(await analysis()).toBeLessThan(1800);
    expect(await analysis()).toBeLessThan(400);
    expect(told).toMatchObject([
      { class: 'in-flight', reason: 'the second write took longer than 800 ms', documents: 1 },
      { class: 'in-flight', reason: 'a store of the new system is away: left to change capture', documents: 1 },
    ]);
    expect(dual.counters.failed.defect).toBe(0);
    await vi.waitFor(async () =>
      expect(
        await world.rows(
          `select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
        ),
      ).toEqual([]),
    );
    // A mapping that has nothing there is written as ever.
    const before = dual.counters.second;
    await dual.collection('token_usage').insertOne(usage());
    expect(dual.counters.second).toBe(before + 1);
    line.release();
    await vi.waitFor(
      async () => {
        const second = dual.counters.second;
        await analysis();
        expect(dual.counters.second).toBe(second + 1);
      },
      { timeout: 30_000, interval: 500 },
    );
  } finally {
    line.release();
    dual.close();
    await own.close();
    line.cut();
  }
});

test('a stale epoch is refused, a bad document is set aside, and capture brings what is missing', async () => {
  const stale = { ...routes };
  await turn('old');
  await turn('dual_write');
  const current = routes;
  routes = stale;
  const late = usage();
  await manager.collection('token_usage').insertOne(late);
  routes = current;
  expect(await tokensOf(late['_id'])).toEqual([]);
  expect(failures.at(-1)).toMatchObject({
    class: 'in-flight',
    documents: 1,
    reason: expect.stringContaining('routing of token_usage') as string,
  });
  const bad = usage({ timestamp: 'no time at all' });
  await manager.collection('token_usage').insertOne(bad);
  expect(failures.at(-1)).toMatchObject({ class: 'expected', documents: 1 });
  expect(JSON.stringify(failures)).not.toContain('no time at all');

  worker = await world.worker();
  await vi.waitFor(async () => expect((await manager.validate()).repaired).toBeGreaterThan(0), {
    timeout: 30_000,
    interval: 300,
  });
  expect(await tokensOf(late['_id'])).toEqual([10]);
  await expect.poll(() => checkEqual(world.environment as never), { timeout: 20_000 }).toEqual([]);
  // A good version leaves quarantine by itself.
  await world.source
    .collection('token_usage')
    .updateOne({ _id: bad['_id'] as never }, { $set: { timestamp: new Date() } });
  await expect.poll(() => tokensOf(bad['_id']), { timeout: 10_000 }).toEqual([10]);
  const open = await world.rows(
    'select 1 from migration_control.migration_errors where source_id = $1 and resolved_at is null',
    [String(bad['_id'])],
  );
  expect(open).toEqual([]);
  await vi.waitFor(async () => expect((await manager.validate()).sampled).toMatchObject({ pending: 0, unequal: 0 }), {
    timeout: 20_000,
    interval: 300,
  });
  // One per document, however often it was written.
  expect(manager.counters.sampled.equal).toBeGreaterThan(5);
});
