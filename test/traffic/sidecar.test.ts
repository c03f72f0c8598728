// The sidecar against real stores: what an application in another language asks it, and what it then does with its own drivers.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Double, EJSON, ObjectId } from 'bson';
import type { FastifyInstance } from 'fastify';
import getPort from 'get-port';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Resources } from '../../activities/resources.ts';
import { awaitRouters, lowerFence, raiseFence } from '../../activities/reverse/fence.ts';
import { routingChannel } from '../../control/routing.ts';
import type { WriteMode } from '../../core/state.ts';
import { bucketOf } from '../../traffic/bucket.ts';
import { readTraffic } from '../../control/traffic.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import { TrafficMetrics } from '../../traffic/metrics.ts';
import { Router } from '../../traffic/router.ts';
import { sidecar } from '../../traffic/sidecar.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let router: Router;
let manager: DualWriteManager;
let server: FastifyInstance;
let metrics: TrafficMetrics;
let address: string;
const token = 'token-of-the-test';

beforeAll(async () => {
  world = await World.open('sidecar');
  await world.seed(300, 0);
  const worker = await world.worker();
  expect((await world.causeway(['start', '--until', 'data', '--wait'])).code).toBe(0);
  // Without a worker nothing but the second write brings a document.
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  resources = await world.resources();
  router = await Router.open({ postgres: world.environment['TARGET_POSTGRES_URL']!, fenceWaitMs: 1500 });
  manager = await DualWriteManager.open({
    source: resources.source,
    targets: resources,
    routes: router,
    settings: { zone: 'Asia/Shanghai', providers: [] },
  });
  metrics = new TrafficMetrics({ postgres: world.environment['TARGET_POSTGRES_URL']!, reportMs: 200 });
  server = sidecar({ parts: () => ({ router, manager, metrics }), mappings: resources.mappings, token });
  await server.listen({ host: '127.0.0.1', port: 0 });
  address = `http://127.0.0.1:${(server.server.address() as AddressInfo).port}`;
}, 240_000);
afterAll(async () => {
  await server?.close();
  manager?.close();
  await metrics?.close();
  await router?.close();
  await resources?.close();
  await world?.close();
});

const bearer = { authorization: `Bearer ${token}` };
const get = async (path: string) =>
  (await fetch(address + path, { headers: bearer })).json() as Promise<Record<string, unknown>>;
