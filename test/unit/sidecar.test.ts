// The sidecar's own rules, without a store: who may ask, which names there are, what is counted, and that no write stays open.
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { sidecar, sidecarWriteMs, type Parts } from '../../traffic/sidecar.ts';
import { readSettings } from '../../core/settings.ts';

const mappings = new Map([['token_usage', { collection: 'token_usage', aliases: ['usage_records'] }]]);

/** What the sidecar hands on, noted. */
function noting(writeMode: 'old' | 'dual_write' | 'new_system' = 'dual_write') {
  const noted: unknown[][] = [];
  let open = 0;
  const route = { percentage: 100, writeMode, epoch: 3 };
  const parts: Parts = {
    router: { state: 'current', sideOfRead: () => 'new', routeOf: () => route },
    manager: {
      counters: {} as Parts['manager']['counters'],
      begin: async () => {
        open++;
        return { route, waitedMs: 0, isUncertain: false, mapping: 'token_usage', done: () => void open-- };
      },
      secondWrite: async (...args) => void noted.push(['second', ...args]),
    },
    metrics: {
      countRead: (...args) => void noted.push(['read', ...args]),
      countWrites: (...args) => void noted.push(['write', ...args]),
    },
  };
  return { noted, parts, open: () => open };
}
const headers = { authorization: 'Bearer secret', host: '127.0.0.1' };
const build = (parts: Parts | undefined, writeMs?: number) =>
  sidecar({ parts: () => parts, mappings, token: 'secret', ...(writeMs !== undefined && { writeMs }) });
type Server = ReturnType<typeof build>;
const begin = async (server: Server) =>
  (await server.inject({ method: 'POST', url: '/writes/token_usage', headers })).json<{ write: string }>().write;

test('who has no token, comes under another name or from a page is refused; health needs no token', async () => {
  const server = build(noting().parts);
  const status = async (more: Record<string, string | undefined>, url = '/state') => {
    const given = Object.entries({ ...headers, ...more }).filter((entry): entry is [string, string] => !!entry[1]);
    return (await server.inject({ url, headers: Object.fromEntries(given) })).statusCode;
  };
  expect(await status({})).toBe(200);
  expect(await status({ host: 'localhost:7301' })).toBe(200);
  for (const authorization of [undefined, 'Bearer other', 'Bearer secretx', 'secret', ''])
    expect(await status({ authorization })).toBe(401);
  for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil', '10.0.0.1:7301'])
    expect(await status({ host })).toBe(403);
  expect(await status({ origin: 'http://127.0.0.1:7301' })).toBe(403);
  expect(await status({ 'sec-fetch-site': 'cross-site' })).toBe(403);
  expect(await status({ authorization: undefined }, '/health')).toBe(200);
  const posted = await server.inject({ method: 'POST', url: '/writes/token_usage', headers: { host: '127.0.0.1' } });
  expect(posted.statusCode).toBe(401);
  await server.close();
});

test('names of mappings and of source collections are understood; others are 404 everywhere', async () => {
  const server = build(noting().parts);
  for (const [method, url] of [
    ['GET', '/reads/'],
    ['POST', '/writes/'],
  ] as const) {
    for (const name of ['token_usage', 'usage_records'])
      expect((await server.inject({ method, url: url + name, headers })).json()).toMatchObject({
        mapping: 'token_usage',
      });
    for (const name of ['users', 'token_usages', '__proto__', 'constructor'])
      expect((await server.inject({ method, url: url + name, headers })).statusCode).toBe(404);
  }
  await server.close();
});

test("before the data phase everything is the old system's", async () => {
  const server = build(undefined);
  const get = async (url: string) => (await server.inject({ url, headers })).json<unknown>();
  expect(await get('/reads/usage_records')).toEqual({ side: 'old', percentage: 0, mapping: 'token_usage' });
  expect(await get('/health')).toEqual({ healthy: true, ready: false });
  expect((await server.inject({ method: 'POST', url: '/writes/token_usage', headers })).json()).toMatchObject({
    write: null,
    mode: 'old',
  });
  await server.close();
});

