// Rights that only later steps need are missed before anything is begun, each by name, with a statement that does grant it.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { grantFor as mongoGrant, refusedReads, refusedTarget, refusedWrites } from '../../stores/mongodb/rehearsal.ts';
import {
  markOf as mongoMark,
  removeMark as removeMongoMark,
  setMark as setMongoMark,
} from '../../stores/mongodb/identity.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { refusedSteps } from '../../stores/postgres/rehearsal.ts';
import { openRedis } from '../../stores/redis/connection.ts';
import { markOf, removeMark, setMark } from '../../stores/redis/identity.ts';
import { grantFor as redisGrant, refusedSteps as refusedByRedis } from '../../stores/redis/rehearsal.ts';
import { checkout, homeOf } from '../../stack/home.ts';
import { mongoBinary } from '../../stack/install.ts';
import { startServer, type Server } from '../support/server.ts';
import { World } from '../support/world.ts';

const password = 'p@ss:w/rd%';
const login = (user: string) => `${user}:${encodeURIComponent(password)}@`;

let world: World;
let mongod: Server;
let admin: MongoClient;

const ping = async (url: string) => {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 500 });
  await client
    .db('admin')
    .command({ hello: 1 })
    .finally(() => client.close());
};

beforeAll(async () => {
  world = await World.open('rehearsal');
  const { path, is } = await mongoBinary(homeOf(world.environment), () => undefined);
  if (is === 'mongod') throw new Error('this file starts the embedded server; a mongod needs a key file for --auth');
  const args = (port: number, folder: string) => ['--port', `${port}`, '--storage-path', folder, '--cache-size', '64M'];
  const ready = (port: number) => ping(`mongodb://127.0.0.1:${port}/?directConnection=true`);
  mongod = await startServer({ program: path, args, ready });
  const open = new MongoClient(`mongodb://127.0.0.1:${mongod.port}/?directConnection=true`);
  await open.db('app').collection('users').insertOne({ name: 'first' });
  await open.db('admin').command({ createUser: 'root', pwd: password, roles: ['root'] });
  for (const [user, roles] of Object.entries({
    reader: ['read'],
    spectator: ['read'],
    writer: ['readWrite', 'dbAdmin'],
    nobody: [],
  }))
    await open
      .db('admin')
      .command({ createUser: user, pwd: password, roles: roles.map((role) => ({ role, db: 'app' })) });
  await open.close();
  await mongod.again((port, folder) => [...args(port, folder), '--auth'], ready);
  admin = new MongoClient(url('root', 'admin'));
}, 120_000);
afterAll(async () => {
  await admin?.close();
  await mongod?.stop();
  await world?.close();
});

const url = (user: string, database = 'app') =>
  `mongodb://${login(user)}127.0.0.1:${mongod.port}/${database}?authSource=admin&directConnection=true`;

function asUser(user: string) {
  const opened = openMongo(url(user), 'source');
  return { ...opened, session: () => Promise.resolve(opened.client.startSession()) };
}

test('MongoDB: a user who may only read lacks every write, and the statement that is printed grants them', async () => {
  const source = asUser('reader');
  try {
    expect(await refusedReads(source, ['users'])).toEqual([]);
    const refused = await refusedWrites(source, ['users']);
    expect(refused).toEqual(
      expect.arrayContaining([
        { action: 'createCollection', on: '' },
        { action: 'update', on: '' },
        { action: 'remove', on: 'users' },
        { action: 'update', on: 'users' },
      ]),
    );
    const sentence = await mongoGrant(source.db, refused, 'reader');
    expect(sentence).toContain('update, remove on users');
    const [, user, roles] = /grantRolesToUser\("(\w+)", (\[.*\])\)/.exec(sentence)!;
    expect(user).toBe('reader');
    await admin.db('admin').command({
      grantRolesToUser: user,
      roles: JSON.parse(roles!.replace(/(role|db):/g, '"$1":')) as [],
    });
  } finally {
    await source.client.close();
  }
  const again = asUser('reader');
  expect(await refusedWrites(again, ['users']).finally(() => again.client.close())).toEqual([]);
});

test('MongoDB: a user without any right, one with all, and nothing is left of what was tried', async () => {
  const nobody = asUser('nobody');
  const reads = await refusedReads(nobody, ['users']).finally(() => nobody.client.close());
  expect(reads).toEqual(expect.arrayContaining([{ action: 'find', on: 'users' }]));
  const writer = asUser('writer');
  expect(await refusedWrites(writer, ['users'])).toEqual([]);
  expect(await refusedTarget(writer).finally(() => writer.client.close())).toEqual([]);
  const left = await admin.db('app').listCollections({}, { nameOnly: true }).toArray();
  expect(left.map((one) => one.name).filter((name) => !name.startsWith('system.'))).toEqual(['users']);
  expect(await admin.db('app').collection('users').countDocuments()).toBe(1);
});

test("MongoDB: who may not change the mark of the target's owner is told so, and a mark outlives a rehearsal", async () => {
  const mark = { migration: 'one', of: 'another' };
  await setMongoMark(admin.db('app'), mark);
  try {
    const spectator = asUser('spectator');
    const refused = await refusedTarget(spectator).finally(() => spectator.client.close());
    expect(refused).toContainEqual({ action: 'remove', on: 'causeway_owner' });
    const writer = asUser('writer');
    expect(await refusedTarget(writer).finally(() => writer.client.close())).toEqual([]);
    expect(await mongoMark(admin.db('app'))).toEqual(mark);
  } finally {
    await removeMongoMark(admin.db('app'));
  }
});

