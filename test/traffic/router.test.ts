// The router against a real PostgreSQL: changes are seen within a second, and without PostgreSQL the last safe state holds.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { route } from '../../activities/route.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { bucketOf } from '../../traffic/bucket.ts';
import { Router } from '../../traffic/router.ts';
import { World } from '../support/world.ts';

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
    expect(performance.now() - started).toBeLessThan(1000);
    for (let i = 0; i < 1000; i++)
      expect(router.sideOfRead('a', `user-${i}`)).toBe(bucketOf(`user-${i}`) < 30 ? 'new' : 'old');
    const anonymous = Array.from({ length: 20_000 }, () => router.sideOfRead('a')).filter((side) => side === 'new');
    expect(Math.abs(anonymous.length / 20_000 - 0.3)).toBeLessThan(0.02);
    const { epoch } = router.routeOf('a');
    await set('a', 100, 'dual_write');
    await vi.waitFor(() => expect(router.sideOfRead('a')).toBe('new'), { timeout: 1000, interval: 5 });
    expect(router.routeOf('a').epoch).toBe(epoch + 1);
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

/** Stands in front of PostgreSQL and can be cut. */
async function cuttable(url: string) {
  const target = new URL(url);
  const { port: behind, hostname } = new URL(url);
  const sockets = new Set<Socket>();
  const serve = (socket: Socket) => {
    const onward = connect(Number(behind), hostname);
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on('error', () => undefined);
    }
    socket.pipe(onward).pipe(socket);
  };
  let server: Server;
  const listen = (port: number) =>
    new Promise<number>((resolve) => {
      server = createServer(serve).listen(port, '127.0.0.1', () =>
        resolve((server.address() as { port: number }).port),
      );
    });
  const port = await listen(0);
  target.port = String(port);
  return {
    url: target.href,
    cut: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    mend: () => listen(port),
  };
}

test('without PostgreSQL the last safe state holds when the lease has run out, and the router comes back by itself', async () => {
  await set('reads', 80, 'dual_write');
  await set('moved', 100, 'new_system');
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