test('outcome and latency of reads and writes are counted', async () => {
  const { noted, parts } = noting();
  const server = build(parts);
  const post = (url: string, payload: object) => server.inject({ method: 'POST', url, headers, payload });
  await post('/reads/usage_records/done', { side: 'new', ms: 12.5 });
  await post('/reads/token_usage/done', { side: 'old', ms: 3, failed: true });
  await post(`/writes/${await begin(server)}/done`, { ids: [1], ms: 4 });
  await post(`/writes/${await begin(server)}/done`, { failed: true });
  expect(noted.filter(([kind]) => kind !== 'second')).toEqual([
    ['read', 'token_usage', 'new', 12.5, false],
    ['read', 'token_usage', 'old', 3, true],
    ['write', 'token_usage', 'old', 1, 0],
    ['write', 'token_usage', 'old', 1, 1],
  ]);
  for (const payload of [{}, { side: 'new' }, { side: 'new', ms: -1 }, { side: 'x', ms: 1 }])
    expect((await post('/reads/token_usage/done', payload)).statusCode).toBe(400);
  await server.close();
});

test('a `done` that is refused ends its write all the same, and says so; one that never comes ends it before a fence does', async () => {
  const { parts, open } = noting();
  const server = build(parts, 150);
  const json = { ...headers, 'content-type': 'application/json' };
  for (const payload of ['{"ids": "no list"}', '{"ids": [', JSON.stringify({ ids: ['x'.repeat(2_000_000)] })]) {
    const write = await begin(server);
    expect(open()).toBe(1);
    const answer = await server.inject({ method: 'POST', url: `/writes/${write}/done`, headers: json, payload });
    expect([400, 413]).toContain(answer.statusCode);
    expect(answer.body).toContain('counts as ended');
    expect(open()).toBe(0);
  }
  await begin(server);
  await sleep(300);
  expect(open()).toBe(0);
  const read = readSettings({});
  if (!('settings' in read)) throw new Error('no settings');
  expect(sidecarWriteMs).toBeLessThan(read.settings.fenceMs);
  await begin(server);
  await server.close();
  expect(open()).toBe(0);
});

test('it answers a plain HTTP client', async () => {
  const server = build(noting().parts);
  const port = Number(new URL(await server.listen({ host: '127.0.0.1', port: 0 })).port);
  const status = await new Promise<number | undefined>((resolve) =>
    request({ port, host: '127.0.0.1', path: '/health' }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).end(),
  );
  expect(status).toBe(200);
  await server.close();
});

test('an _id keeps its type and its bytes', async () => {
  const { parts, noted } = noting();
  const server = build(parts);
  const ids = [
    '{"$numberLong":"5"}',
    '{"$numberDouble":"7.0"}',
    '{"$numberInt":"5"}',
    '{"$date":{"$numberLong":"9000000000000001"}}',
    '{"b":{"$numberLong":"1"},"a":{"$regularExpression":{"pattern":"x","options":"xi"}}}',
    '"68a0c0ffee68a0c0ffee68a0"',
    '"a"',
  ];
  const known = [...ids, '{"$oid":"68a0c0ffee68a0c0ffee68a0"}', '5', '{"$date":"2026-01-01T00:00:00Z"}'];
  const done = await server.inject({
    method: 'POST',
    url: `/writes/${await begin(server)}/done`,
    headers: { ...headers, 'content-type': 'application/json' },
    payload: `{"ids": [${known.join(', ')}]}`,
  });
  expect(done.statusCode).toBe(200);
  expect(noted.find(([what]) => what === 'second')?.[2]).toEqual([
    ...ids,
    '68a0c0ffee68a0c0ffee68a0',
    '{"$numberInt":"5"}',
    '{"$date":{"$numberLong":"1767225600000"}}',
  ]);
  await server.close();
});