async function post(path: string, body?: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(address + path, {
    method: 'POST',
    headers: { ...bearer, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
async function turn(writeMode: WriteMode, percentage: number): Promise<void> {
  // Not by `route`: writes change sides behind a fence only, and here it is the sidecar that is looked at.
  await world.pool.query(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('token_usage', $1, $2, 1)
     on conflict (collection) do update set percentage = $1, write_mode = $2, epoch = routing.epoch + 1`,
    [percentage, writeMode],
  );
  await world.pool.query(`notify ${routingChannel}`);
  await vi.waitFor(() => {
    expect(router.writeModeOf('token_usage')).toBe(writeMode);
    expect(router.routeOf('token_usage').percentage).toBe(percentage);
  });
}
const usage = (id: ObjectId) => ({
  _id: id,
  timestamp: new Date(),
  provider: 'deepseek',
  model_name: 'deepseek-chat',
  input_tokens: 10,
  output_tokens: 5,
  cost: new Double(0.25),
  currency: 'CNY',
});
const rowsOf = (id: ObjectId) => world.rows('select 1 from api_usage where source_id = $1', [String(id)]);

test('reads: the bucket of the user decides', async () => {
  await turn('dual_write', 50);
  for (const user of ['anna', 'bert', '张伟', '68a0c0ffee'])
    expect(await get(`/reads/token_usage?user=${encodeURIComponent(user)}`)).toEqual({
      side: bucketOf(user) < 50 ? 'new' : 'old',
      percentage: 50,
      mapping: 'token_usage',
    });
  expect(await get('/reads/nobody_routes_this?user=anna')).toHaveProperty('error');
  expect(await get('/state')).toMatchObject({ state: 'current' });
});

test('dual write: what the old system was given stands in the new one when `done` has answered', async () => {
  const begun = await post('/writes/token_usage');
  expect(begun).toMatchObject({ status: 200, body: { mode: 'dual_write', mapping: 'token_usage' } });
  const id = new ObjectId();
  await world.source.collection('token_usage').insertOne(usage(id));
  expect(await post(`/writes/${String(begun.body['write'])}/done`, EJSON.stringify({ ids: [id] }))).toEqual({
    status: 200,
    body: {},
  });
  expect(await rowsOf(id)).toHaveLength(1);
  expect(await get('/state')).toMatchObject({ secondWrites: { second: 1 } });
  expect((await post('/writes/a_collection_nobody_migrates')).status).toBe(404);
  await post('/reads/token_usage/done', JSON.stringify({ side: 'new', ms: 7, failed: false }));
  await vi.waitFor(async () => {
    const traffic = await readTraffic(resources.postgres, 60);
    const of = (side: 'old' | 'new') => traffic.find((row) => row.collection === 'token_usage' && row.side === side);
    expect(of('new')).toMatchObject({ reads: 1, errors: 0, latency_ms: 7 });
    expect(of('old')).toMatchObject({ writes: 1, write_errors: 0 });
  });
});

test('the new system: its first statement says whether the write counts', async () => {
  await turn('new_system', 100);
  const { body } = await post('/writes/token_usage');
  expect(body).toMatchObject({ mode: 'new_system', mapping: 'token_usage' });
  const admitted = async (epoch: unknown) =>
    (await world.rows('select migration_control.admit_write($1, $2) as yes', [body['mapping'], epoch]))[0]!['yes'];
  expect(await admitted(body['epoch'])).toBe(true);
  expect(await admitted(Number(body['epoch']) - 1)).toBe(false);
  await post(`/writes/${String(body['write'])}/done`);
  await turn('old', 0);
  expect(await admitted(body['epoch'])).toBe(false);
});

test('a fence waits for writes that began before it, and for one that died no longer than it may take', async () => {
  const before = await post('/writes/token_usage');
  const fence = await raiseFence(resources, ['token_usage'], 20_000);
  let passed = false;
  const waiting = awaitRouters(resources, fence).then(() => (passed = true));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(passed).toBe(false);
  await post(`/writes/${String(before.body['write'])}/done`);
  await waiting;
  // New ones wait at the fence, and are told to come again.
  const refused = await post('/writes/token_usage');
  expect(refused.status).toBe(503);
  expect(String(refused.body['error'])).toContain('Nothing was written');
  await lowerFence(resources, fence);
  await vi.waitFor(async () => expect((await post('/writes/token_usage')).status).toBe(200));
  const second = await raiseFence(resources, ['token_usage'], 20_000);
  const from = performance.now();
  await awaitRouters(resources, second);
  expect(performance.now() - from).toBeLessThan(6000);
  await lowerFence(resources, second);
});

test('what cannot be read is refused, and quotes nothing', async () => {
  const { body } = await post('/writes/token_usage');
  const bad = await post(`/writes/${String(body['write'])}/done`, '{"ids": "secret"}');
  expect(bad.status).toBe(400);
  expect(String(bad.body['error'])).toContain('The body must be');
  expect(String(bad.body['error'])).not.toContain('secret');
  const next = await post('/writes/token_usage');
  expect((await post(`/writes/${String(next.body['write'])}/done`, '{"ids": [secret')).status).toBe(400);
  expect((await post('/writes/never/done')).status).toBe(404);
  expect((await post(`/writes/${String(body['write'])}/done`)).status).toBe(404);
  expect((await fetch(`${address}/nowhere`, { headers: bearer })).status).toBe(404);
});

test('the command: a port that is taken; a free one, until it is told to end', async () => {
  const port = Number(new URL(address).port);
  const taken = await world.causeway(['sidecar', '--port', String(port)]);
  expect(taken.code).toBe(2);
  expect(taken.stderr).toContain('is taken');
  const free = await getPort();
  const running = world.causeway(['sidecar', '--port', String(free)]);
  await vi.waitFor(
    async () =>
      expect(await (await fetch(`http://127.0.0.1:${free}/health`)).json()).toEqual({ healthy: true, ready: true }),
    { timeout: 20_000, interval: 100 },
  );
  world.stopCommands();
  expect((await running).code).toBe(0);
});
