// The migration as a user runs it, there and back, on a cluster of three masters that die under copy and capture and move under the cutover;
// sessions with braces in their ids.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { openRedis, type RedisConnection } from '../../stores/redis/connection.ts';
import { RedisCluster, type ClusterNode } from '../support/redis-cluster.ts';
import { World } from '../support/world.ts';

let world: World;
let cluster: RedisCluster;
let connection: RedisConnection;
const hour = 3_600_000;
const braces = ['a}b', '{x}y', '{}z', '{}a}', '{a}b', '{a}:causeway', '}{', '{', '{a}{b}', 'ü {ö'];
const ids = [...braces, ...Array.from({ length: 600 }, (_, i) => `plain-${i}`)];
const sessions = ids.map((session_id, i) => ({
  _id: new ObjectId(),
  session_id,
  user_id: 'admin',
  status: 'active',
  created_at: new Date(Date.now() - hour),
  expires_at: new Date(Date.now() + (i + 2) * hour),
}));
const changed = ids.filter((_, i) => i % 2 === 0);
const gone = ids.filter((_, i) => i % 4 === 1);
const foreign = ['other:key', '{causeway:1}'];

const statusOf = async (id: string) =>
  (JSON.parse((await connection.get(`session:${id}`)) ?? '{}') as { status?: string }).status;
const arrives = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 120_000, interval: 300 });
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await world.causeway(args);
  expect(code, `${args.join(' ')}: ${stdout}${stderr}`).toBe(0);
  return stdout;
}

beforeAll(async () => {
  world = await World.open('redis-cluster');
  cluster = await RedisCluster.start(world.environment);
  world.environment['TARGET_REDIS_URL'] = cluster.url;
  connection = openRedis(cluster.url);
  for (const key of foreign) await connection.set(key, 'not ours');
  await world.seed(400, 0);
  await world.source.collection('sessions').insertMany(sessions);
  const stage = (name: string, percentage: number, writes = 'dual_write', soakSeconds = 1) => ({
    ...{ name, percentage, writes, soakSeconds },
  });
  const settings = {
    stages: [stage('reads', 50), stage('writes', 100, 'new_system', 600)],
    // Many segments, so that a node can die between two.
    segmentDocuments: 40,
    sampleSeconds: 0.5,
    policy: { queryTime: { floorMs: 5000 } },
    quarantineBudget: 1,
    configurationDirectory: join(world.home, 'configuration'),
  };
  await writeFile(join(world.home, 'settings.json'), JSON.stringify(settings));
  await world.worker();
});
afterAll(async () => {
  connection?.disconnect();
  await cluster?.stop();
  await world?.close();
});

const takenOver = (node: ClusterNode) =>
  vi.waitFor(async () => expect(await node.isMaster()).toBe(true), { timeout: 30_000, interval: 100 });

async function killed(master: ClusterNode): Promise<void> {
  const replica = await cluster.replicaOf(master);
  await master.kill();
  await takenOver(replica);
}

async function moved(master: ClusterNode): Promise<void> {
  const replica = await cluster.replicaOf(master);
  await replica.client.cluster('FAILOVER');
  await takenOver(replica);
}

const config = () => ['--config', join(world.home, 'settings.json')];

test('a master dies under the copy, and every session has its key', async () => {
  const copied = run('start', '--until', 'data', '--wait', ...config());
  const first = (await cluster.masters())[0]!;
  // More than what preflight's rehearsal makes and removes.
  await vi.waitFor(async () => expect(await first.client.dbsize()).toBeGreaterThan(20), {
    timeout: 120_000,
    interval: 10,
  });
  await killed(first);
  await copied;
  first.start();
  await cluster.healthy();
  for (const id of ids) expect(await statusOf(id), id).toBe('active');
});

test('a master dies under capture, and changes and deletions arrive', async () => {
  const second = (await cluster.masters())[1]!;
  const source = world.source.collection('sessions');
  await source.updateMany({ session_id: { $in: changed } }, { $set: { status: 'ended' } });
  await source.deleteMany({ session_id: { $in: gone } });
  await killed(second);
  await arrives(async () => {
    for (const id of changed) expect(await statusOf(id), id).toBe('ended');
    for (const id of gone) expect(await connection.exists(`session:${id}`), id).toBe(0);
  });
  second.start();
  await cluster.healthy();
  // What a dead master had acknowledged and not passed on is found and written again.
  await run('verify', '--collection', 'sessions', '--repair');
  expect(JSON.parse(await run('verify', '--collection', 'sessions', '--json'))).toMatchObject({
    different: 0,
    open: 0,
    evicted: 0,
  });
});

test('the cutover and the way back, with masters that move under both', async () => {
  await run('start', ...config());
  await world.until((status) => Object.values(status.routing).some((route) => route.percentage === 50), 120_000);
  await moved((await cluster.masters())[2]!);
  await world.until(
    (status) => Object.values(status.routing).some((route) => route.writeMode === 'new_system'),
    120_000,
  );
  await world.rows(`update sessions set status = 'new' where session_id = any($1)`, [braces]);
  await moved((await cluster.masters())[0]!);
  await run('rollback', '--to', 'old', '--reason', 'test');
  await world.until((status) => Object.values(status.routing).every((route) => route.writeMode !== 'new_system'));
  const kept = braces.filter((id) => !gone.includes(id));
  const source = world.source.collection('sessions');
  expect(await source.countDocuments({ session_id: { $in: kept }, status: 'new' })).toBe(kept.length);
  // A key follows its row, or is gone until its document changes: it is never the old value.
  for (const id of kept) expect(['new', undefined], id).toContain(await statusOf(id));
  await source.updateMany({ session_id: { $in: kept } }, { $set: { status: 'again' } });
  await arrives(async () => {
    for (const id of kept) expect(await statusOf(id), id).toBe('again');
  });
});

test('undone, nothing of the migration is left on any node, and the keys of others are', async () => {
  await run('rollback', '--reason', 'test');
  await arrives(async () => {
    let keys = 0;
    for (const { client } of await cluster.masters()) keys += await client.dbsize();
    expect(keys).toBe(foreign.length);
  });
  for (const key of foreign) expect(await connection.get(key)).toBe('not ours');
});
