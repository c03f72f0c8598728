// The copy gives way to change capture: it waits while capture is behind, goes on when capture has come up, and never waits without end.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Way } from '../../activities/make-way.ts';
import type { Resources } from '../../activities/resources.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let beats = 0;
const waiting = { heartbeat: () => void beats++, cancelled: () => false };

beforeAll(async () => {
  world = await World.open('make_way');
  const postgres = openPool(world.environment['TARGET_POSTGRES_URL']!, 2);
  await makeControlSchema(postgres, world.name);
  resources = { postgres, source: { client: world.source.client, db: world.source } } as unknown as Resources;
});
beforeEach(() => {
  beats = 0;
});
afterAll(async () => {
  await resources.postgres.end();
  await world.close();
});

/** Every change up to now read; one of `ago` seconds waits in a lane. */
async function captureBehind(ago: number): Promise<void> {
  await world.rows('delete from migration_control.capture_stream');
  await world.rows('delete from migration_control.captured');
  await world.rows(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images, seen_at)
     values ('{}', 1, 1, 0, 0, 1, 'updateLookup', clock_timestamp() + interval '1 minute')`,
  );
  await world.rows(
    `insert into migration_control.captured (lane, segment, first_version, last_version, events, first_wall, last_wall, content)
     values (0, 1, 1, 1, 1, clock_timestamp() - interval '${ago} s', clock_timestamp(), '')`,
  );
}

test('nothing is waited for without capture, without a limit, or below it', async () => {
  await new Way(resources).make(5000, waiting);
  await captureBehind(60);
  await new Way(resources).make(undefined, waiting);
  await new Way(resources).make(120_000, waiting);
  expect(beats).toBe(0);
});

test('a segment waits until capture has come up, and shows that it lives', async () => {
  await captureBehind(60);
  const applied = sleep(2000).then(() => world.rows('delete from migration_control.captured'));
  const waited = await new Way(resources).make(5000, waiting);
  await applied;
  expect(waited).toBeGreaterThan(1900);
  expect(waited).toBeLessThan(5000);
  expect(beats).toBeGreaterThan(1);
});

test('below the limit segments go one after the other, well below it all at once', async () => {
  await captureBehind(3);
  const way = new Way(resources);
  const waits = await Promise.all([10_000, 10_000, 10_000].map((limit) => way.make(limit, waiting)));
  expect(Math.max(...waits)).toBeLessThan(1000);
  await captureBehind(3);
  expect(await way.make(5500, waiting)).toBeGreaterThan(1000);
});

test('it goes on after a while, however far capture is behind, and at once when it is cancelled', async () => {
  await captureBehind(60);
  const waited = await new Way(resources, 3000).make(5000, waiting);
  expect(waited).toBeGreaterThanOrEqual(3000);
  expect(waited).toBeLessThan(7000);
  expect(await new Way(resources).make(5000, { ...waiting, cancelled: () => true })).toBeLessThan(1000);
});
