// One `_id` in two source collections of a mapping: what becomes of the one document takes nothing of the other's, in any store and in any order.
import { serialize } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyChanges, feedsOf, lostKey, type ChangeOptions, type Feed } from '../../activities/apply.ts';
import { applyPatiently } from '../../activities/capture/patiently.ts';
import { extractSegment, OpenReads } from '../../activities/extract.ts';
import { loadOutside, loadPostgres, type LoadOrder } from '../../activities/load.ts';
import { enroll } from '../../activities/plan.ts';
import type { Resources } from '../../activities/resources.ts';
import { makeMongo, makePostgres } from '../../activities/targets.ts';
import { transformSegment } from '../../activities/transform.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { idOf, sourceIdOf } from '../../core/identity.ts';
import { sameIdRule } from '../../core/quarantine.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { documentOf, of, type Value } from '../support/bson-bytes.ts';
import { analysis } from '../support/planted-bytes.ts';
import { insertBytes } from '../support/raw-wire.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
const optimised = 'analysis_results_optimized';
let world: World;
let resources: Resources;
let feeds: Map<string, Feed>;
let time = BigInt(Math.floor(Date.now() / 1000)) << 32n;

beforeAll(async () => {
  world = await World.open('same_id');
  resources = await world.resources('same');
  await makeControlSchema(resources.postgres, world.name);
  const mappings = ['subscription_users', 'sessions', 'analysis_results'];
  await makePostgres(resources, mappings);
  await makeMongo(resources, mappings);
  for (const source of ['analysis_results', 'analysis_reports']) await enroll(resources, 'analysis_results', source);
  for (const source of ['sessions', 'user_sessions']) await enroll(resources, 'sessions', source);
  feeds = await feedsOf(resources);
});
afterAll(async () => {
  await resources.close();
  await world.close();
});

interface Given {
  readonly source: string;
  readonly id: string;
  /** None: the document is deleted. */
  readonly bytes?: Uint8Array;
  /** By default newer than all before. */
  readonly at?: bigint;
}

const change = ({ source, id, bytes, at = ++time }: Given, options?: ChangeOptions) =>
  inTransaction(resources.postgres, 'applying a change', (client) =>
    applyChanges(resources, client, [{ feed: feeds.get(source)!, id, version: { time: at, op: 0 }, bytes }], settings, {
      origin: 'capture',
      ...options,
    }),
  );
const [first, second] = ['analysis_reports', 'analysis_results'] as const;
const setAside = (source: string, id: string): ChangeOptions => ({
  lost: new Map([[lostKey(feeds.get(source)!, id), { rule: sameIdRule, path: '_id', message: 'another has it' }]]),
});

/** The note of the document that the target holds under the `_id`. */
async function held(bytes: Uint8Array): Promise<string | undefined> {
  const found = (await world.target.collection(optimised).find({}, { raw: true }).toArray()) as unknown as Buffer[];
  const one = found.find((raw) => sourceIdOf(raw) === sourceIdOf(bytes));
  return one && /first|second|born/.exec(one.toString('latin1'))?.[0];
}
const loadedOf = async (id: string): Promise<string[]> =>
  (
    await world.rows<{ source: string }>(
      `select c.source from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
       where l.source_id = $1 and l.state = 'l' and not l.deleted order by 1`,
      [id],
    )
  ).map((row) => row.source);

const both = (id: Value) => ({
  one: analysis(id, ['note', of.text('first')]),
  other: analysis(id, ['note', of.text('second')]),
});
let ids = 0;
const nextId = () => of.objectId((++ids).toString(16).padStart(24, 'a'));

const values: [string, Value][] = [
  ['an ObjectId', nextId()],
  ['MinKey', of.minKey],
  ['MaxKey', of.maxKey],
  ['a text', of.text('same')],
  ['a number', of.number(7)],
  ['no number', of.double('000000000000f87f')],
  ['an object with no number', of.object(['a', of.array(of.double('010000000000f87f'))])],
  ['a decimal', of.decimal('1.10')],
  ['a timestamp', of.timestamp(1, 2)],
  ['null', of.nothing],
  ['options of a regular expression in another order', of.regex('a', 'xi')],
  ['code with variables', of.codeWithScope('c', documentOf([['a', of.minKey]]))],
  ['bytes of the old kind', of.binary(2, Buffer.from('ab'))],
  ['bytes of an unknown kind', of.binary(128, Buffer.from('ab'))],
  ['a regular expression', of.regex('a', 'i')],
  ['code', of.code('c')],
  ['bytes', of.binary(4, Buffer.alloc(16, 1))],
  ['an object', of.object(['b', of.int(1)], ['1', of.minKey])],
  ['an array', of.array(of.int(1))],
  ['a long text', of.text('long '.repeat(400))],
];

