// One bad document in a segment of the copy: it is set aside under a named rule, and the rest is loaded.
import { ObjectId } from 'mongodb';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { extractSegment, OpenReads } from '../../activities/extract.ts';
import { loadOutside, loadPostgres, type LoadOrder } from '../../activities/load.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { makePostgres } from '../../activities/targets.ts';
import { transformSegment } from '../../activities/transform.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { sourceId } from '../../core/identity.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
let world: World;
let resources: Resources;
let collectionId: number;
let segment = 0;

beforeAll(async () => {
  world = await World.open('copy_bad');
  resources = await world.resources('copy');
  await makeControlSchema(resources.postgres, world.name);
  await makePostgres(resources, ['subscription_users', 'sessions']);
  await enroll(resources, 'sessions', 'sessions');
  collectionId = (await world.rows<{ id: number }>('select id from migration_control.collections'))[0]!.id;
});
afterAll(async () => {
  await resources.close();
  await world.close();
});
afterEach(async () => {
  await world.rows('drop function if exists grumble() cascade');
  await world.rows(
    'truncate sessions, migration_control.ledger, migration_control.migration_errors, migration_control.migration_batches, migration_control.elections',
  );
  await world.source.collection('sessions').deleteMany({});
  await world.redis.flushdb();
});

async function given(...names: string[]): Promise<Record<string, string>> {
  const documents = names.map((name) => ({
    _id: new ObjectId(),
    session_id: name,
    created_at: new Date(),
    expires_at: new Date(Date.now() + 3_600_000),
  }));
  await world.source.collection('sessions').insertMany(documents);
  return Object.fromEntries(documents.map((one) => [one.session_id, sourceId(one._id)]));
}

/** As a chunk's workflow does it. */
async function copySegment() {
  const place = { collection: 'sessions', source: 'sessions' };
  const order = {
    ...place,
    chunk: 0,
    segment: ++segment,
    after: null,
    upTo: null,
    averageBytes: 300,
    limits: { bytes: 1e7, documents: 10_000 },
  };
  const progress = { heartbeat: () => undefined, resumeAt: undefined, cancelled: () => false };
  const extracted = await extractSegment(resources, new OpenReads(), order, progress);
  const losers = new Map(
    (await world.rows<{ source_id: string }>('select source_id from migration_control.elections')).map((row) => [
      row.source_id,
      { rule: 'session_id_unique', path: 'session_id' },
    ]),
  );
  await transformSegment(resources, { ...place, collectionId, extracted, settings }, losers);
  const load: LoadOrder = { ...place, collectionId, chunk: 0, segment, extracted };
  await loadOutside(resources, load, 'redis', () => undefined);
  const attempt = { attempt: 1, runId: 'run', startedAt: new Date(), heartbeat: () => undefined };
  return loadPostgres(resources, load, attempt);
}

const grumbleAt = async (condition: string) => {
  await world.rows(`create function grumble() returns trigger language plpgsql as
    $$ begin if ${condition} then raise exception 'grumble'; end if; return new; end $$`);
  await world.rows(
    'create trigger grumble before insert or update on sessions for each row execute function grumble()',
  );
};
const loaded = () =>
  world
    .rows<{ session_id: string }>('select session_id from sessions order by 1')
    .then((rows) => rows.map((row) => row.session_id));
const aside = () =>
  world.rows('select source_id, rule from migration_control.migration_errors where resolved_at is null order by rule');
const batch = () =>
  world.rows('select documents, loaded, quarantined, skipped, stale from migration_control.migration_batches');

test('a row that a trigger refuses is set aside, and the segment is loaded', async () => {
  await grumbleAt(`new.session_id like 'bad%'`);
  const id = await given('a', 'bad', 'b', 'c');
  expect(await copySegment()).toMatchObject({ repeated: false, instead: { loaded: 3, quarantined: 1 } });
  expect(await loaded()).toEqual(['a', 'b', 'c']);
  expect(await aside()).toEqual([{ source_id: id['bad'], rule: 'not_applied' }]);
  expect((await batch()).map((row) => Object.values(row).map(Number))).toEqual([[4, 3, 1, 0, 0]]);
  expect(await world.redis.exists('session:a', 'session:b', 'session:c')).toBe(3);
  expect(await world.redis.exists('session:bad')).toBe(0);
  expect(await world.rows('select 1 from migration_control.announced_keys where segment >= 0')).toEqual([]);
});

test('a key of another type sets its document aside and stays; who lost a unique value before the copy loses it still', async () => {
  await world.redis.rpush('session:list', 'of somebody');
  const id = await given('a', 'list', 'b');
  await world.pool.query('insert into migration_control.elections values ($1, $2, $3, $4, $5)', [
    collectionId,
    id['b'],
    'session_id_unique',
    'session_id',
    id['a'],
  ]);
  expect(await copySegment()).toMatchObject({ repeated: false, instead: { loaded: 1, quarantined: 2 } });
  expect(await loaded()).toEqual(['a']);
  expect(await aside()).toEqual([
    { source_id: id['b'], rule: 'session_id_unique' },
    { source_id: id['list'], rule: 'target_refused' },
  ]);
  expect(await world.redis.lrange('session:list', 0, -1)).toEqual(['of somebody']);
  expect(await world.rows('select 1 from migration_control.elections')).toHaveLength(1);
  expect(
    await world.rows(`select message from migration_control.migration_errors where rule = 'session_id_unique'`),
  ).toEqual([{ message: `another document of the collection, _id ${id['a']}, has the same session_id and is kept` }]);
});

test('what refuses every document is not the documents: the copy stops with the cause, and nothing is set aside', async () => {
  await grumbleAt('true');
  await given(...Array.from({ length: 30 }, (_, i) => `many ${i}`));
  await expect(copySegment()).rejects.toMatchObject({
    type: 'Defect',
    message: expect.stringMatching(/P0001/) as string,
  });
  expect([await loaded(), await aside(), await batch()]).toEqual([[], [], []]);
});
