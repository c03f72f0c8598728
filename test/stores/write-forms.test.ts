// What an application writes on the new side, in the forms that are natural there, on the tables as the migration makes them; and values that change
// hands, which those tables check row by row.
import { serialize } from 'bson';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { applyChanges, feedsOf } from '../../activities/apply.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { armReverse, disarmReverse } from '../../activities/reverse/arm.ts';
import { makePostgres } from '../../activities/targets.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { sourceId } from '../../core/identity.ts';
import { defineMapping, type Mapping } from '../../mappings/mapping.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import {
  bigint,
  boolean,
  date,
  double,
  integer,
  jsonb,
  numeric,
  table,
  text,
  timestamptz,
  type Column,
} from '../../stores/postgres/target.ts';
import { World } from '../support/world.ts';

const kinds: Record<string, { column: Column; of: (n: number) => unknown }> = {
  nullable: { column: text(), of: (n) => `value ${n}` },
  text: { column: text({ notNull: true }), of: (n) => `value ${n}` },
  bigint: { column: bigint({ notNull: true }), of: (n) => n },
  integer: { column: integer({ notNull: true }), of: (n) => n },
  numeric: { column: numeric(12, 4, { notNull: true }), of: (n) => `${n}.5` },
  double: { column: double({ notNull: true }), of: (n) => n + 0.5 },
  date: { column: date({ notNull: true }), of: (n) => `2026-01-${String(n + 1).padStart(2, '0')}` },
  timestamptz: { column: timestamptz({ notNull: true }), of: (n) => n * 1e6 },
  jsonb: { column: jsonb({ notNull: true }), of: (n) => ({ n }) },
};
const mappingOf = (kind: string, { column, of }: (typeof kinds)[string]): Mapping =>
  defineMapping({
    collection: `of_${kind}`,
    class: 'static',
    shape: z.looseObject({}),
    targets: [
      table(`of_${kind}`, {
        columns: { flag: boolean({ notNull: true }), value: column },
        unique: [['flag', 'value']],
      }),
    ],
    unique: [{ rule: 'value_unique', path: 'n', key: (document) => String(document['n']), rank: () => '' }],
    transform: (document) => ({ [`of_${kind}`]: [{ flag: true, value: of(Number(document['n'])) }] }),
  });
const ownMappings = Object.entries(kinds).map(([kind, its]) => mappingOf(kind, its));

let world: World;
let resources: Resources;
const settings = { zone: 'Asia/Shanghai', providers: [] };