test.each(values)(
  '%s: what is set aside, refused, skipped or deleted of one collection leaves the other its document',
  async (_, id) => {
    const { one, other } = both(id);
    const key = sourceIdOf(one);
    await change({ source: first, id: key, bytes: analysis(id, ['note', of.text('born')]) });
    expect(await held(one)).toBe('born');
    await change({ source: first, id: key, bytes: one });
    expect(await held(one)).toBe('first');
    await change({ source: second, id: key, bytes: other });
    expect([await held(one), await loadedOf(key)]).toEqual(['first', [first]]);
    await change({ source: second, id: key, bytes: other }, setAside(second, key));
    expect([await held(one), await loadedOf(key)]).toEqual(['first', [first]]);
    await change({ source: second, id: key, bytes: serialize({ _id: idOf(one), note: 'no analysis' }) });
    expect([await held(one), await loadedOf(key)]).toEqual(['first', [first]]);
    await change({ source: second, id: key });
    expect([await held(one), await loadedOf(key)]).toEqual(['first', [first]]);
    await change({ source: first, id: key });
    expect([await held(one), await loadedOf(key)]).toEqual([undefined, []]);
  },
);

test('a document of one collection comes, though a newer one of the other has come and gone', async () => {
  const { one, other } = both(nextId());
  const id = sourceIdOf(one);
  const earlier = ++time;
  await change({ source: first, id, bytes: one });
  await change({ source: first, id });
  await change({ source: second, id, bytes: other, at: earlier });
  expect([await held(other), await loadedOf(id)]).toEqual(['second', [second]]);
  // Its own versions hold all the same.
  await change({ source: second, id });
  await change({ source: second, id, bytes: other, at: earlier + 1n });
  expect([await held(other), await loadedOf(id)]).toEqual([undefined, []]);
});

test('of two that come at once the later waits for the ledger, and gives way', async () => {
  const { one, other } = both(nextId());
  const id = sourceIdOf(one);
  const apply = (source: string, bytes: Uint8Array) => [
    { feed: feeds.get(source)!, id, version: { time: ++time, op: 0 }, bytes },
  ];
  await inTransaction(resources.postgres, 'applying one', async (client) => {
    await applyChanges(resources, client, apply(first, one), settings);
    await expect(
      inTransaction(resources.postgres, 'applying the other', async (later) => {
        await later.query('set local lock_timeout = 300');
        await applyChanges(resources, later, apply(second, other), settings);
      }),
    ).rejects.toMatchObject({ type: 'StoreBusy' });
  });
  expect([await held(one), await loadedOf(id)]).toEqual(['first', [first]]);
  const totals = await change({ source: second, id, bytes: other });
  expect(totals.clashes).toMatchObject([{ id, winner: { source: first } }]);
  expect([await held(one), await loadedOf(id)]).toEqual(['first', [first]]);
});

test('what an attempt that broke off has left of one collection gives way to the document of the other', async () => {
  const { one, other } = both(nextId());
  const id = sourceIdOf(one);
  const at = ++time;
  await expect(
    inTransaction(resources.postgres, 'breaking off', async (client) => {
      const changes = [{ feed: feeds.get(first)!, id, version: { time: at, op: 0 }, bytes: one }];
      await applyChanges(resources, client, changes, settings);
      throw new Error('broken off');
    }),
  ).rejects.toThrow('broken off');
  expect([await held(one), await loadedOf(id)]).toEqual(['first', []]);
  await change({ source: second, id, bytes: other });
  expect([await held(other), await loadedOf(id)]).toEqual(['second', [second]]);
  // Applied again, it finds the other.
  const totals = await change({ source: first, id, bytes: one, at });
  expect(totals.clashes).toMatchObject([{ id, winner: { source: second } }]);
  await change({ source: first, id, bytes: one }, setAside(first, id));
  expect([await held(other), await loadedOf(id)]).toEqual(['second', [second]]);
});