/** Refusals that the embedded server's own roles do not know are made by its fail point, with the code that MongoDB has. */
test.each(['collMod', 'createIndexes', 'aggregate'])('MongoDB: code 13 for %s alone', async (command) => {
  await admin.db('admin').command({
    configureFailPoint: 'failCommand',
    mode: 'alwaysOn',
    data: { failCommands: [command], errorCode: 13 },
  });
  const writer = asUser('writer');
  try {
    const refused = [
      ...(await refusedReads(writer, ['users'])),
      ...(await refusedWrites(writer, ['users'])),
      ...(await refusedTarget(writer)),
    ].map((one) => one.action);
    expect(refused).toContain({ collMod: 'collMod', createIndexes: 'createIndex', aggregate: 'changeStream' }[command]);
  } finally {
    await writer.client.close();
    await admin.db('admin').command({ configureFailPoint: 'failCommand', mode: 'off' });
  }
});

test('Redis: the line of the runbook is the one that the rehearsal asks for', async () => {
  const page = await readFile(join(checkout, 'docs', 'runbook', '1-preparation.md'), 'utf8');
  const rules = (line: string) => line.split(' ').filter((rule) => /^[~+]/.test(rule));
  const documented = rules(/^ACL SETUSER .*$/m.exec(page)![0]);
  expect(new Set(documented)).toEqual(new Set(rules(await redisGrant(world.redis, ['session:'], undefined))));
});

test('PostgreSQL: each missing privilege with the statement that grants it', async () => {
  const database = new URL(world.environment['TARGET_POSTGRES_URL']!).pathname.slice(1);
  const role = `little_${database}`;
  const limited = new URL(world.environment['TARGET_POSTGRES_URL']!);
  limited.username = role;
  limited.password = encodeURIComponent(password);
  const owner = new pg.Client({ connectionString: world.environment['TARGET_POSTGRES_URL']! });
  await owner.connect();
  const pool = openPool(limited.href, 2);
  try {
    await owner.query(`create role ${role} login password '${password}'`);
    await owner.query(`revoke temporary on database ${database} from public`);
    await owner.query('revoke create on schema public from public');
    await owner.query('revoke execute on function pg_notify(text, text) from public');
    const refused = await refusedSteps(pool, false);
    expect(refused.join('\n')).toMatch(/make a schema: grant create on database/);
    expect(refused.join('\n')).toMatch(/make tables in public: grant usage, create on schema public/);
    expect(refused.join('\n')).toMatch(/temporary tables: grant temporary on database/);
    expect(refused.join('\n')).toMatch(/notify and listen: grant execute on function/);
    for (const sentence of refused) await owner.query(sentence.slice(sentence.indexOf(': ') + 2));
    expect(await refusedSteps(pool, false)).toEqual([]);
    const left = await owner.query(
      `select 1 from pg_class where relname like 'causeway_rehearsal%' union all select 1 from pg_namespace where nspname like 'causeway_rehearsal%'`,
    );
    expect(left.rows).toEqual([]);
  } finally {
    await pool.end();
    await owner.query('grant execute on function pg_notify(text, text) to public');
    await owner.query(`drop owned by ${role}; drop role ${role}`);
    await owner.end();
  }
});

test('Redis: a user of few commands and other keys; the statement grants what is missing', async () => {
  const user = `little-${process.pid}`;
  const limited = new URL(world.environment['TARGET_REDIS_URL']!);
  limited.username = user;
  limited.password = encodeURIComponent(password);
  await world.redis.call('ACL', 'SETUSER', user, 'on', `>${password}`, '~other:*', '+get', '+ping', '+info', '+select');
  const connection = openRedis(limited.href);
  try {
    const refused = await refusedByRedis(connection, ['session:']);
    expect(refused.join()).toContain('set keys session:* with an expiry by a script');
    expect(refused.join()).toContain('scan keys');
    expect(refused.join()).toContain('remember removals in {causeway:*}session:*');
    expect(refused.join()).toContain("set and remove the mark of the target's owner in causeway:owner");
    const grant = await redisGrant(connection, ['session:'], user);
    const [name, ...rules] = grant.replace('ACL SETUSER ', '').split(' ');
    expect(name).toBe(user);
    await world.redis.call('ACL', 'SETUSER', name!, ...rules);
    expect(await refusedByRedis(connection, ['session:'])).toEqual([]);
    expect(await world.redis.keys('*')).toEqual([]);
    // What preparation and the end do besides, and a mark that is there outlives a rehearsal.
    const mark = { migration: 'one', of: 'another' };
    await setMark(connection, mark);
    expect(await refusedByRedis(connection, ['session:'])).toEqual([]);
    expect(await markOf(connection)).toEqual(mark);
    await removeMark(connection);
    expect(await markOf(connection)).toBeUndefined();
  } finally {
    connection.disconnect();
    await world.redis.call('ACL', 'DELUSER', user);
  }
});
