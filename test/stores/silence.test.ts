// Stores that say nothing any more, or are away for some seconds: what waited for them fails and goes on, and a worker that is cut off takes no work.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import getPort from 'get-port';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openResources, type Resources } from '../../activities/resources.ts';
import { preflight, toReach } from '../../activities/preflight/index.ts';
import { route } from '../../activities/route.ts';
import { Outlast } from '../../cli/outlast.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { showWorker, suspendedNow } from '../../control/workers.ts';
import { settingsSchema } from '../../core/settings.ts';
import { openMongo, mongo } from '../../stores/mongodb/connection.ts';
import { batchesOf, RangeRead } from '../../stores/mongodb/source.ts';
import { inTransaction, openPool, query } from '../../stores/postgres/connection.ts';
import { openRedis, redis } from '../../stores/redis/connection.ts';
import { TrafficMetrics } from '../../traffic/metrics.ts';
import { Router } from '../../traffic/router.ts';
import { StoreWatch, type Ask } from '../../workers/store-watch.ts';
import { cuttable } from '../support/cuttable.ts';
import { FaultyLine, type Fault } from '../support/faulty-line.ts';
import { World } from '../support/world.ts';

let world: World;
const toEnd: (() => unknown)[] = [];
beforeAll(async () => {
  world = await World.open('silence');
});
afterAll(() => world.close());
afterEach(async () => {
  for (const end of toEnd.splice(0).reverse()) await end();
});

async function line(protocol: 'mongodb' | 'postgres' | 'redis', url: string): Promise<FaultyLine> {
  const opened = await FaultyLine.open(protocol, url);
  toEnd.push(() => opened.close());
  return opened;
}
/** The request of this number is given the fault. */
const at = (number: number, fault: Fault) => (asked: { number: number }) =>
  asked.number === number ? fault : undefined;

test.each(['silent', 'half-open'] as const)(
  'a transaction whose connection is %s fails as of a store that is away; one that the server is at work on does not',
  { timeout: 60_000 },
  async (fault) => {
    const postgres = await line('postgres', world.environment['TARGET_POSTGRES_URL']!);
    const pool = openPool(postgres.url, 2, { askAfterMs: 300 });
    toEnd.push(() => pool.end());
    await query(pool, 'greeting', 'select 1');
    postgres.watch(at(2, fault));
    const began = performance.now();
    await expect(
      inTransaction(pool, 'testing', async (client) => {
        await client.query('select 1');
        await client.query('select 2');
      }),
    ).rejects.toMatchObject({ type: 'StoreUnreachable' });
    expect(performance.now() - began).toBeLessThan(15_000);
    postgres.watch();
    // At work for longer than the silence that is asked about, then idle within its transaction for as long.
    const slow = await inTransaction(pool, 'testing', async (client) => {
      await client.query('select pg_sleep(2)');
      await sleep(1500);
      return (await client.query<{ n: number }>('select 7 as n')).rows[0]!.n;
    });
    expect(slow).toBe(7);
  },
);

test('a command to Redis whose connection falls silent is asked again on another', { timeout: 60_000 }, async () => {
  const wire = await line('redis', world.environment['TARGET_REDIS_URL']!);
  const connection = openRedis(wire.url, 1500);
  toEnd.push(() => connection.disconnect());
  await connection.ping();
  wire.watch(at(1, 'silent'));
  expect(await redis('setting', () => connection.set('silence', '1'))).toBe('OK');
  expect(await world.redis.get('silence')).toBe('1');
});

test('a command to MongoDB whose connection falls silent fails or is asked again', { timeout: 60_000 }, async () => {
  const wire = await line('mongodb', world.environment['TARGET_MONGODB_URL']!);
  const { client, db } = openMongo(`${wire.url}${wire.url.includes('?') ? '&' : '?'}socketTimeoutMS=2000`, 'target');
  toEnd.push(() => client.close());
  await db.command({ ping: 1 });
  wire.watch(at(1, 'half-open'));
  const answered = await mongo('asking', () => db.collection('silence').insertOne({ a: 1 })).then(
    () => 'OK',
    (error: { type: string }) => error.type,
  );
  expect(['OK', 'StoreUnreachable']).toContain(answered);
});

