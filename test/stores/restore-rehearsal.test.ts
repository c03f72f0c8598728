// What a restore will do is tried before anything is replaced: what PostgreSQL would refuse halfway is refused while all stores stand.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createSnapshot } from '../../activities/checkpoint/create.ts';
import { verifySnapshot } from '../../activities/checkpoint/restore.ts';
import { prepareControl } from '../../activities/record.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { begun } from '../support/standing.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
const order = { migration: 'm', name: 'first', snapshotDirectory: 'snapshots' };
const quiet = () => undefined;

beforeAll(async () => {
  world = await World.open('rehearsal');
  resources = await world.resources();
  await prepareControl(resources, 'm', begun);
  await makePostgres(resources, [...resources.mappings.keys()]);
  await world.pool.query(
    `insert into migration_control.collections (mapping, source) values ('users', 'users') on conflict do nothing;
     insert into users (source_id, username, username_key, email, email_key, password_hash, password_scheme, role, is_active)
       select 'u' || i, 'name ' || i, 'name ' || i, i || '@example.com', i || '@example.com', 'x', 'x', 'user', true from generate_series(1, 1500) i`,
  );
  await createSnapshot(resources, { ...order, workflow: null, run: 'r' }, quiet);
});
afterAll(async () => {
  await resources?.close();
  await world?.close();
});

const state = () =>
  world.rows(
    `select (select count(*)::int from users) as users, (select max(id)::int from users) as last,
       (select count(*)::int from migration_control.snapshots) as snapshots,
       (select last_value::int from users_id_seq) as sequence`,
  );

test('tried, everything stands as it stood', async () => {
  const before = await state();
  expect(await verifySnapshot(resources, order, quiet)).toMatchObject({ name: 'first', unfinished: false });
  expect(await state()).toEqual(before);
});

test.each([
  ['a table of others refers to ours', 'create table theirs (of bigint references users (id))', 'drop table theirs'],
  [
    'a trigger of others refuses TRUNCATE',
    `create function no() returns trigger language plpgsql as $$ begin raise exception 'not here'; end $$;
     create trigger no before truncate on users execute function no()`,
    'drop trigger no on users; drop function no()',
  ],
  [
    'a constraint of others refuses a row',
    `alter table users add constraint short check (length(username) < 4) not valid`,
    'alter table users drop constraint short',
  ],
])('refused where %s, with every table as it was', async (_, make, remove) => {
  const before = await state();
  await world.pool.query(make);
  await expect(verifySnapshot(resources, order, quiet)).rejects.toMatchObject({
    type: 'CheckpointRefused',
    message: expect.stringMatching(/does not take its tables back.*Nothing was changed/s),
  });
  expect(await state()).toEqual(before);
  await world.pool.query(remove);
  await verifySnapshot(resources, order, quiet);
});

test('one that waits for a lock says that the store is busy', async () => {
  const client = await world.pool.connect();
  await client.query('begin; lock table users in access share mode');
  const waiting = verifySnapshot(resources, order, quiet);
  setTimeout(() => void client.query('rollback').finally(() => client.release()), 1500);
  expect(await waiting).toMatchObject({ name: 'first' });
});
