// The router against a real PostgreSQL: changes are seen within a second, and without PostgreSQL the last safe state holds.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { route } from '../../activities/route.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { bucketOf } from '../../traffic/bucket.ts';
import { Router } from '../../traffic/router.ts';
import { cuttable } from '../support/cuttable.ts';
import { World } from '../support/world.ts';
import { within } from '../support/within.ts';

let world: World;
let pool: ReturnType<typeof openPool>;
beforeAll(async () => {
  world = await World.open('router');
  pool = openPool(world.environment['TARGET_POSTGRES_URL']!, 2);
  await makeControlSchema(pool, world.name);
});
afterAll(async () => {
  await pool.end();
  await world.close();
});

const set = (collection: string, percentage: number, writeMode: 'old' | 'dual_write' | 'new_system') =>
  route({ postgres: pool } as never, { collections: [collection], percentage, writeMode, reason: 'test' });

test('a change is seen within a second, and decides by user', async () => {
  const router = await Router.open({
    postgres: world.environment['TARGET_POSTGRES_URL']!,
    refreshMs: 60_000,
    leaseMs: 90_000,
  });
  try {
    expect(router.state).toBe('current');
    expect([router.sideOfRead('a', 'u'), router.writeModeOf('a')]).toEqual(['old', 'old']);
    const started = performance.now();
    await set('a', 30, 'dual_write');
    await vi.waitFor(() => expect(router.routeOf('a').percentage).toBe(30), { timeout: 1000, interval: 5 });
    expect(performance.now() - started).toBeLessThan(within(1000));
    for (let i = 0; i < 1000; i++)
      expect(router.sideOfRead('a', `user-${i}`)).toBe(bucketOf(`user-${i}`) < 30 ? 'new' : 'old');
    const anonymous = Array.from({ length: 20_000 }, () => router.sideOfRead('a')).filter((side) => side === 'new');
    expect(Math.abs(anonymous.length / 20_000 - 0.3)).toBeLessThan(0.02);
    const { epoch } = router.routeOf('a');
    await set('a', 100, 'dual_write');
    await vi.waitFor(() => expect(router.routeOf('a').epoch).toBe(epoch + 1), { timeout: 1000, interval: 5 });
    expect(router.sideOfRead('a')).toBe('new');
  } finally {
    await router.close();
  }
});

test('who reads from the new system stays there while the percentage grows', async () => {
  const router = await Router.open({ postgres: world.environment['TARGET_POSTGRES_URL']! });
  const users = Array.from({ length: 2000 }, (_, i) => `user-${i}`);
  const onNew = () => new Set(users.filter((user) => router.sideOfRead('growing', user) === 'new'));
  try {
    let before = onNew();
    expect(before.size).toBe(0);
    for (const percentage of [1, 10, 33, 50, 99, 100]) {
      await set('growing', percentage, 'dual_write');
      await vi.waitFor(() => expect(router.routeOf('growing').percentage).toBe(percentage), { interval: 5 });
      const now = onNew();
      expect(Math.abs(now.size / users.length - percentage / 100)).toBeLessThan(0.04);
      expect([...before].every((user) => now.has(user))).toBe(true);
      before = now;
    }
  } finally {
    await router.close();
  }
});

test('a change without a notice is seen at the next look', async () => {
  const router = await Router.open({ postgres: world.environment['TARGET_POSTGRES_URL']!, refreshMs: 200 });
  try {
    await pool.query(
      `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('quiet', 7, 'dual_write', 3)`,
    );
    await vi.waitFor(() => expect(router.routeOf('quiet').epoch).toBe(3), { timeout: 1000, interval: 10 });
  } finally {
    await router.close();
  }
});

test('without PostgreSQL the last safe state holds when the lease has run out, and the router comes back by itself', async () => {
  await set('reads', 80, 'dual_write');
  await set('moved', 100, 'dual_write');
  // Writes move behind a fence (test/e2e/cutover.test.ts); here it is enough that they have.
  await world.pool.query(`update migration_control.routing set write_mode = 'new_system' where collection = 'moved'`);
  const line = await cuttable(world.environment['TARGET_POSTGRES_URL']!);
  const states: string[] = [];
  const router = await Router.open({
    postgres: line.url,
    leaseMs: 800,
    refreshMs: 100,
    onState: (state) => states.push(state),
  });
  try {
    expect(router.routeOf('reads').percentage).toBe(80);
    line.cut();
    expect(router.routeOf('reads').percentage).toBe(80);
    await sleep(1000);
    expect(router.state).toBe('fallback');
    expect(router.routeOf('reads')).toMatchObject({ percentage: 0, writeMode: 'old' });
    // What the old system no longer has cannot be read there.
    expect([router.sideOfRead('moved', 'u'), router.writeModeOf('moved')]).toEqual(['new', 'new_system']);
    await line.mend();
    await vi.waitFor(() => expect(router.routeOf('reads').percentage).toBe(80), { timeout: 5000, interval: 20 });
    await vi.waitFor(() => expect(states).toEqual(['current', 'fallback', 'current']));
  } finally {
    await router.close();
    line.cut();
  }
});

