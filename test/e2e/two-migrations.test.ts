// Two migrations in one Temporal namespace and on one host: neither takes the other's tasks, undoes its work, or its files.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { World } from '../support/world.ts';

let first: World;
let other: World;

beforeAll(async () => {
  first = await World.open('first');
  // One home: spool, configuration and bundle lie side by side.
  other = await World.open('other');
  other.environment['CAUSEWAY_HOME'] = first.home;
  await first.seed(1200, 0);
  await other.seed(1200, 0);
}, 240_000);

afterAll(async () => {
  await first?.close();
  await other?.close();
});

const contents = async (world: World) => ({
  users: (await world.rows<{ n: string }>('select count(*) n from users'))[0]!.n,
  usage: (await world.rows<{ n: string }>('select count(*) n from api_usage'))[0]!.n,
  ledger: (await world.rows<{ n: string }>('select count(*) n from migration_control.ledger'))[0]!.n,
  keys: await world.redis.dbsize(),
});

test('a worker of one migration takes no task of the other, whose abort leaves everything of the first', async () => {
  await first.worker();
  expect(await first.causeway(['start', '--until', 'data', '--wait'])).toMatchObject({ code: 0 });
  const before = await contents(first);
  expect(Number(before.users)).toBeGreaterThan(0);

  // Nobody serves it: the first migration's worker is there, and does not.
  const started = await other.causeway(['start', '--until', 'data']);
  expect(started).toMatchObject({ code: 0 });
  expect(started.stderr).toMatch(/No worker serves causeway\/other-/);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(await other.rows(`select to_regnamespace('migration_control') as there`)).toEqual([{ there: null }]);

  await other.worker();
  await other.until((status) => status.state === 'completed');
  expect((await other.causeway(['rollback', '--reason', 'test', '--wait'])).code).toBe(0);
  expect(await other.rows(`select to_regnamespace('migration_control') as there`)).toEqual([{ there: null }]);
  expect(await other.redis.dbsize()).toBe(0);
  expect(await contents(first)).toEqual(before);
});
