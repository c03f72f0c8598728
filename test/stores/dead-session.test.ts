// A process killed within a transaction of MongoDB leaves its documents locked; another that lives ends its session, and they can be written.
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
  await expect.poll(sessions, { timeout: 10_000 }).toEqual([]);
});

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
  await world.rows(`delete from migration_control.schema_versions where file = '000011_writing_sessions.sql'`);
  expect(await catchUpControlSchema(resources.postgres)).toEqual(['000011_writing_sessions.sql']);
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
