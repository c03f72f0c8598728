// What a migration does to hypertables later, on compressed chunks too: the way back, a restore, an undo, a decommission.
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { dropSourceId } from '../../activities/decommission/retire.ts';
import { armTable, disarmTable } from '../../activities/reverse/arm.ts';
import { ownWrites } from '../../stores/postgres/connection.ts';
import { dropTables, emptyTables, makeTables } from '../../stores/postgres/schema.ts';
import { emptyAll, lockTables } from '../../stores/postgres/snapshot.ts';
import { hypertable, numeric, table, text, timestamptz } from '../../stores/postgres/target.ts';
import { withoutTriggers } from '../../stores/postgres/triggers.ts';
import { openTimescale, type Timescale } from '../support/timescale.ts';

const columns = { at: timestamptz({ notNull: true }), kind: text({ notNull: true }), cost: numeric(20, 10) };
const lifecycle = { compressAfter: '7 days', retainFor: '365 days', segmentBy: 'kind' };
const targets = {
  plain: hypertable('plain', { columns, time: 'at' }),
  compressed: hypertable('compressed', { columns, time: 'at', lifecycle }),
  summed: hypertable('summed', {
    columns,
    time: 'at',
    indexes: [['kind', 'at desc']],
    lifecycle: { ...lifecycle, daily: { view: 'summed_daily', by: ['kind'], sums: ['cost'], zone: 'Asia/Shanghai' } },
  }),
};
const usual = table('usual', { columns });
const each = Object.entries(targets);

let db: Timescale;
beforeAll(async () => {
  db = await openTimescale();
  await db.client.query(
    `create table noted (what text); create function note() returns trigger language plpgsql as $$ begin insert into noted values (tg_argv[0]); return null; end $$;`,
  );
}, 120_000);

const put = (name: string) =>
  db.client.query(
    `insert into ${name} (source_id, at, kind, cost) select 's' || i, timestamptz '2026-01-01Z' + i * interval '1 day', 'k' || i % 3, i from generate_series(1, 100) i`,
  );
const contents = (name: string) =>
  db.rows<{ rows: number; cost: number }>(`select count(*)::int as rows, sum(cost)::int as cost from ${name}`);
const compressedChunks = async (name: string) =>
  (await db.rows(`select 1 from timescaledb_information.chunks where hypertable_name = '${name}' and is_compressed`))
    .length;
const whole = [{ rows: 100, cost: 5050 }];

beforeEach(async () => {
  await makeTables(db.pool, [...Object.values(targets), usual], []);
  for (const [name, target] of each) {
    await put(name);
    if (target.lifecycle) await db.client.query(`select compress_chunk(c) from show_chunks('${name}') c`);
  }
}, 60_000);
afterEach(async () => {
  await dropTables(db.pool);
  await db.client.query('delete from noted');
  await db.client.query('delete from migration_control.outbox');
}, 60_000);

const shapeOf = (name: string) => ({ schema: 'public', table: name, columns: [] });

test.each(each)(
  'a restore empties and fills %s; triggers of others do not fire, and are there afterwards',
  async (name, target) => {
    await db.client.query(
      `create trigger theirs after insert on ${name} for each row execute function note('${name}')`,
    );
    await armTable(db.client, { collection: 'c' }, target);
    await db.client.query('begin');
    await lockTables(db.client, [shapeOf(name)], 500);
    await emptyAll(db.client, [shapeOf(name)]);
    await withoutTriggers(db.client, `public."${name}"`, async () => void (await put(name)));
    await db.client.query('commit');
    expect(await contents(name)).toEqual(whole);
    expect(await db.rows('select 1 from noted')).toEqual([]);
    expect(await db.rows('select 1 from migration_control.outbox')).toEqual([]);
    // As before: theirs and ours fire, chunks compress, the aggregate has what is there now.
    await db.client.query(`insert into ${name} (source_id, at, kind, cost) values ('new', '2026-01-05Z', 'k1', 1)`);
    expect(await db.rows('select what from noted')).toEqual([{ what: name }]);
    expect(await db.rows('select source_id from migration_control.outbox')).toEqual([{ source_id: 'new' }]);
    if (target.lifecycle) await db.client.query(`select compress_chunk(c) from show_chunks('${name}') c`);
    if (!target.lifecycle?.daily) return;
    await db.client.query(`call refresh_continuous_aggregate('summed_daily', null, null)`);
    expect(await db.rows('select sum(rows)::int as rows, sum(cost)::int as cost from summed_daily')).toEqual([
      { rows: 101, cost: 5051 },
    ]);
  },
);

