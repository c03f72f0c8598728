// The embedded stack: repairs what a crash left, keeps data, and stops only what it started.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkout } from '../stack/home.ts';
import {
  down,
  environment,
  reset,
  startService,
  status,
  stopService,
  up,
  type StackEnvironment,
} from '../stack/index.ts';

let home: string;
let values: Record<string, string>;
let servers: StackEnvironment;
interface Recorded {
  services: Record<string, { pid: number; started: string; port: number; url: string }>;
}
const recorded = async () => JSON.parse(await readFile(join(home, 'stack.json'), 'utf8')) as Recorded;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'causeway-stack-'));
  values = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
  servers = await up(undefined, values);
});
afterAll(async () => {
  await reset(values);
  await rm(home, { recursive: true, force: true });
});

async function sql(text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: servers.TARGET_POSTGRES_URL });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('all five answer, on the loopback only, beside the stack that the tests run on', async () => {
  expect((await status(values)).map((service) => service.state)).toEqual(Array(5).fill('running'));
  for (const service of Object.values((await recorded()).services)) expect(service.url).toContain('127.0.0.1');
  expect(Object.keys(await environment(values)).sort()).toEqual([
    'CAUSEWAY_QUARANTINE_KEY',
    'SOURCE_MONGODB_URL',
    'TARGET_MONGODB_URL',
    'TARGET_POSTGRES_URL',
    'TARGET_REDIS_URL',
    'TEMPORAL_ADDRESS',
    'TEMPORAL_NAMESPACE',
    'TEMPORAL_UI_URL',
  ]);
});

test('the key of the quarantine is made once, and only its owner may read it', async () => {
  const file = join(home, 'quarantine-key');
  const { mode } = await stat(file);
  expect(mode & 0o777).toBe(0o600);
  expect(Buffer.from(servers.CAUSEWAY_QUARANTINE_KEY, 'base64').length).toBe(32);
  expect((await environment(values)).CAUSEWAY_QUARANTINE_KEY).toBe(servers.CAUSEWAY_QUARANTINE_KEY);
  // A database elsewhere gets no key of ours; a key of its own goes before.
  const elsewhere = { ...values, TARGET_POSTGRES_URL: 'postgres://elsewhere/db' };
  expect(await environment(elsewhere)).not.toHaveProperty('CAUSEWAY_QUARANTINE_KEY');
  expect(await environment({ ...elsewhere, CAUSEWAY_QUARANTINE_KEY: 'own' })).toMatchObject({
    CAUSEWAY_QUARANTINE_KEY: 'own',
  });
});

test('the source has change streams', async () => {
  const client = new MongoClient(servers.SOURCE_MONGODB_URL);
  try {
    const stream = client.db().collection('watched').watch();
    await stream.tryNext();
    await client.db().collection('watched').insertOne({ a: 1 });
    expect((await stream.next()).operationType).toBe('insert');
    await stream.close();
  } finally {
    await client.close();
  }
});

test('kill -9 of a server: up starts it again, on its port, with its data', async () => {
  await sql('create table kept (n int)');
  await sql('insert into kept values (7)');
  const before = await recorded();
  process.kill(before.services['postgres']!.pid, 'SIGKILL');
  process.kill(before.services['redis']!.pid, 'SIGKILL');
  servers = await up(undefined, values);
  const after = await recorded();
  expect(after.services['postgres']!.port).toBe(before.services['postgres']!.port);
  expect(after.services['temporal']).toEqual(before.services['temporal']);
  expect(await sql('select n from kept')).toEqual([{ n: 7 }]);
});

test('a service stopped and started keeps address and data', async () => {
  await stopService('postgres', undefined, values);
  await expect(sql('select 1')).rejects.toThrow();
  await startService('postgres', values);
  expect(await sql('select n from kept')).toEqual([{ n: 7 }]);
});

test('up again changes nothing', async () => {
  const before = await recorded();
  await up(undefined, values);
  expect(await recorded()).toEqual(before);
});

test('down leaves a process alone that only has the pid of one of ours', async () => {
  const foreign = spawn('sleep', ['600'], { stdio: 'ignore' });
  const state = await recorded();
  const redis = state.services['redis']!;
  await writeFile(
    join(home, 'stack.json'),
    JSON.stringify({ ...state, services: { ...state.services, redis: { ...redis, pid: foreign.pid } } }),
  );
  const stopped = await down(values);
  expect(stopped).not.toContain('redis');
  expect(foreign.exitCode).toBeNull();
  foreign.kill('SIGKILL');
  process.kill(redis.pid, 'SIGTERM');
});

test('a record cut short: up starts from the data that is there', async () => {
  await writeFile(join(home, 'stack.json'), '{"secret": "abc", "serv');
  servers = await up(undefined, values);
  expect(await sql('select n from kept')).toEqual([{ n: 7 }]);
});
