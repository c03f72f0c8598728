// The same declarations on a server that has TimescaleDB: hypertables, policies that are there but not armed, a daily aggregate by local day.
import { beforeAll, expect, test } from 'vitest';
import { loadMappings } from '../../mappings/registry.ts';
import { dropTables, hasTimescale, makeTables } from '../../stores/postgres/schema.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { openTimescale, type Timescale } from '../support/timescale.ts';

let db: Timescale;
const targets = [...(await loadMappings()).values()]
  .flatMap((mapping) => mapping.targets)
  .filter((target): target is TableTarget => target.store === 'postgres');

beforeAll(async () => {
  db = await openTimescale();
  await makeTables(db.pool, targets, []);
}, 120_000);

test('the server is seen to have it', async () => expect(await hasTimescale(db.pool)).toBe(true));

test('tables with a time column are hypertables, the others are not', async () => {
  const rows = await db.rows<{ hypertable_name: string }>(
    `select hypertable_name from timescaledb_information.hypertables where hypertable_schema = 'public' order by 1`,
  );
  expect(rows.map((row) => row.hypertable_name)).toEqual(
    targets
      .filter((target) => target.time)
      .map((target) => target.name)
      .sort(),
  );
});

test('compression, retention and refresh are created and not armed', async () => {
  const rows = await db.rows<{ proc_name: string; scheduled: boolean }>(
    `select proc_name, scheduled from timescaledb_information.jobs where job_id >= 1000 order by 1`,
  );
  for (const policy of ['policy_compression', 'policy_retention', 'policy_refresh_continuous_aggregate'])
    expect(rows.map((row) => row.proc_name)).toContain(policy);
  expect(rows.every((row) => !row.scheduled)).toBe(true);
});

test('the daily aggregate goes by the local day and the currency', async () => {
  const insert = (id: string, at: string, cost: string, currency: string) =>
    db.client.query(
      `insert into api_usage (source_id, "timestamp", provider, input_tokens, output_tokens, cost, currency) values ($1, $2, 'deepseek', 1, 1, $3, $4)`,
      [id, at, cost, currency],
    );
  // 16:30 UTC is half past midnight of the next day in Shanghai.
  await insert('a', '2026-01-01T15:00:00Z', '0.1', 'CNY');
  await insert('b', '2026-01-01T16:30:00Z', '0.2', 'CNY');
  await insert('c', '2026-01-01T16:30:00Z', '0.000000001', 'USD');
  await db.client.query(`call refresh_continuous_aggregate('api_usage_daily', null, null)`);
  const rows = await db.rows<{ day: string; currency: string; cost: string }>(
    `select to_char(day at time zone 'Asia/Shanghai', 'YYYY-MM-DD') as day, currency, cost::text from api_usage_daily order by 1, 2`,
  );
  expect(rows.map((row) => [row.day, row.currency, Number(row.cost)])).toEqual([
    ['2026-01-01', 'CNY', 0.1],
    ['2026-01-02', 'CNY', 0.2],
    ['2026-01-02', 'USD', 1e-9],
  ]);
});

test('chunks compress, and a second making changes nothing', async () => {
  await db.client.query(`select compress_chunk(show_chunks('api_usage'))`);
  expect((await db.rows('select * from api_usage')).length).toBe(3);
  expect(await makeTables(db.pool, targets, [])).toEqual([]);
});

test('undoing removes what was made, and nothing else', async () => {
  await db.client.query('create table theirs (id int)');
  await dropTables(db.pool);
  const rows = await db.rows<{ tablename: string }>(`select tablename from pg_tables where schemaname = 'public'`);
  expect(rows).toEqual([{ tablename: 'theirs' }]);
});
