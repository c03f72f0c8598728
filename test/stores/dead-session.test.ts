// What a process that was killed or hangs has open keeps documents and rows locked; another that lives ends it, and they can be written.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Resources } from '../../activities/resources.ts';
import { catchUpControlSchema, makeControlSchema } from '../../control/schema.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

const root = new URL('../../', import.meta.url);
let world: World;
let resources: Resources;
beforeAll(async () => {
  world = await World.open('dead-session');
  const pool = openPool(world.environment['TARGET_POSTGRES_URL']!, 1);
  await makeControlSchema(pool, world.name);
  await pool.end();
  resources = await world.resources('living');
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

/** Dies with a document of both databases written and not committed. */
const doomed = `
const { openResources } = await import('${new URL('activities/resources.ts', root).href}');
const { SOURCE_MONGODB_URL: source, TARGET_POSTGRES_URL: postgres, TARGET_MONGODB_URL: mongodb, TARGET_REDIS_URL: redis, CAUSEWAY_HOME } = process.env;
const resources = await openResources({ source, postgres, mongodb, redis }, CAUSEWAY_HOME, { host: 'doomed', process: 'doomed' });
for (const store of [resources.source, resources.mongodb]) {
  const session = await store.session();
  session.startTransaction();
  await store.db.collection('held').updateOne({ _id: 'x' }, { $set: { by: 'doomed' } }, { session });
}
process.kill(process.pid, 'SIGKILL');
`;

test('what a dead process holds is free again within seconds', { timeout: 90_000 }, async () => {
  for (const db of [world.source, world.target])
    await db.collection<{ _id: string }>('held').insertOne({ _id: 'x', by: 'nobody' } as never);
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', doomed], {
    cwd: root.pathname,
    env: { ...process.env, ...world.environment },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
  const sessions = () => world.rows('select store from migration_control.writing_sessions order by 1');
  expect(await sessions()).toEqual([{ store: 'source' }, { store: 'target' }]);

  const written = [world.source, world.target].map(async (db) => {
    await db.collection<{ _id: string }>('held').updateOne({ _id: 'x' }, { $set: { by: 'living' } });
    return Date.now();
  });
  // Locked: nobody has noticed yet.
  expect(await Promise.race([...written, sleep(3000, 'held')])).toBe('held');
  resources.sessions.watch();
  const started = Date.now();
  for (const at of await Promise.all(written)) expect(at - started).toBeLessThan(15_000);
  for (const db of [world.source, world.target])
    expect(await db.collection<{ _id: string }>('held').findOne({ _id: 'x' })).toMatchObject({ by: 'living' });
  await expect.poll(sessions, { timeout: 10_000 }).toEqual([{ store: 'postgres' }]);
});

/** Hangs in the middle of a COPY, which PostgreSQL's own limits wait for, with a row locked. */
const hanging = `
const { openResources } = await import('${new URL('activities/resources.ts', root).href}');
const { from } = await import('pg-copy-streams');
const { SOURCE_MONGODB_URL: source, TARGET_POSTGRES_URL: postgres, TARGET_MONGODB_URL: mongodb, TARGET_REDIS_URL: redis, CAUSEWAY_HOME } = process.env;
const resources = await openResources({ source, postgres, mongodb, redis }, CAUSEWAY_HOME, { host: 'hanging', process: 'hanging' });
resources.sessions.watch();
const client = await resources.postgres.connect();
await client.query("begin; set local idle_in_transaction_session_timeout = '1s'; update held set by = 'hanging'");
client.query(from('copy held from stdin')).write('y\tha');
setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 3000);
`;

test(
  'what a process holds in PostgreSQL that hangs within a COPY is free again within seconds',
  { timeout: 90_000 },
  async () => {
    await world.rows(`create table held as select 'x' as id, 'nobody' as by`);
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', hanging], {
      cwd: root.pathname,
      env: { ...process.env, ...world.environment },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    try {
      const seen = () =>
        world.rows<{ ago: string }>(
          `select extract(epoch from clock_timestamp() - seen_at) as ago from migration_control.writing_sessions where holder = 'hanging'`,
        );
      await expect.poll(async () => Number((await seen())[0]?.ago ?? 0), { timeout: 30_000 }).toBeGreaterThan(5);
      const started = Date.now();
      expect(await world.rows(`update held set by = 'living' returning id`)).toEqual([{ id: 'x' }]);
      expect(Date.now() - started).toBeGreaterThan(500);
      expect(Date.now() - started).toBeLessThan(15_000);
      await expect.poll(seen, { timeout: 10_000 }).toEqual([]);
    } finally {
      child.kill('SIGKILL');
    }
  },
);

test('a session that is in use is shown again and again, and stays', { timeout: 60_000 }, async () => {
  const session = await resources.mongodb.session();
  try {
    session.startTransaction();
    const held = world.target.collection<{ _id: string }>('held');
    await resources.mongodb.db
      .collection<{ _id: string }>('held')
      .updateOne({ _id: 'x' }, { $set: { n: 1 } }, { session });
    await sleep(12_000);
    expect(await resources.sessions.endDead()).toBe(0);
    await session.commitTransaction();
    expect(await held.findOne({ _id: 'x' })).toMatchObject({ n: 1 });
  } finally {
    await session.endSession();
  }
});

test('a migration that was begun before gets what newer workers need; an empty database stays empty', async () => {
  await world.rows('drop table migration_control.writing_sessions');
  await world.rows(
    `delete from migration_control.schema_versions where file in ('000011_writing_sessions.sql', '000012_writing_connections.sql')`,
  );
  expect(await catchUpControlSchema(resources.postgres)).toEqual([
    '000011_writing_sessions.sql',
    '000012_writing_connections.sql',
  ]);
  expect(await catchUpControlSchema(resources.postgres)).toEqual([]);
  const other = await World.open('dead-session');
  try {
    const pool = openPool(other.environment['TARGET_POSTGRES_URL']!, 1);
    expect(await catchUpControlSchema(pool)).toEqual([]);
    expect(await other.rows(`select 1 where to_regnamespace('migration_control') is not null`)).toEqual([]);
    await pool.end();
  } finally {
    await other.close();
  }
});
