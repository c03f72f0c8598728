// One bad document in a lane: it is set aside under a named rule, or waits with its cause, and the others go on.
import { serialize } from 'bson';
import { ObjectId } from 'mongodb';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { feedsOf, type Feed } from '../../activities/apply.ts';
import { applyLane } from '../../activities/capture/lane.ts';
import { findDue, redoDue } from '../../activities/capture/redo.ts';
import { capturedPlace, encodeChange } from '../../activities/capture/segment.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { captureStatus } from '../../control/capture.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { ownVault } from '../../control/vault.ts';
import { sourceId } from '../../core/identity.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let feed: Feed;
let segment = 0;
let time = BigInt(Math.floor(Date.now() / 1000)) << 32n;
const settings = { zone: 'Asia/Shanghai', providers: [] };

beforeAll(async () => {
  world = await World.open('one_bad');
  resources = await world.resources('lanes');
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions']);
  await enroll(resources, 'sessions', 'sessions');
  feed = (await feedsOf(resources)).get('sessions')!;
  await world.rows(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
     values ('{}', 1, 9000000000000000000, 0, 0, 1, 'updateLookup')`,
  );
  await world.rows('insert into migration_control.capture_position (lane, version) values (0, 0)');
});
afterAll(async () => {
  await resources.close();
  await world.close();
});
afterEach(async () => {
  await world.rows('truncate sessions');
  await world.rows('truncate migration_control.redo, migration_control.captured, migration_control.migration_errors');
  await world.redis.flushdb();
});

const session = (name: string, more: object = {}) => ({
  _id: new ObjectId() as unknown,
  session_id: name,
  created_at: new Date(),
  expires_at: new Date(Date.now() + 3_600_000),
  ...more,
});
type Session = ReturnType<typeof session>;

/** As the reader keeps a batch of the stream for the lane: sealed to its place. */
const keep = (at: bigint, changes: readonly Buffer[]) =>
  world.pool.query(
    `insert into migration_control.captured (lane, segment, first_version, last_version, events, first_wall, last_wall, content)
     values (0, $1, $2, $2, $3, now(), now(), $4)`,
    [
      ++segment,
      at.toString(),
      changes.length,
      ownVault().sealBytes(capturedPlace(0, BigInt(segment)), Buffer.concat(changes)),
    ],
  );

/** What the reader would have kept, one batch of the stream. */
async function captured(...documents: (Session | Uint8Array)[]): Promise<void> {
  const changes = documents.map((document) => {
    const bytes = document instanceof Uint8Array ? document : serialize(document);
    const id = document instanceof Uint8Array ? sourceId(undecodableId) : sourceId(document._id);
    return encodeChange({ feed, id, version: { time: ++time, op: 0 }, bytes });
  });
  await keep(time, changes);
}

async function lane(ms: number): Promise<void> {
  const until = performance.now() + ms;
  const slice = new Slice(ms, new AbortController().signal, () => undefined);
  while (!slice.over()) await applyLane(resources, 0, settings, slice).catch(() => undefined);
  expect(performance.now()).toBeGreaterThan(until - 50);
}
const untilApplied = async () => {
  const end = new AbortController();
  const slice = new Slice(60_000, end.signal, () => undefined);
  const running = applyLane(resources, 0, settings, slice).catch((error: unknown) => error);
  await expect.poll(waiting, { timeout: 30_000 }).toBe(0);
  end.abort();
  expect(await running).toEqual({ ended: 'slice' });
};
const waiting = async () => (await world.rows('select 1 from migration_control.captured')).length;
const arrived = async () => (await world.rows<{ count: string }>('select count(*) from sessions'))[0]!.count;
const aside = () =>
  world.rows<{ source_id: string; rule: string; message: string }>(
    'select source_id, rule, message from migration_control.migration_errors where resolved_at is null',
  );

const undecodableId = new ObjectId();
const undecodable = (): Uint8Array => {
  const bytes = Buffer.from(serialize({ ...session('undecodable'), _id: undecodableId, note: 'XX' }));
  bytes.fill(0xff, bytes.indexOf('XX'), bytes.indexOf('XX') + 1);
  return bytes;
};

test('a value that the application wrote under a key by itself is replaced, and removed with its document', async () => {
  await world.redis.set('session:a', 'not even JSON');
  await world.redis.set('session:b', '{"session_id":"b","_causeway":"no tag of ours"}');
  const [a, b] = [session('a'), session('b')];
  await captured(a, b, session('c'));
  await untilApplied();
  expect(await arrived()).toBe('3');
  for (const key of ['a', 'b']) expect(await world.redis.get(`session:${key}`)).toContain('"_causeway":{"s":');
  await world.redis.set('session:a', 'again by the application');
  await captured({ ...a, session_id: 'renamed' });
  await untilApplied();
  expect(await world.redis.exists('session:a', 'session:renamed')).toBe(1);
  expect(await aside()).toEqual([]);
});

test('a key of another type keeps only its own document away', async () => {
  await world.redis.rpush('session:list', 'of somebody');
  const bad = session('list');
  await captured(session('a'), bad, session('b'));
  await untilApplied();
  expect(await arrived()).toBe('2');
  expect(await aside()).toMatchObject([{ source_id: sourceId(bad._id), rule: 'target_refused' }]);
  expect(await world.redis.lrange('session:list', 0, -1)).toEqual(['of somebody']);
});

test('a document that cannot be decoded is set aside with its bytes', async () => {
  await captured(session('a'), undecodable(), session('b'));
  await untilApplied();
  expect(await arrived()).toBe('2');
  expect(await aside()).toMatchObject([{ source_id: undecodableId.toHexString(), rule: 'text_not_utf8' }]);
});

test('a row that a trigger of the target refuses is set aside by its cause, and comes when the cause is gone; batches of only such rows, too', async () => {
  await world.rows(`create function grumble() returns trigger language plpgsql as
    $$ begin if new.session_id like 'bad%' then raise exception 'grumble'; end if; return new; end $$`);
  await world.rows(
    'create trigger grumble before insert or update on sessions for each row execute function grumble()',
  );
  const bad = [session('bad 1'), session('bad 2')];
  await world.source.collection('sessions').insertMany(bad as never[]);
  await captured(session('a'), bad[0]!, session('b'));
  await captured(bad[1]!);
  await untilApplied();
  expect(await arrived()).toBe('2');
  expect((await aside()).map((one) => one.rule)).toEqual(['not_applied', 'not_applied']);

  await world.rows('drop function grumble() cascade');
  await world.rows(`update migration_control.migration_errors set created_at = now() - interval '1 hour'`);
  const feeds = new Map([[feed.collectionId, feed]]);
  await findDue(resources.postgres, feeds, []);
  expect(await redoDue(resources, feeds, settings, 1)).toBe(2);
  expect(await arrived()).toBe('4');
  expect(await aside()).toEqual([]);
});

test('what refuses every document of many is not the documents: they wait, the lane goes on, and who asks is told', async () => {
  await world.rows('alter table sessions rename column status to other');
  const many = Array.from({ length: 30 }, (_, i) => session(`many ${i}`));
  await world.source.collection('sessions').insertMany(many as never[]);
  await captured(...many);
  await untilApplied();
  expect(await aside()).toEqual([]);
  const status = (await captureStatus(resources.postgres, Date.now()))!;
  expect(status.redo).toBe(30);
  expect(status.waiting[0]).toMatchObject({ collection: 'sessions', cause: expect.stringMatching(/42703/) as string });

  await world.rows('alter table sessions rename column other to status');
  await world.rows('update migration_control.redo set due_at = now()');
  expect(await redoDue(resources, new Map([[feed.collectionId, feed]]), settings, 1)).toBe(30);
  expect(await arrived()).toBe('30');
});

test('a row that somebody holds for long lets the others pass, and its document is told while it waits', async () => {
  const held = session('held');
  await world.source.collection('sessions').insertOne(held as never);
  await captured(held);
  await untilApplied();
  const holder = await world.pool.connect();
  await holder.query(`begin; select 1 from sessions where session_id = 'held' for update`);
  await captured({ ...held, status: 'changed' } as Session, session('a'), session('b'));
  const running = lane(12_000);
  await expect
    .poll(async () => (await captureStatus(resources.postgres, Date.now()))!.troubles, { timeout: 10_000 })
    .toMatchObject([{ who: 'lane 0', type: 'StoreBusy' }]);
  await expect.poll(arrived, { timeout: 12_000 }).toBe('3');
  const status = (await captureStatus(resources.postgres, Date.now()))!;
  expect(status.waiting).toMatchObject([{ collection: 'sessions', sourceId: sourceId(held._id) }]);
  await holder.query('rollback');
  holder.release();
  await running;
  expect((await captureStatus(resources.postgres, Date.now()))!.troubles).toEqual([]);
});

test('a key of any length is loaded, read again and deleted like any other', async () => {
  const _id = Array.from({ length: 3600 }, () => String.fromCharCode(33 + Math.floor(Math.random() * 90))).join('');
  const long = session('long', { _id });
  await world.source.collection('sessions').insertOne({ ...long, status: 'later' } as never);
  await captured(session('a'), long, session('b'));
  await untilApplied();
  expect(await arrived()).toBe('3');
  expect(await aside()).toEqual([]);
  const feeds = new Map([[feed.collectionId, feed]]);
  await world.pool.query(
    `insert into migration_control.redo (collection_id, source_id, reason) values ($1, $2, 'waits')`,
    [feed.collectionId, sourceId(_id)],
  );
  expect(await redoDue(resources, feeds, settings, 1)).toBe(1);
  expect(await world.rows(`select source_id, status from sessions where session_id = 'long'`)).toEqual([
    { source_id: sourceId(_id), status: 'later' },
  ]);
  expect(await world.rows('select whole from migration_control.long_keys')).toEqual([{ whole: JSON.stringify(_id) }]);

  const undone = BigInt(Math.floor(Date.now() / 1000) + 5) << 32n;
  await keep(undone, [encodeChange({ feed, id: sourceId(_id), version: { time: undone, op: 0 }, bytes: undefined })]);
  await untilApplied();
  expect(await arrived()).toBe('2');
});

test('a session id with braces has its removals in the slot of its key', async () => {
  const ids = ['a}b', '{}x', '{a}b', 'a{b', '}{c}', '}'];
  await captured(...ids.map((id) => session(id)));
  await untilApplied();
  expect(await arrived()).toBe(String(ids.length));
  expect(await world.redis.exists(...ids.map((id) => `session:${id}`))).toBe(ids.length);
});