test(
  'a range of the source, and a whole collection, are read on when the connection falls silent',
  { timeout: 60_000 },
  async () => {
    await world.target.collection('read').insertMany([{ a: 1 }, { a: 2 }]);
    const wire = await line('mongodb', world.environment['TARGET_MONGODB_URL']!);
    const { client, db } = openMongo(`${wire.url}${wire.url.includes('?') ? '&' : '?'}socketTimeoutMS=300`, 'source');
    toEnd.push(() => client.close());
    const range = await RangeRead.open(client, db, 'read', { after: null, upTo: null }, 100);
    toEnd.push(() => range.close());
    wire.watch(at(1, 'silent'));
    expect(await range.next(10)).toHaveLength(2);
    wire.watch(at(1, 'silent'));
    const batches: unknown[] = [];
    for await (const batch of batchesOf(db, 'read')) batches.push(...batch);
    expect(batches).toHaveLength(2);
  },
);

test('`start` outlasts a Redis that is away for some seconds, and says so', async () => {
  await world.seed(20, 0);
  const wire = await cuttable(world.environment['TARGET_REDIS_URL']!);
  const own = { ...world, environment: { ...world.environment, TARGET_REDIS_URL: wire.url } };
  const resources: Resources = await World.prototype.resources.call(own);
  toEnd.push(
    () => wire.cut(),
    () => resources.close(),
  );
  const said: string[] = [];
  const outlast = new Outlast((text) => said.push(text));
  wire.cut();
  const checking = outlast
    .reach(Object.values(toReach(resources)))
    .then(() => outlast.through(() => preflight(resources, world.name, settingsSchema.parse({}), 'data')));
  await sleep(3000);
  await wire.mend();
  expect((await checking).length).toBeGreaterThan(5);
  expect(said).toHaveLength(1);
  expect(said[0]).toMatch(/Redis.*asked again/);
});

test('a store that is not there is told of at once and waited for no longer than any other: nobody listens, or nobody answers', async () => {
  const refused = { port: await getPort({ host: '127.0.0.1' }) };
  const deaf = createServer().listen(0, '127.0.0.1');
  toEnd.push(() => deaf.close());
  await once(deaf, 'listening');
  const silent = deaf.address() as { readonly port: number };
  const cases = [refused, silent].flatMap(({ port }) => {
    const at = (scheme: string) => `${scheme}://127.0.0.1:${port}`;
    const addresses = {
      source: `${at('mongodb')}/shop?directConnection=true`,
      postgres: `${at('postgres')}/shop`,
      mongodb: `${at('mongodb')}/new?directConnection=true`,
      redis: at('redis'),
    };
    return [
      { addresses, port },
      { addresses: { ...addresses, redis: `${at('redis')},${at('redis')}` }, port },
    ];
  });
  const began = performance.now();
  await Promise.all(
    cases.map(async ({ addresses, port }) => {
      const resources = await openResources(addresses, world.home, { host: '', process: '', selectionMs: 1000 });
      await Promise.all(
        Object.values(toReach(resources)).map(async (store) => {
          const said: { line: string; at: number }[] = [];
          const outlast = new Outlast((line) => said.push({ line, at: performance.now() - began }), 4000);
          await expect(outlast.reach([store])).rejects.toMatchObject({ type: 'StoreUnreachable' });
          expect(performance.now() - began, store.what).toBeLessThan(7000);
          expect(said, store.what).toHaveLength(1);
          expect(said[0]!.line).toMatch(new RegExp(`^${store.what.split(' at ')[0]} at .*${port}.* 4 s`));
          expect(said[0]!.at, said[0]!.line).toBeLessThan(3000);
        }),
      );
      await resources.close();
    }),
  );
}, 40_000);

