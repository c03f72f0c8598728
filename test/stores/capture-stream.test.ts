// The change stream's row: only the reader whose epoch and numbering are those that stand may write changes.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { holdsStream, takeStream } from '../../control/capture.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('stream');
  await makeControlSchema(world.pool, world.name);
  await world.pool.query(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images, next_segment)
     values ('{}', 1, 1, 0, 0, 4, 'updateLookup', 7)`,
  );
});
afterAll(() => world.close());

const holds = (epoch: number, segment: bigint) =>
  inTransaction(world.pool, 'testing', (client) => holdsStream(client, epoch, segment));

test('a reader that goes on from an older position is refused', async () => {
  const { epoch } = (await takeStream(world.pool, 'one'))!;
  expect(await holds(epoch, 7n)).toBe(true);
  expect(await holds(epoch, 3n)).toBe(false);
  expect(await holds(epoch, 8n)).toBe(false);
});

test('a reader that was overtaken is refused', async () => {
  const { epoch } = (await takeStream(world.pool, 'one'))!;
  await takeStream(world.pool, 'two');
  expect(await holds(epoch, 7n)).toBe(false);
  expect(await holds(epoch + 1, 7n)).toBe(true);
});
