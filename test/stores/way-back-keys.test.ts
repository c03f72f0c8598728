// Keys follow what the application does to the rows of its sessions by SQL, though capture takes the write-back for an echo.
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { feedsOf } from '../../activities/apply.ts';
import { readAgain, redoDue } from '../../activities/capture/redo.ts';
import { applyPatiently } from '../../activities/capture/patiently.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { applyReverse } from '../../activities/reverse/apply.ts';
import { armReverse } from '../../activities/reverse/arm.ts';
import { makePostgres } from '../../activities/targets.ts';
import { bringingBack } from '../../control/reverse.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { sourceId } from '../../core/identity.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
const names = ['kept', 'gone', 'renamed', 'list', 'later'];
/** Beside them: one with a value that no column holds, which its row notes. */
const noted = 'noted';
let world: World;
let resources: Resources;
const id: Record<string, string> = {};

beforeAll(async () => {
  world = await World.open('back_keys');
  resources = await world.resources();
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions']);
  await enroll(resources, 'sessions', 'sessions');
  for (const name of names) {
    const _id = new ObjectId();
    id[name] = sourceId(_id);
    await world.source.collection('sessions').insertOne({
      _id,
      session_id: name,
      status: 'old',
      created_at: new Date(),
      expires_at: new Date(Date.now() + 3_600_000),
    });
  }
  const _id = new ObjectId();
  id[noted] = sourceId(_id);
  await world.source
    .collection('sessions')
    .insertOne({ _id, session_id: noted, status: new Code('c'), created_at: new Date() });
  const feed = (await feedsOf(resources)).get('sessions')!;
  const changes = await readAgain(resources, feed, Object.values(id));
  await inTransaction(resources.postgres, 'loading', (client) => applyPatiently(resources, client, changes, settings));
  await world.pool.query(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('sessions', 100, 'new_system', 1)`,
  );
  await armReverse(resources, settings);
}, 120_000);
afterAll(async () => {
  await resources.close();
  await world.close();
});

async function drain(using = resources): Promise<void> {
  const over = new AbortController();
  const applying = applyReverse(using, settings, new Slice(60_000, over.signal, () => undefined));
  for (const isDone = bringingBack(resources.postgres); !(await isDone());) await sleep(20);
  over.abort();
  await applying;
}
const key = async (name: string) => JSON.parse((await world.redis.get(`session:${name}`)) ?? 'null') as object | null;

test('changed, renamed and deleted by SQL: keys follow with the document', async () => {
  for (const name of names) expect(await key(name)).toMatchObject({ status: 'old' });
  await world.redis.del('session:list');
  await world.redis.rpush('session:list', 'of somebody');
  await world.rows(`update sessions set status = 'new' where session_id in ('kept', 'list')`);
  await world.rows(`update sessions set session_id = 'other' where session_id = 'renamed'`);
  await world.rows(`delete from sessions where session_id = 'gone'`);
  await drain();
  const old = (name: string) => world.source.collection('sessions').findOne({ session_id: name });
  expect([await old('kept'), await old('list'), await old('gone'), await old('renamed')]).toMatchObject([
    { status: 'new' },
    { status: 'new' },
    null,
    null,
  ]);
  expect(await key('kept')).toMatchObject({ status: 'new' });
  expect([await key('gone'), await key('renamed')]).toEqual([null, null]);
  expect(await key('other')).toMatchObject({ status: 'old' });
  expect(await world.redis.lrange('session:list', 0, -1)).toEqual(['of somebody']);
  expect(await world.rows('select 1 from migration_control.reverse_unsaid')).toEqual([]);

  await world.rows(`delete from sessions where session_id = 'other'`);
  await drain();
  expect(await key('other')).toBeNull();
});

test('a change that the old document has no form for is told, though nothing of that document changes', async () => {
  const old = () => world.source.collection('sessions').findOne({ session_id: 'kept' });
  const before = await old();
  const move = (by: string) =>
    world.rows(`update sessions set created_at = created_at + $1::interval where session_id = 'kept'`, [by]);
  const told = () => world.rows('select source_id, paths from migration_control.reverse_unsaid');
  await move('1 microsecond');
  await drain();
  expect(await old()).toEqual(before);
  expect(await told()).toEqual([{ source_id: id['kept'], paths: 'sessions.created_at' }]);
  await move('-1 microsecond');
  await drain();
  expect(await told()).toEqual([]);
});

test('what a row notes of its old document goes when the old document has it no more', async () => {
  const notes = () =>
    world.rows(`select metadata -> '_causeway' -> 'original' as notes from sessions where session_id = $1`, [noted]);
  expect(await notes()).toEqual([{ notes: { status: { $code: 'c' } } }]);
  await world.rows(`update sessions set status = 'new' where session_id = $1`, [noted]);
  await drain();
  expect(await world.source.collection('sessions').findOne({ session_id: noted })).toMatchObject({ status: 'new' });
  expect(await notes()).toEqual([{ notes: null }]);
  // Nothing comes back of the migration's own writing.
  expect(await world.rows('select 1 from migration_control.outbox')).toEqual([]);
});

test('several rows in a row that no document can stand for stop no other', async () => {
  const [{ columns }] = (await world.rows<{ columns: string }>(
    `select string_agg(quote_ident(column_name), ', ') as columns from information_schema.columns
     where table_name = 'sessions' and table_schema = 'public' and column_name not in ('id', 'source_id', 'session_id')`,
  )) as [{ columns: string }];
  await world.rows(
    `insert into sessions (source_id, session_id, ${columns}) select 'u-row-' || i, 'bad ' || i, ${columns} from sessions, generate_series(1, 6) i where session_id = 'kept'`,
  );
  await world.rows(`update sessions set status = 'after' where session_id = 'kept'`);
  await drain();
  expect(await key('kept')).toMatchObject({ status: 'after' });
  expect(await world.rows('select 1 from migration_control.reverse_unsaid')).toHaveLength(6);
});

test('while Redis is away the way back goes on, and keys come when the old system counts again', async () => {
  const away = Object.create(resources.redis) as Resources['redis'];
  (away as unknown as { causewaySet: () => Promise<never> }).causewaySet = () =>
    Promise.reject(new Error('Connection is closed.'));
  await world.rows(`update sessions set status = 'new' where session_id = 'later'`);
  await drain({ ...resources, redis: away });
  expect(await world.source.collection('sessions').findOne({ session_id: 'later' })).toMatchObject({ status: 'new' });
  expect(await key('later')).toMatchObject({ status: 'old' });
  await world.rows(`update migration_control.routing set write_mode = 'old'`);
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  expect(await redoDue(resources, feeds, settings, 1)).toBe(1);
  expect(await key('later')).toMatchObject({ status: 'new' });
});
