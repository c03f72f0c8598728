// Writes move, and somebody has not heard of it: a router without PostgreSQL, a housekeeper that hung, a commit that takes longer than its fence.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { Resources } from '../../activities/resources.ts';
import { route } from '../../activities/route.ts';
import { close, reopen, settleClosings } from '../../activities/reverse/closing.ts';
import { awaitDoubtful, awaitRouters, lowerFence, raiseFence } from '../../activities/reverse/fence.ts';
import { flip, OutcomeUnknown, refuseOpened } from '../../activities/reverse/flip.ts';
import { Lapse } from '../../activities/reverse/lapse.ts';
import { writeStanding } from '../../control/lifecycle.ts';
import { makeControlSchema } from '../../control/schema.ts';
import type { Standing } from '../../core/lifecycle.ts';
import { holdName, isHeldName, validationOf } from '../../stores/mongodb/close.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import { writeNew } from '../../traffic/new-write.ts';
import { Router } from '../../traffic/router.ts';
import { cuttable } from '../support/cuttable.ts';
import { inCutover } from '../support/standing.ts';
import { World } from '../support/world.ts';

const collection = 'token_usage';
const validator = { provider: { $exists: true } };
let world: World;
let resources: Resources;
const toEnd: (() => unknown)[] = [];

beforeAll(async () => {
  world = await World.open('moving');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  await world.pool.query('insert into migration_control.collections (mapping, source) values ($1, $1)', [collection]);
  await world.pool.query(`insert into migration_control.reverse_position (settings) values ('{}')`);
  await world.source.createCollection(collection, { validator });
});
afterAll(async () => {
  await resources.close();
  await world.close();
});
beforeEach(async () => {
  await world.pool.query('delete from migration_control.routers');
  await world.pool.query(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ($1, 0, 'dual_write', 1)
     on conflict (collection) do update set write_mode = 'dual_write', epoch = migration_control.routing.epoch + 1, fenced_until = null`,
    [collection],
  );
  await reopen(resources, [collection]);
  await world.source.collection(collection).deleteMany({});
  await world.source.collection(collection).insertMany([1, 2, 3].map((_id) => ({ _id, provider: 'p' })) as never[]);
});
afterEach(async () => {
  for (const end of toEnd.splice(0).reverse()) await end();
});

const insert = () => world.source.collection(collection).insertOne({ provider: 'late' });
const left = () => world.source.collection(collection).countDocuments();
const move = (fence: Parameters<typeof flip>[1], token: string) =>
  flip(resources, fence, {
    percentage: 100,
    writeMode: 'new_system',
    steps: {},
    underLock: () => refuseOpened(resources, [collection], token),
  });

/** An application with a line to PostgreSQL of its own, for its router alone. */
async function application(options: { leaseMs: number; fenceWaitMs?: number; writeMs?: number }) {
  const line = await cuttable(world.environment['TARGET_POSTGRES_URL']!);
  const router = await Router.open({ postgres: line.url, refreshMs: 50, fenceWaitMs: 400, writeMs: 0, ...options });
  const manager = await DualWriteManager.open({
    source: resources.source,
    targets: resources,
    routes: router,
    settings: { zone: 'Asia/Shanghai', providers: [] },
  });
  toEnd.push(
    () => line.cut(),
    () => router.close(),
    () => manager.close(),
  );
  return { line, router, old: manager.collection<{ _id: number }>(collection) };
}
const heardOf = (router: Router, epoch: number) =>
  vi.waitFor(() => expect(router.routeOf(collection).epoch).toBe(epoch), { timeout: 2000, interval: 5 });

test('a router that saw the fence and then lost PostgreSQL admits nothing before it has read how it ended', async () => {
  const { line, router, old } = await application({ leaseMs: 300 });
  const fence = await raiseFence(resources, [collection], 900);
  await heardOf(router, fence.epochs.get(collection)!);
  line.cut();
  const token = randomUUID();
  await close(resources, [collection], token);
  await awaitRouters(resources, fence);
  await move(fence, token);
  // The fence's end by the router's own clock, and the end of its lease, have passed by then.
  await sleep(1000);
  for (const _id of [1, 2, 3]) await expect(old.deleteOne({ _id })).rejects.toMatchObject({ type: 'StoreBusy' });
  expect(await left()).toBe(3);
  await line.mend();
  await vi.waitFor(() => expect(router.writeModeOf(collection)).toBe('new_system'), { timeout: 3000, interval: 20 });
  await expect(old.deleteOne({ _id: 1 })).rejects.toMatchObject({ type: 'NewSystemAuthoritative' });
});

test('a router that lost PostgreSQL before the fence, and one that never had it, ask the old system whether it still counts', async () => {
  const { line, router, old } = await application({ leaseMs: 200 });
  line.cut();
  await vi.waitFor(() => expect(router.state).toBe('fallback'), { timeout: 2000 });
  expect(Number((await old.deleteOne({ _id: 1 })).deletedCount)).toBe(1);
  const fence = await raiseFence(resources, [collection], 2000);
  const token = randomUUID();
  await close(resources, [collection], token);
  await awaitRouters(resources, fence);
  await move(fence, token);
  await expect(old.deleteOne({ _id: 2 })).rejects.toMatchObject({ type: 'StoreBusy' });
  const blind = await Router.open({ postgres: 'postgres://nobody@127.0.0.1:1/none', leaseMs: 50, refreshMs: 50 });
  const manager = await DualWriteManager.open({
    source: resources.source,
    targets: resources,
    routes: blind,
    settings: { zone: 'Asia/Shanghai', providers: [] },
  });
  toEnd.push(
    () => blind.close(),
    () => manager.close(),
  );
  await expect(manager.collection<{ _id: number }>(collection).deleteOne({ _id: 3 })).rejects.toThrow(
    /Nothing was written/,
  );
  await expect(manager.begin(collection)).rejects.toMatchObject({ type: 'StoreBusy' });
  expect(await left()).toBe(2);
});

test('a fence whose flip is still being committed is not over, whatever the clock says', async () => {
  const { router, old } = await application({ leaseMs: 5000, fenceWaitMs: 3000 });
  const fence = await raiseFence(resources, [collection], 400);
  await heardOf(router, fence.epochs.get(collection)!);
  const mover = await world.pool.connect();
  try {
    // A commit that takes longer than the fence: waiting for a replica, say.
    await mover.query('begin');
    await mover.query(
      `update migration_control.routing set write_mode = 'new_system', epoch = epoch + 1, fenced_until = null where collection = $1`,
      [collection],
    );
    const deleted = old.deleteOne({ _id: 1 }).then(
      () => 'acknowledged',
      (error: { type: string }) => error.type,
    );
    await sleep(900);
    expect(await left()).toBe(3);
    await mover.query('commit');
    expect(await deleted).toBe('NewSystemAuthoritative');
  } finally {
    mover.release();
  }
});

test('a fence that nobody lowers is ended by the first router that sees its time has passed; its flip then comes too late', async () => {
  const { router } = await application({ leaseMs: 5000, fenceWaitMs: 3000 });
  const fence = await raiseFence(resources, [collection], 400);
  await heardOf(router, fence.epochs.get(collection)!);
  const admission = await router.admit(collection);
  expect(admission.route).toMatchObject({ writeMode: 'dual_write', epoch: fence.epochs.get(collection)! + 1 });
  expect(admission.waitedMs).toBeGreaterThan(200);
  admission.done();
  await expect(move(fence, randomUUID())).rejects.toMatchObject({ type: 'SwitchRefused' });
});

test('who moves the writes waits for the longest lease, and names who cannot be heard', async () => {
  const silent = (ms: number, lease: number, write = 0) =>
    world.pool.query(
      `insert into migration_control.routers (router, epochs, seen_at, lease_ms, write_ms, refresh_ms, process)
       values (gen_random_uuid(), '{}', clock_timestamp() - make_interval(secs => $1), $2, $3, 1000, 'shop-7, process 42')`,
      [ms / 1000, lease, write],
    );
  await silent(6000, 5000);
  const fence = await raiseFence(resources, [collection], 600);
  await awaitDoubtful(resources, { until: performance.now() + 500 });
  await awaitRouters(resources, fence);
  await silent(6000, 5000, 25_000);
  await expect(awaitRouters(resources, fence)).rejects.toThrow(/shop-7, process 42/);
  await expect(awaitDoubtful(resources, { until: performance.now() + 500 })).rejects.toThrow(
    /shop-7, process 42 cannot be heard, and may go by what was read last for another 2[34] s/,
  );
  await lowerFence(resources, fence);
});

test('a user who may only read the routing registers its router all the same', async () => {
  const role = `reader_${process.pid}`;
  await world.pool.query(`create role ${role} login password 'r'`);
  toEnd.push(async () => {
    await world.pool.query(`drop owned by ${role}`);
    await world.pool.query(`drop role ${role}`);
  });
  await world.pool.query(`grant usage on schema migration_control to ${role}`);
  await world.pool.query(`grant select on migration_control.routing to ${role}`);
  const url = new URL(world.environment['TARGET_POSTGRES_URL']!);
  [url.username, url.password] = [role, 'r'];
  const router = await Router.open({ postgres: url.href, leaseMs: 7000, refreshMs: 100 });
  toEnd.push(() => router.close());
  expect(router.state).toBe('current');
  expect(await world.rows('select lease_ms, refresh_ms from migration_control.routers')).toEqual([
    { lease_ms: 7000, refresh_ms: 100 },
  ]);
});

/** A worker whose line to the old system can be held up. */
async function hanging() {
  const line = await cuttable(world.environment['SOURCE_MONGODB_URL']!);
  const { client, db } = openMongo(line.url, 'source');
  await db.command({ ping: 1 });
  toEnd.push(
    () => line.cut(),
    () => client.close(true),
  );
  return { line, hung: { ...resources, source: { ...resources.source, client, db } } as Resources };
}

/** As the server does to a transaction that idles for too long. */
const endHolders = () =>
  world.pool.query(
    `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = (hashtext('causeway routes')::bigint & 4294967295)::oid and pid <> pg_backend_pid()`,
  );

test('housekeeping that hangs and comes back does not open what has moved meanwhile, and forgets no validation', async () => {
  await close(resources, [collection], randomUUID());
  const { line, hung } = await hanging();
  line.hold();
  const housekeeping = settleClosings(hung).then(
    () => 'done',
    (error: { type?: string }) => error.type,
  );
  await vi.waitFor(() => expect(line.waiting()).toBeGreaterThan(0), { timeout: 3000, interval: 10 });
  await endHolders();
  const fence = await raiseFence(resources, [collection], 5000);
  const token = randomUUID();
  await close(resources, [collection], token);
  await move(fence, token);
  line.release();
  expect(await housekeeping).not.toBe('done');
  await expect(insert()).rejects.toMatchObject({ code: 121 });
  expect(await world.rows('select token from migration_control.closed_collections')).toEqual([{ token }]);
  // What it had is put back when writes come back.
  await world.pool.query(`update migration_control.routing set write_mode = 'dual_write'`);
  await settleClosings(resources);
  const [found] = await world.source.listCollections({ name: collection }).toArray();
  expect((found as unknown as { options: object }).options).toMatchObject({ validator });
});

test('an old collection that somebody opens while writes are being moved keeps them from moving; one opened later is closed again', async () => {
  const open = () => world.source.command({ collMod: collection, validator: {} });
  const fence = await raiseFence(resources, [collection], 5000);
  const token = randomUUID();
  await close(resources, [collection], token);
  await open();
  await expect(move(fence, token)).rejects.toThrow(/did not stay closed/);
  await close(resources, [collection], token);
  await move(fence, token);
  await open();
  await insert();
  await settleClosings(resources);
  await expect(insert()).rejects.toMatchObject({ code: 121 });
  expect(
    await world.rows(`select detail from migration_control.audit_log where action = 'old collection closed again'`),
  ).toEqual([{ detail: { collection } }]);
});

test('housekeeping leaves the name of a collection taken out of use to whoever holds it', async () => {
  const fence = await raiseFence(resources, [collection], 5000);
  const token = randomUUID();
  await close(resources, [collection], token);
  await move(fence, token);
  await world.source.collection(collection).rename('retired');
  try {
    await holdName(world.source, collection);
    await settleClosings(resources);
    expect(isHeldName(await validationOf(world.source, collection))).toBe(true);
  } finally {
    await world.source.collection('retired').rename(collection, { dropTarget: true });
  }
});

test('while a fence stands nobody but its own mover opens what is closed', async () => {
  const fence = await raiseFence(resources, [collection], 5000);
  await close(resources, [collection], randomUUID());
  await settleClosings(resources);
  await reopen(resources, [collection]);
  await expect(insert()).rejects.toMatchObject({ code: 121 });
  await reopen(resources, [collection], { fence });
  await insert();
  expect(await world.rows('select fenced_until from migration_control.routing')).toEqual([{ fenced_until: null }]);
});

test('the old system does not stay closed for longer than the fence, however long PostgreSQL is away', async () => {
  const fence = await raiseFence(resources, [collection], 700);
  const token = randomUUID();
  const lapse = new Lapse(resources, [collection], token, fence);
  await close(resources, [collection], token);
  await expect(insert()).rejects.toMatchObject({ code: 121 });
  await sleep(900);
  await insert();
  expect(lapse.stop).toThrow(/The fence passed/);
  // Another's closing is not opened from memory.
  const second = await raiseFence(resources, [collection], 300);
  const other = new Lapse(resources, [collection], token, second);
  await close(resources, [collection], randomUUID());
  await sleep(500);
  await expect(insert()).rejects.toMatchObject({ code: 121 });
  other.end();
});

test('a flip whose commit was not answered is told as unknown, and one that was never sent is not', async () => {
  const line = await cuttable(world.environment['TARGET_POSTGRES_URL']!);
  const { openPool } = await import('../../stores/postgres/connection.ts');
  const pool = openPool(line.url, 1);
  toEnd.push(
    () => line.cut(),
    () => pool.end(),
  );
  const fence = await raiseFence(resources, [collection], 5000);
  const order = { percentage: 100, writeMode: 'new_system', steps: {}, underLock: () => Promise.resolve() } as const;
  const own = { ...resources, postgres: pool };
  const unsent = flip(own, fence, { ...order, underLock: () => Promise.resolve(line.cut()) });
  await expect(unsent).rejects.not.toBeInstanceOf(OutcomeUnknown);
  await line.mend();
  const unknown = flip(own, fence, { ...order, beforeCommit: () => line.cut() });
  await expect(unknown).rejects.toBeInstanceOf(OutcomeUnknown);
  await expect(unknown).rejects.toThrow(/whether they have moved is unknown/);
});

/** A transaction of the application on the new system that holds its route, and hangs. */
async function hangingWriter() {
  await world.pool.query(`update migration_control.routing set write_mode = 'new_system'`);
  const [{ epoch } = { epoch: '0' }] = await world.rows<{ epoch: string }>(
    'select epoch from migration_control.routing',
  );
  const client = new pg.Client({
    connectionString: world.environment['TARGET_POSTGRES_URL'],
    application_name: 'the shop',
  });
  client.on('error', () => undefined);
  await client.connect();
  toEnd.push(() => client.end().catch(() => undefined));
  await client.query('begin');
  const { rows } = await client.query<{ admit_write: boolean }>('select migration_control.admit_write($1, $2)', [
    collection,
    epoch,
  ]);
  expect(rows[0]!.admit_write).toBe(true);
  const { rows: pids } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return { client, pid: pids[0]!.pid };
}

test('percentages are taken back at once, whatever hangs, and what already is takes no lock', async () => {
  await hangingWriter();
  const to = (percentage: number, more: { writeMode?: 'new_system'; unmoved?: boolean } = {}) =>
    route(resources, { collections: [collection], percentage, reason: 'test', ...more });
  const from = performance.now();
  expect((await to(50))[collection]).toMatchObject({ percentage: 50, writeMode: 'new_system' });
  expect((await to(0, { writeMode: 'new_system' }))[collection]).toMatchObject({ percentage: 0 });
  const before = (await to(0))[collection];
  expect((await to(70, { unmoved: true }))[collection]).toEqual(before);
  expect(performance.now() - from).toBeLessThan(1000);
  // Somebody who changes modes, and waits for the writer, does not hold it up either.
  const waiting = raiseFence(resources, [collection], 1000).catch((error: unknown) => error);
  await sleep(200);
  const again = performance.now();
  expect((await to(10))[collection]).toMatchObject({ percentage: 10 });
  expect(performance.now() - again).toBeLessThan(1000);
  await waiting;
});

test('a way back takes the lesser share and no write mode further on; while all is being undone no operator sends reads there', async () => {
  const to = { collections: [collection], reason: 'rollback', onlyBack: true };
  const now = async () => (await route(resources, { collections: [], percentage: 0, reason: 'look' }))[collection];
  await route(resources, { collections: [collection], percentage: 5, reason: 'operator' });
  await route(resources, { ...to, percentage: 50, writeMode: 'dual_write' });
  expect(await now()).toMatchObject({ percentage: 5, writeMode: 'dual_write' });
  await route(resources, { ...to, percentage: 0, writeMode: 'old' });
  await route(resources, { ...to, percentage: 10, writeMode: 'dual_write' });
  expect(await now()).toMatchObject({ percentage: 0, writeMode: 'old' });
  const standing: Standing = {
    ...inCutover,
    undoing: { steps: [{ undo: 'cutover' }, { undo: 'data' }], then: 'aborted' },
  };
  await writeStanding(resources.postgres, standing);
  const order = { collections: [collection], reason: 'operator' };
  await expect(route(resources, { ...order, percentage: 50 })).rejects.toThrow('being undone');
  expect(await now()).toMatchObject({ percentage: 0 });
  await world.pool.query('delete from migration_control.lifecycle');
  expect((await route(resources, { ...order, percentage: 50 }))[collection]).toMatchObject({ percentage: 50 });
  await route(resources, { ...order, percentage: 0 });
});

test('who moves the writes names the transactions that keep it from doing so, without what they run, and ends them in an emergency', async () => {
  const { client, pid } = await hangingWriter();
  await client.query(`select 'a secret of a customer'`);
  const refused = await raiseFence(resources, [collection], 1000).catch((error: unknown) => error as Error);
  expect(refused).toMatchObject({ type: 'SwitchRefused' });
  expect((refused as Error).message).toMatch(
    new RegExp(`pid ${pid} \\(the shop, idle in transaction, in its transaction for \\d+ s\\)`),
  );
  expect((refused as Error).message).not.toContain('secret');
  const fence = await raiseFence(resources, [collection], 1000, true);
  await expect(client.query('commit')).rejects.toThrow();
  await lowerFence(resources, fence);
});

test('a write is admitted only where the routes are read as they are, and its transaction may not idle for ever', async () => {
  await world.pool.query(`update migration_control.routing set write_mode = 'new_system'`);
  const [{ epoch } = { epoch: '0' }] = await world.rows<{ epoch: string }>(
    'select epoch from migration_control.routing',
  );
  const admit = async (begin: string, before = 'select 1') => {
    const client = await world.pool.connect();
    try {
      await client.query(begin);
      await client.query(before);
      await client.query('select migration_control.admit_write($1, $2)', [collection, epoch]);
      const { rows } = await client.query<{ limit: string }>(
        `select current_setting('idle_in_transaction_session_timeout') as limit`,
      );
      return rows[0]!.limit;
    } finally {
      await client.query('rollback');
      client.release();
    }
  };
  await expect(admit('begin isolation level repeatable read')).rejects.toThrow(/needs a READ COMMITTED transaction/);
  await expect(admit('begin isolation level serializable')).rejects.toThrow(/this one is SERIALIZABLE/);
  expect(await admit('begin')).toBe('10s');
  expect(await admit('begin', `set local idle_in_transaction_session_timeout = '1h'`)).toBe('10s');
  expect(await admit('begin', `set local idle_in_transaction_session_timeout = '300ms'`)).toBe('300ms');
});

test('a database whose default is repeatable read, or read only, changes nothing for routers, movers and writers', async () => {
  const database = new URL(world.environment['TARGET_POSTGRES_URL']!).pathname.slice(1);
  await world.pool.query(`alter database ${database} set default_transaction_isolation = 'repeatable read'`);
  await world.pool.query(`alter database ${database} set default_transaction_read_only = on`);
  toEnd.push(
    () =>
      world.pool.query(
        `set default_transaction_read_only = off; alter database ${database} reset default_transaction_isolation`,
      ),
    () =>
      world.pool.query(
        `set default_transaction_read_only = off; alter database ${database} reset default_transaction_read_only`,
      ),
  );
  // An application's own pool, which sets nothing.
  const pool = new pg.Pool({ connectionString: world.environment['TARGET_POSTGRES_URL']!, max: 1 });
  toEnd.push(() => pool.end());
  const router = await Router.open({
    postgres: world.environment['TARGET_POSTGRES_URL']!,
    leaseMs: 2000,
    refreshMs: 50,
  });
  toEnd.push(() => router.close());
  expect(router.state).toBe('current');
  await world.pool.query(`update migration_control.routing set write_mode = 'new_system'`);
  await vi.waitFor(() => expect(router.writeModeOf(collection)).toBe('new_system'), { timeout: 2000 });
  const isolation = await writeNew(pool, collection, router.routeOf(collection).epoch, async (client) => {
    await client.query('create temporary table written (a integer)');
    return (await client.query<{ transaction_isolation: string }>('show transaction_isolation')).rows[0]!;
  });
  expect(isolation).toEqual({ result: { transaction_isolation: 'read committed' } });
});