test('a server that is not there: everything goes to the old system', async () => {
  const router = await Router.open({
    postgres: 'postgres://nobody:secret@127.0.0.1:1/none',
    leaseMs: 300,
    refreshMs: 100,
  });
  expect([router.state, router.sideOfRead('a', 'u'), router.writeModeOf('a')]).toEqual(['fallback', 'old', 'old']);
  await router.close();
});

test('a notice that comes while the connection dies does not make the router dial without a pause', async () => {
  const line = await cuttable(world.environment['TARGET_POSTGRES_URL']!);
  const router = await Router.open({ postgres: line.url, leaseMs: 3000, refreshMs: 200 });
  try {
    line.deafen();
    // By then a read is under way, and its question is lost.
    await sleep(400);
    await set('noticed', 10, 'dual_write');
    await sleep(100);
    const before = line.dialled();
    line.refuse();
    await sleep(1000);
    expect(line.dialled() - before).toBeGreaterThan(0);
    expect(line.dialled() - before).toBeLessThan(12);
  } finally {
    await router.close();
    line.cut();
  }
});

test('a callback that throws does not end the router', async () => {
  const line = await cuttable(world.environment['TARGET_POSTGRES_URL']!);
  const states: string[] = [];
  const router = await Router.open({
    postgres: line.url,
    leaseMs: 400,
    refreshMs: 100,
    onState: (state) => {
      states.push(state);
      throw new Error('from the application');
    },
  });
  try {
    line.cut();
    await vi.waitFor(() => expect(states).toEqual(['current', 'fallback']), { timeout: 3000, interval: 10 });
    await line.mend();
    await vi.waitFor(() => expect(router.state).toBe('current'), { timeout: 3000, interval: 10 });
    await sleep(600);
    expect(router.state).toBe('current');
  } finally {
    await router.close();
    line.cut();
  }
});

test('a URL that cannot be read is refused, without its password', async () => {
  const refused = await Router.open({ postgres: 'postgres://nobody:secret@[bad/none' }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refused).toBeInstanceOf(TypeError);
  const { message, stack, cause } = refused as TypeError;
  expect(message).toContain('postgres://');
  expect([message, stack, cause, JSON.stringify(refused)].join()).not.toMatch(/secret|nobody/);
});

test('a fence waits for writes under way, and later writes wait for the fence', async () => {
  await set('fenced', 0, 'dual_write');
  const router = await Router.open({ postgres: world.environment['TARGET_POSTGRES_URL']!, refreshMs: 100 });
  const fence = (sql: string) =>
    world.pool.query(`update migration_control.routing set epoch = epoch + 1, ${sql} where collection = 'fenced'`);
  const confirmed = async () => {
    const [row] = await world.rows<{ behind: boolean }>(
      `select (r.epochs ->> 'fenced')::bigint < o.epoch as behind from migration_control.routers r, migration_control.routing o
       where o.collection = 'fenced' order by r.seen_at desc limit 1`,
    );
    return row!.behind === false;
  };
  try {
    await vi.waitFor(() => expect(router.routeOf('fenced').epoch).toBe(1), { timeout: 2000, interval: 10 });
    const early = await router.admit('fenced');
    await fence(`fenced_until = clock_timestamp() + interval '20 s'`);
    await vi.waitFor(() => expect(router.routeOf('fenced').epoch).toBe(2), { timeout: 2000, interval: 10 });
    let late: Awaited<ReturnType<Router['admit']>> | undefined;
    const waiting = router.admit('fenced').then((admission) => (late = admission));
    await sleep(300);
    expect([late, await confirmed()]).toEqual([undefined, false]);
    early.done();
    await vi.waitFor(async () => expect(await confirmed()).toBe(true), { timeout: 2000, interval: 20 });
    expect(late).toBeUndefined();
    await fence(`fenced_until = null, write_mode = 'new_system'`);
    await waiting;
    expect(late!.route.writeMode).toBe('new_system');
    expect(late!.waitedMs).toBeGreaterThan(250);
    late!.done();
  } finally {
    await router.close();
  }
});

test('a fence passes by itself, and who may not wait so long is told', async () => {
  await set('passing', 0, 'dual_write');
  await world.pool.query(
    `update migration_control.routing set fenced_until = clock_timestamp() + interval '700 ms' where collection = 'passing'`,
  );
  const open = (fenceWaitMs: number) =>
    Router.open({ postgres: world.environment['TARGET_POSTGRES_URL']!, refreshMs: 100, fenceWaitMs });
  const [hasty, patient] = await Promise.all([open(100), open(5000)]);
  try {
    await expect(hasty.admit('passing')).rejects.toThrow(/Nothing was written; try again/);
    const admission = await patient.admit('passing');
    expect(admission.route.writeMode).toBe('dual_write');
    expect(admission.waitedMs).toBeGreaterThan(100);
    admission.done();
  } finally {
    await Promise.all([hasty.close(), patient.close()]);
  }
});