test('what is in a restored table is what its aggregate shows, also where the aggregate was computed before', async () => {
  await db.client.query(`call refresh_continuous_aggregate('summed_daily', null, null)`);
  await db.client.query('begin');
  await emptyAll(db.client, [shapeOf('summed')]);
  await withoutTriggers(
    db.client,
    'summed',
    async () =>
      void (await db.client.query(
        `insert into summed (source_id, at, kind, cost) values ('only', '2026-02-02Z', 'k1', 7)`,
      )),
  );
  await db.client.query('commit');
  await db.client.query(`call refresh_continuous_aggregate('summed_daily', null, null)`);
  expect(await db.rows('select rows::int, cost::int from summed_daily')).toEqual([{ rows: 1, cost: 7 }]);
});

test('triggers of a usual table are enabled again as they were, and one that was disabled stays so', async () => {
  for (const one of ['fires', 'always', 'off'])
    await db.client.query(
      `create trigger "T ${one}" after insert on usual for each row execute function note('${one}')`,
    );
  await db.client.query(
    'alter table usual enable always trigger "T always"; alter table usual disable trigger "T off";',
  );
  await db.client.query('begin');
  await withoutTriggers(db.client, 'public."usual"', async () => void (await put('usual')));
  await db.client.query('commit');
  expect(await db.rows('select 1 from noted')).toEqual([]);
  expect(
    await db.rows(
      `select tgname, tgenabled from pg_trigger where tgrelid = 'usual'::regclass and not tgisinternal order by 1`,
    ),
  ).toEqual([
    { tgname: 'T always', tgenabled: 'A' },
    { tgname: 'T fires', tgenabled: 'O' },
    { tgname: 'T off', tgenabled: 'D' },
  ]);
});

test.each(each)('the way back hears of every change of %s, and is taken down again', async (name, target) => {
  await armTable(db.client, { collection: 'c' }, target);
  await armTable(db.client, { collection: 'c' }, target);
  await db.client.query(`update ${name} set cost = 1000 where source_id = 's5'`);
  await db.client.query(`delete from ${name} where source_id = 's6'`);
  await db.client.query(`insert into ${name} (at, kind) values ('2026-01-20Z', 'k1')`);
  await db.client.query(
    `insert into ${name} (source_id, at, kind) values ('s7', '2026-01-08Z', 'k9') on conflict (source_id, at) do update set kind = excluded.kind`,
  );
  await db.client.query('begin');
  await db.client.query(ownWrites);
  await db.client.query(`update ${name} set cost = 2 where source_id = 's90'`);
  await db.client.query('commit');
  const told = await db.rows<{ source_id: string }>('select source_id from migration_control.outbox order by id');
  expect(told.map((row) => row.source_id)).toEqual(['s5', 's6', expect.stringMatching(/^[0-9a-f]{24}$/), 's7']);
  await expect(db.client.query(`truncate ${name}`)).rejects.toThrow(/would not reach the old system/);
  await disarmTable(db.client, target);
  await db.client.query(`delete from ${name} where source_id = 's8'`);
  expect(await db.rows('select 1 from migration_control.outbox')).toHaveLength(4);
});

test.each(each)('a decommission drops the old ids of %s; chunks stay compressed', async (name, target) => {
  const before = await compressedChunks(name);
  expect(before > 0).toBe(target.lifecycle !== undefined);
  expect(await dropSourceId({ postgres: db.pool }, target)).toBe(true);
  expect(await dropSourceId({ postgres: db.pool }, target)).toBe(false);
  expect(await contents(name)).toEqual(whole);
  expect(await compressedChunks(name)).toBe(before);
  expect(
    await db.rows(
      `select pg_get_constraintdef(oid) as key from pg_constraint where conrelid = '${name}'::regclass and contype = 'p'`,
    ),
  ).toEqual([{ key: 'PRIMARY KEY (id, at)' }]);
});

test('an undo empties hypertables with compressed chunks', async () => {
  await db.client.query('begin');
  await emptyTables(db.client);
  await db.client.query('commit');
  for (const [name] of each) expect(await contents(name)).toEqual([{ rows: 0, cost: null }]);
});