test('of two ids that only the target takes for one the later is set aside by its rule', async () => {
  const [one, other] = ([0, 128] as const).map((subtype) =>
    analysis(of.binary(subtype, Buffer.from('xy')), ['note', of.text('first')]),
  );
  const ids = [one!, other!].map(sourceIdOf);
  const tried = await world.target
    .collection('tried')
    .insertMany([{ _id: idOf(one!) as never }, { _id: idOf(other!) as never }])
    .then(
      () => ({ state: 'l', rule: null }),
      () => ({ state: 'q', rule: 'target_refused' }),
    );
  await change({ source: first, id: ids[0]!, bytes: one! });
  await inTransaction(resources.postgres, 'applying the other', (client) =>
    applyPatiently(
      resources,
      client,
      [{ feed: feeds.get(second)!, id: ids[1]!, version: { time: ++time, op: 0 }, bytes: other }],
      settings,
    ),
  );
  expect(
    await world.rows('select state, rule from migration_control.ledger where source_id = $1 and version > 0', [ids[1]]),
  ).toEqual([tried]);
  expect([await held(one!), await loadedOf(ids[0]!)]).toEqual(['first', [first]]);
});

test('what stands in the target and the ledger does not know, as a document of the new system, is replaced', async () => {
  const { one } = both(nextId());
  const id = sourceIdOf(one);
  await world.target
    .collection(optimised)
    .insertOne({ _id: idOf(one), symbol: '600519', created_at: new Date(), sections: {}, note: 'born' } as never, {
      bypassDocumentValidation: true,
    });
  await change({ source: first, id, bytes: one });
  expect([await held(one), await loadedOf(id)]).toEqual(['first', [first]]);
});

test('the copy of one collection leaves what capture has loaded of the other', async () => {
  const { one, other } = both(nextId());
  const free = analysis(nextId(), ['note', of.text('first')]);
  const id = sourceIdOf(one);
  await change({ source: second, id, bytes: other });
  await insertBytes(world.environment['SOURCE_MONGODB_URL']!, first, [one, free]);
  const { collectionId } = feeds.get(first)!;
  const place = { collection: 'analysis_results', source: first };
  const limits = { bytes: 1e7, documents: 10_000 };
  const order = { ...place, chunk: 0, segment: 1, after: null, upTo: null, averageBytes: 300, limits };
  const progress = { heartbeat: () => undefined, resumeAt: undefined, cancelled: () => false };
  const reads = new OpenReads();
  const extracted = await extractSegment(resources, reads, order, progress);
  await reads.close();
  await transformSegment(resources, { ...place, collectionId, extracted, settings }, new Map());
  const load: LoadOrder = { ...place, collectionId, chunk: 0, segment: 1, extracted };
  await loadOutside(resources, load, 'mongodb', () => undefined);
  const attempt = { attempt: 1, runId: 'run', startedAt: new Date(), heartbeat: () => undefined };
  await loadPostgres(resources, load, attempt);
  expect([await held(other), await loadedOf(id)]).toEqual(['second', [second]]);
  expect([await held(free), await loadedOf(sourceIdOf(free))]).toEqual(['first', [first]]);
  expect(await world.rows('select source_id, reason from migration_control.redo where source_id = $1', [id])).toEqual([
    { source_id: id, reason: 'clash' },
  ]);
});

test('a key of Redis stays with the document that has it, and comes though the other one has gone since', async () => {
  const session = (id: Value, name: string, user: string) =>
    serialize({
      _id: idOf(analysis(id)),
      session_id: name,
      user_id: user,
      created_at: new Date(),
      expires_at: new Date(Date.now() + 3_600_000),
    });
  const user = async (name: string) => {
    const text = await world.redis.get(`session:${name}`);
    return text === null ? undefined : (JSON.parse(text) as { user_id?: string }).user_id;
  };
  const [one, other] = [session(of.minKey, 'of both', 'one'), session(of.minKey, 'of both', 'other')];
  const id = sourceIdOf(one);
  await change({ source: 'user_sessions', id, bytes: one });
  await change({ source: 'sessions', id, bytes: other });
  expect(await user('of both')).toBe('one');
  await change({ source: 'sessions', id, bytes: other }, setAside('sessions', id));
  expect(await user('of both')).toBe('one');
  await change({ source: 'sessions', id });
  expect(await user('of both')).toBe('one');
  const earlier = ++time;
  await change({ source: 'user_sessions', id });
  expect(await user('of both')).toBeUndefined();
  await change({ source: 'sessions', id, bytes: other, at: earlier });
  expect([await user('of both'), await loadedOf(id)]).toEqual(['other', ['sessions']]);
});