test.each(['silent', 'half-open'] as const)(
  'a router whose connection is %s goes by no route that is older than its lease, and is current again by itself; what it has counted comes once',
  { timeout: 60_000 },
  async (fault) => {
    const { pool } = world;
    await makeControlSchema(pool, world.name);
    const set = (percentage: number) =>
      route({ postgres: pool } as never, { collections: [fault], percentage, writeMode: 'dual_write', reason: 'test' });
    await set(40);
    const wire = await line('postgres', world.environment['TARGET_POSTGRES_URL']!);
    const leaseMs = 1500;
    const router = await Router.open({ postgres: wire.url, leaseMs, refreshMs: 200 });
    toEnd.push(() => router.close());
    expect([router.state, router.routeOf(fault).percentage]).toEqual(['current', 40]);
    wire.watch(at(1, fault));
    await expect.poll(() => wire.done.length, { interval: 5 }).toBe(1);
    const changed = performance.now();
    await set(80);
    let stale = 0;
    for (const until = changed + 15_000; performance.now() < until; await sleep(5)) {
      if (router.state !== 'current') continue;
      if (router.routeOf(fault).percentage === 80) break;
      stale = performance.now() - changed;
    }
    expect([router.state, router.routeOf(fault).percentage]).toEqual(['current', 80]);
    expect(stale).toBeLessThan(leaseMs + 200);

    const metrics = new TrafficMetrics({ postgres: wire.url, reportMs: 100 });
    metrics.countWrites(fault, 'old', 3, 0);
    await metrics.report();
    wire.watch(({ what }) => (what.includes('traffic_samples') && wire.done.length === 0 ? fault : undefined));
    metrics.countWrites(fault, 'old', 4, 0);
    const counted = async () =>
      Number(
        (
          await pool.query('select sum(writes) as n from migration_control.traffic_samples where collection = $1', [
            fault,
          ])
        ).rows[0].n,
      );
    await expect.poll(() => wire.done.length, { timeout: 3000, interval: 5 }).toBe(1);
    metrics.countWrites(fault, 'old', 5, 0);
    await expect.poll(counted, { timeout: 15_000 }).toBe(12);
    await metrics.close();
    expect(await counted()).toBe(12);
  },
);

test('a worker cut off from a store that others reach takes no work, says so, and takes work again; where nobody reaches it, work goes on', async () => {
  const pool = () => openPool(world.environment['TARGET_POSTGRES_URL']!, 1);
  const admin = pool();
  toEnd.push(() => admin.end());
  await makeControlSchema(admin, world.name);
  const away = new Set<string>();
  const ask =
    (store: string): Ask =>
    () =>
      away.has(store) ? Promise.reject(new Error('away')) : Promise.resolve();
  const log: string[] = [];
  const watch = new StoreWatch({
    holder: 'queue/host-a-1',
    pool: pool(),
    asks: { source: ask('source'), postgres: ask('postgres'), mongodb: ask('mongodb'), redis: ask('redis') },
    log: (text) => log.push(text),
    silentMs: 50,
  });
  const look = async () => {
    await watch.look();
    await sleep(60);
    await watch.look();
  };
  await look();
  expect([watch.suspended, log]).toEqual([undefined, []]);
  away.add('redis');
  await look();
  expect(watch.suspended).toBeUndefined();
  const other = { holder: 'queue/host-b-2', suspended: undefined };
  await showWorker(admin, { ...other, silent: ['redis'] });
  await look();
  expect(watch.suspended).toBeUndefined();
  await showWorker(admin, { ...other, silent: [] });
  const suspended = watch.until(true, new AbortController().signal);
  await look();
  await suspended;
  expect(watch.suspended).toBe('the target Redis cannot be reached from here, and other workers reach it');
  expect(await suspendedNow(admin)).toEqual([{ holder: 'queue/host-a-1', why: watch.suspended }]);
  expect(log).toEqual([`takes no work: ${watch.suspended}`]);
  away.clear();
  await look();
  expect(watch.suspended).toBeUndefined();
  expect(await suspendedNow(admin)).toEqual([]);
  away.add('postgres');
  await look();
  expect(watch.suspended).toBe('the target PostgreSQL cannot be reached from here');
  await watch.stop();
});