beforeAll(async () => {
  world = await World.open('write_forms');
  const own = await world.resources();
  resources = {
    ...own,
    mappings: new Map([...own.mappings, ...ownMappings.map((one) => [one.collection, one] as const)]),
  } as Resources;
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, [...resources.mappings.keys()]);
  for (const { collection } of ownMappings) await enroll(resources, collection, collection);
  await world.rows(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
     values ('{}', 1, 9000000000000000000, 0, 0, 1, 'updateLookup')`,
  );
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

const upsertSession = `insert into sessions (source_id, session_id, status, expires_at) values ($1, $2, $3, now() + interval '1 hour')
  on conflict (session_id) do update set status = excluded.status returning status`;
const upsertUser = (
  by: string,
) => `insert into users (source_id, username, email, password_hash, password_scheme, role, is_active)
  values ($1, $2, $3, $4, 'bcrypt', 'user', true)
  on conflict (${by}) do update set username = excluded.username, email = excluded.email, password_hash = excluded.password_hash
  returning username_key, email_key, password_hash`;
const oid = () => new ObjectId().toHexString();

describe('with the tables as the data phase leaves them', () => {
  test('a session is inserted or updated by its session_id', async () => {
    expect(await world.rows(upsertSession, [oid(), 's1', 'new'])).toEqual([{ status: 'new' }]);
    expect(await world.rows(upsertSession, [oid(), 's1', 'seen'])).toEqual([{ status: 'seen' }]);
    expect(await world.rows(`select status from sessions where session_id = 's1'`)).toEqual([{ status: 'seen' }]);
  });

  test('a user is inserted or updated by name or address, and the keys follow by themselves', async () => {
    const keys = { username_key: 'ann', email_key: 'ann@example.org' };
    const [name, address] = [' Ａnn', 'Ann@Example.org'];
    expect(await world.rows(upsertUser('username'), [oid(), name, address, 'one'])).toEqual([
      { ...keys, password_hash: 'one' },
    ]);
    for (const by of ['username', 'username_key', 'email', 'email_key'])
      expect(await world.rows(upsertUser(by), [oid(), name, address, by])).toEqual([{ ...keys, password_hash: by }]);
    await world.rows(`update users set email = 'Ann@Example.com' where username = $1`, [name]);
    expect(await world.rows('select email_key from users')).toEqual([{ email_key: 'ann@example.com' }]);
    // The same in other letters is another's name.
    await expect(world.rows(upsertUser('username'), [oid(), 'ANN', 'b@b.de', ''])).rejects.toMatchObject({
      code: '23505',
    });
    await world.rows('delete from users');
  });

  test('a setting by its key, a part of a user by its kind, a usage record by its own key', async () => {
    const upsert = (source: string, value: string) =>
      world.rows(
        `insert into app_metadata (source_id, key, category, value) values ($1, 'theme', 'ui', $2)
         on conflict (key) do update set value = excluded.value returning value`,
        [source, JSON.stringify(value)],
      );
    expect(await upsert(oid(), 'dark')).toEqual([{ value: 'dark' }]);
    expect(await upsert(oid(), 'light')).toEqual([{ value: 'light' }]);
    const [user] = await world.rows<{ id: string }>(
      `${upsertUser('username').replace('returning username_key', 'returning id, username_key')}`,
      [oid(), 'child', 'c@c.de', ''],
    );
    for (const theme of ['dark', 'light'])
      await world.rows(
        `insert into user_configs (user_id, config_type, config_data) values ($1, 'preferences', $2)
         on conflict (user_id, config_type) do update set config_data = excluded.config_data`,
        [user!.id, JSON.stringify({ theme })],
      );
    expect(await world.rows('select config_data from user_configs')).toEqual([{ config_data: { theme: 'light' } }]);
    const source = oid();
    for (const cost of [1, 2])
      await world.rows(
        `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency)
         values ($1, '2026-01-01', 'a', 'b', 1, 1, $2, 'CNY') on conflict (source_id, "timestamp") do update set cost = excluded.cost`,
        [source, cost],
      );
    expect(await world.rows('select cost::float from api_usage')).toEqual([{ cost: 2 }]);
  });

  test('no unique constraint of a table of ours is one that ON CONFLICT refuses', async () => {
    const found = await world.rows(
      `select conrelid::regclass, conname from pg_constraint c where contype in ('p', 'u') and condeferrable
       and connamespace = 'public'::regnamespace`,
    );
    expect(found).toEqual([]);
  });
});

describe('once writes may move', () => {
  const bare = `insert into sessions (session_id, status) values ($1, 'new') on conflict (session_id) do update set status = 'again' returning source_id, status`;

  test('a row needs no source_id, and keeps the one that it got', async () => {
    await armReverse(resources, settings);
    const [first] = await world.rows<{ source_id: string; status: string }>(bare, ['bare']);
    expect(first!.source_id).toMatch(/^[0-9a-f]{24}$/);
    expect(await world.rows(bare, ['bare'])).toEqual([{ source_id: first!.source_id, status: 'again' }]);
  });

  test('also after the decommission, with the control schema or without it', async () => {
    await world.rows(
      `insert into migration_control.routing (collection, percentage, write_mode, epoch)
       select distinct mapping, 100, 'new_system', 1 from migration_control.collections`,
    );
    await disarmReverse(resources, { ofNewSystem: true });
    await world.rows('delete from migration_control.routing');
    expect(await world.rows(bare, ['kept'])).toMatchObject([{ status: 'new' }]);
    const client = await world.pool.connect();
    try {
      await client.query('begin');
      await client.query('drop schema migration_control cascade');
      expect((await client.query(bare, ['without'])).rows).toMatchObject([{ status: 'new' }]);
      expect((await client.query(upsertUser('email'), [oid(), 'W', 'W@w.de', ''])).rows).toMatchObject([
        { username_key: 'w' },
      ]);
    } finally {
      await client.query('rollback');
      client.release();
    }
  });
});

describe.each(Object.keys(kinds))('unique values of type %s change hands within one batch', (kind) => {
  let time = BigInt(Math.floor(Date.now() / 1000)) << 32n;
  const ids = [0, 1, 2, 3].map(() => new ObjectId());

  async function apply(...values: (number | undefined)[]): Promise<unknown> {
    const feed = (await feedsOf(resources)).get(`of_${kind}`)!;
    const changes = values.flatMap((n, i) =>
      n === -1
        ? []
        : [
            {
              feed,
              id: sourceId(ids[i]),
              version: { time: ++time, op: 0 },
              bytes: (n === undefined ? undefined : serialize({ _id: ids[i], n })) as never,
            },
          ],
    );
    const { clashes } = await inTransaction(resources.postgres, 'testing', (client) =>
      applyChanges(resources, client, changes, settings),
    );
    return clashes;
  }
  const held = async () => {
    const rows = await world.rows<{ source_id: string; value: unknown; id: string }>(
      `select source_id, value::text, id from of_${kind}`,
    );
    return ids.map((id) => rows.find((row) => row.source_id === sourceId(id)));
  };

  test('exchanged, passed on in a ring and along a chain, taken from one that goes; rows keep their ids', async () => {
    expect(await apply(0, 1, 2)).toEqual([]);
    const before = await held();
    const values = before.map((row) => row?.value);
    expect(new Set(values).size).toBe(4);
    expect(await apply(1, 0, -1)).toEqual([]);
    expect((await held()).map((row) => row?.value)).toEqual([values[1], values[0], values[2], undefined]);
    expect(await apply(2, 1, 0)).toEqual([]);
    expect((await held()).map((row) => row?.value)).toEqual([values[2], values[1], values[0], undefined]);
    // A chain whose end is free, in both directions of the keys' order.
    expect(await apply(1, 0, 5)).toEqual([]);
    expect(await apply(0, 5, 1)).toEqual([]);
    expect((await held()).map((row) => row?.id)).toEqual(before.map((row) => row?.id));
    // The first goes, a new one takes its value.
    expect(await apply(undefined, -1, -1, 0)).toEqual([]);
    expect((await held()).map((row) => row?.value)).toEqual([undefined, expect.anything(), values[1], values[0]]);
  });
});
