// TimescaleDB's policies run once the new system is the one that counts, and never drop by themselves what is counted.
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { armPolicies } from '../../activities/policies.ts';
import { disarmPolicies, policiesOf, unarmedText } from '../../stores/postgres/policies.ts';
import { dropTables, makeTables } from '../../stores/postgres/schema.ts';
import { hypertable, numeric, text, timestamptz } from '../../stores/postgres/target.ts';
import { openTimescale, type Timescale } from '../support/timescale.ts';

const summed = hypertable('summed', {
  columns: { at: timestamptz({ notNull: true }), kind: text({ notNull: true }), cost: numeric(20, 10) },
  time: 'at',
  lifecycle: {
    compressAfter: '7 days',
    retainFor: '365 days',
    segmentBy: 'kind',
    daily: { view: 'summed_daily', by: ['kind'], sums: ['cost'], zone: 'Asia/Shanghai' },
  },
});
const all = ['refresh of summed_daily', 'compression of summed', 'retention of summed'];

let db: Timescale;
beforeAll(async () => void (db = await openTimescale()), 120_000);
beforeEach(async () => {
  await dropTables(db.pool);
  await makeTables(db.pool, [summed], []);
  await routed('new_system');
  await put(3, 'recent');
}, 60_000);

const routed = (mode: string) =>
  db.client.query(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('c', 100, '${mode}', 1)
     on conflict (collection) do update set write_mode = excluded.write_mode`,
    [],
  );
const put = (days: number, id: string) =>
  db.client.query(`insert into summed (source_id, at, kind, cost) values ($1, now() - $2 * interval '1 day', 'k', 2)`, [
    id,
    days,
  ]);
const armedNow = async () => (await policiesOf(db.pool))!.filter((one) => one.armed).map((one) => one.of);
const keep = { dropOlder: false };

test('made, they are not armed, and that is said', async () => {
  expect(await armedNow()).toEqual([]);
  expect(unarmedText(await policiesOf(db.pool))).toContain(`not armed: ${all.join(', ')}.`);
});

test('all are armed where nothing is older than what retention keeps, and the aggregate holds the whole history', async () => {
  await put(200, 'long ago');
  expect(await armPolicies({ postgres: db.pool }, keep)).toEqual({ armed: all, left: [] });
  expect(await armPolicies({ postgres: db.pool }, keep)).toEqual({ armed: all, left: [] });
  expect(unarmedText(await policiesOf(db.pool))).toBeUndefined();
  expect(await db.rows('select sum(cost)::int as cost from summed_daily')).toEqual([{ cost: 4 }]);
});

test('retention waits where rows are older, with the figure and what to do, until it is ordered', async () => {
  await put(400, 'old');
  await put(500, 'older');
  const { armed, left } = await armPolicies({ postgres: db.pool }, keep);
  expect(armed).toEqual(all.slice(0, 2));
  expect(left).toEqual([
    {
      policy: 'retention of summed',
      why: expect.stringMatching(/^2 rows of summed are older than 365 days.*--drop-older/),
    },
  ]);
  expect(unarmedText(await policiesOf(db.pool))).toContain('not armed: retention of summed.');
  expect(await db.rows('select 1 from summed')).toHaveLength(3);
  expect(await armPolicies({ postgres: db.pool }, { dropOlder: true })).toEqual({ armed: all, left: [] });
});

test.each(['old', 'dual_write'])('none is armed while writes are %s', async (mode) => {
  await routed(mode);
  const { armed, left } = await armPolicies({ postgres: db.pool }, { dropOlder: true });
  expect(armed).toEqual([]);
  expect(left.map((one) => one.policy)).toEqual(all);
  expect(left[0]!.why).toMatch(/not with the new system/);
  expect(await armedNow()).toEqual([]);
});

test('they are disarmed where writes go back', async () => {
  await armPolicies({ postgres: db.pool }, keep);
  expect(await disarmPolicies(db.client)).toEqual(all);
  expect(await armedNow()).toEqual([]);
});
