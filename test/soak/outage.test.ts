// PostgreSQL is away for moments while lanes have work left: the reader must not go on from a position that no longer stands.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect, test } from 'vitest';
import { startLegacyWriter } from '../../seed/legacy-writer.ts';
import { stack } from '../support/stack.ts';
import { World } from '../support/world.ts';
import { completed, startWorker, Watch } from './chaos.ts';

test('no change is lost when PostgreSQL refuses connections again and again', { timeout: 240_000 }, async () => {
  const world = await World.open('outage');
  const watch = new Watch(world.environment);
  const admin = new pg.Client({ connectionString: stack.TARGET_POSTGRES_URL });
  await admin.connect();
  const database = new URL(world.environment['TARGET_POSTGRES_URL']!).pathname.slice(1);
  await world.seed(2000, 0);
  const writer = startLegacyWriter({ url: world.environment['SOURCE_MONGODB_URL']!, perSecond: 250, seed: 8 });
  const worker = await startWorker(world);
  try {
    expect((await world.causeway(['start', '--until', 'data'])).code).toBe(0);
    await watch.back(60_000);
    for (let n = 0; n < 6; n++) {
      await sleep(2000);
      await admin.query(`alter database ${database} allow_connections false`);
      await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, [database]);
      await sleep(1200);
      await admin.query(`alter database ${database} allow_connections true`);
    }
    await watch.back(60_000);
    await writer.stop();
    expect(await watch.finished({ environment: world.environment, migration: world.name }, 120_000)).toEqual(completed);
    expect(await watch.differences(world.environment)).toEqual([]);
  } finally {
    await writer.stop();
    worker.kill('SIGKILL');
    await admin.end();
    await watch.close();
    await world.close();
  }
});
