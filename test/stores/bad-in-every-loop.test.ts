// Every loop over documents or keys, with bad ones among them: each is set aside under a named rule or left to whom it belongs, and the loop ends.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { serialize } from 'bson';
import { ObjectId } from 'mongodb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyChanges, feedsOf } from '../../activities/apply.ts';
import { findDue, findLostKeys, parentsOf, redoDue } from '../../activities/capture/redo.ts';
import { repairGap } from '../../activities/capture/repair.ts';
import { Slice } from '../../activities/capture/slice.ts';
import { createSnapshot } from '../../activities/checkpoint/create.ts';
import { restoreDocuments, restoreFiles, restoreKeys, restoreRows } from '../../activities/checkpoint/put-back.ts';
import { beginRestore, finishRestore, verifySnapshot } from '../../activities/checkpoint/restore.ts';
import { saveOld } from '../../activities/decommission/save.ts';
import { electUnique, losersOf } from '../../activities/elect.ts';
import { sampleEvidence } from '../../activities/evidence.ts';
import { extractSegment, OpenReads } from '../../activities/extract.ts';
import { loadOutside, loadPostgres, type LoadOrder } from '../../activities/load.ts';
import { enroll } from '../../activities/plan.ts';
import { keepPolicy } from '../../activities/policy.ts';
import { retryQuarantined } from '../../activities/quarantine.ts';
import { prepareControl } from '../../activities/record.ts';
import type { Resources } from '../../activities/resources.ts';
import { makeMongo, makePostgres, settleCollection } from '../../activities/targets.ts';
import { transformSegment } from '../../activities/transform.ts';
import { validateCollection } from '../../activities/validate.ts';
import { scanDocuments } from '../../activities/verify/documents.ts';
import { planScans } from '../../activities/verify/plan.ts';
import { repairDifferent } from '../../activities/verify/repair.ts';
import { settle } from '../../activities/verify/settle.ts';
import { scanCopies, scanLedger, scanRedis, scanRows } from '../../activities/verify/target-only.ts';
import { sourceNow, verifierOf } from '../../activities/verify/verifier.ts';
import { labelOf } from '../../control/key-label.ts';
import { nextScan, openRun, runState } from '../../control/verification.ts';
import { closeRun, differencesOf } from '../../control/verification-report.ts';
import { sourceId, sourceIdOf } from '../../core/identity.ts';
import { clusterTimeOf, millisecondsOf } from '../../stores/mongodb/source.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { begun } from '../support/standing.ts';
import { World } from '../support/world.ts';
import { insertBytes } from '../support/raw-wire.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
const quiet = () => undefined;
const validated = { sampleRate: 1, sampleMinimum: 1000, sampleMaximum: 1000, quarantineBudget: 1 };
const collections = ['subscription_users', 'sessions', 'analysis_results', 'token_usage'];
/** Letters that no index can make small. */
const long = (n: number) => randomBytes(n).toString('hex').slice(0, n);

let world: World;
let resources: Resources;

const session = (more: object) => ({
  _id: new ObjectId() as unknown,
  session_id: long(12),
  created_at: new Date(),
  expires_at: new Date(Date.now() + 3_600_000),
  ...more,
});
const usage = (more: object) => ({
  _id: new ObjectId() as unknown,
  timestamp: new Date().toISOString(),
  provider: 'openai',
  model_name: 'model',
  input_tokens: 5,
  output_tokens: 7,
  cost: 0.5,
  session_id: 's',
  analysis_type: 'stock_analysis',
  ...more,
});
const analysis = (more: object) => ({
  _id: new ObjectId() as unknown,
  stock_symbol: '600519',
  created_at: new Date(),
  reports: { market_report: 'up' },
  ...more,
});
const user = (more: object) => ({
  _id: new ObjectId() as unknown,
  username: long(8),
  email: `${long(8)}@example.org`,
  created_at: new Date(),
  ...more,
});

/** Two of its fields have one name: no object holds both. (The embedded server takes no text that is no UTF-8.) */
function undecodable(document: object): Buffer {
  const bytes = Buffer.from(serialize({ ...document, first: 1, other: 2 }));
  for (const name of ['first', 'other']) bytes.write('twice', bytes.lastIndexOf(`${name}\u0000`));
  return bytes;
}

type Planted = readonly [document: object | Buffer, is?: string];
/** By source collection: good ones, and each kind of bad one with the rule under which it is set aside. */
const plants: Record<string, readonly Planted[]> = {
  users: [
    [user({})],
    [user({ _id: long(3600) })],
    [user({ email: `${long(3600)}@example.org` }), 'target_refused'],
    [undecodable(user({})), 'field_name_twice'],
    [user({})],
  ],
  sessions: [
    [session({})],
    [session({ _id: long(3600) })],
    [session({ session_id: long(3600) }), 'target_refused'],
    [session({ session_id: 'a\u0000b' })],
    [session({ session_id: '{a}b' })],
    [session({ user_id: long(3600) })],
    [session({ _id: { '2': 1, '1': 2 } })],
    [session({ data: { '2': 1, '1': 2 } })],
    [undecodable(session({})), 'field_name_twice'],
    [session({ session_id: 'taken' }), 'target_refused'],
    [session({})],
  ],
  analysis_results: [
    [analysis({})],
    [analysis({ _id: long(3600) })],
    [undecodable(analysis({})), 'field_name_twice'],
    [analysis({ a: { '2': 1, '1': 2 } })],
    [analysis({})],
  ],
  token_usage: [
    [usage({})],
    [usage({ _id: long(3600) })],
    [usage({ user_id: long(3600) })],
    [usage({ session_id: long(3600) }), 'target_refused'],
    [undecodable(usage({})), 'field_name_twice'],
    [usage({})],
  ],
};
const planted = Object.fromEntries(
  Object.entries(plants).map(([source, all]) => [source, all.map(([one]) => one)] as const),
);
const bytesOf = (one: object | Buffer): Buffer => (Buffer.isBuffer(one) ? one : Buffer.from(serialize(one)));
const aside = Object.values(plants)
  .flat()
  .filter(([, rule]) => rule !== undefined).length;

/** What others have put into Redis. */
async function foreignKeys(): Promise<void> {
  await world.redis.rpush('session:list', 'of somebody');
  await world.redis.set('session:own', '{"of":"the application"}');
  await world.redis.set('session:no json', 'no json');
  await world.redis.set(`session:${long(3600)}`, 'long');
  await world.redis.set('session:a\u0000c', 'with a zero');
  await world.redis.set(Buffer.from([...Buffer.from('session:'), 0xff, 0xfe]), 'no utf8');
}

beforeAll(async () => {
  world = await World.open('every_loop');
  resources = await world.resources('loops');
  await prepareControl(resources, world.name, begun);
  await makePostgres(resources, collections);
  await makeMongo(resources, collections);
  await keepPolicy(resources.postgres, { ...settings, configurationDirectory: 'configuration' });
  for (const [source, documents] of Object.entries(planted)) {
    await world.source.createCollection(source);
    await insertBytes(world.environment['SOURCE_MONGODB_URL']!, source, documents.map(bytesOf));
    expect(await world.source.collection(source).countDocuments({})).toBe(documents.length);
  }
  for (const collection of collections)
    await enroll(resources, collection, collection === 'subscription_users' ? 'users' : collection);
  await foreignKeys();
  // Capture has passed everything.
  await world.rows(
    `insert into migration_control.capture_stream (token, opened_version, version, last_version, last_op_index, lanes, images)
     values ('{}', 1, 9000000000000000000, 0, 0, 1, 'updateLookup')`,
  );
  await world.redis.rpush('session:taken', 'of somebody');
}, 60_000);
afterAll(async () => {
  await resources?.close();
  await world?.close();
});

const idsOf = async (collection: string) =>
  new Map(
    (
      await world.rows<{ id: number; source: string }>(
        'select id, source from migration_control.collections where mapping = $1',
        [collection],
      )
    ).map((row) => [row.source, row.id]),
  );
const asOf = async () => ({ ...settings, asOf: millisecondsOf(await clusterTimeOf(world.source)) });
/** Every document of the source, and how the ledger has it. */
const ledger = async () =>
  new Map(
    (
      await world.rows<{ source_id: string; state: string; rule: string | null }>(
        'select source_id, state, rule from migration_control.ledger where not deleted',
      )
    ).map((row) => [row.source_id, row.state === 'l' ? 'loaded' : row.rule]),
  );

let copied: ReadonlyMap<string, string | null>;

test('election and copy: all others are loaded, and each bad one has its rule', { timeout: 60_000 }, async () => {
  for (const collection of collections) {
    const ids = await idsOf(collection);
    await electUnique(resources, collection, ids, await asOf(), quiet);
    for (const [source, collectionId] of ids) {
      const place = { collection, source };
      const order = {
        ...place,
        chunk: 0,
        segment: 0,
        after: null,
        upTo: null,
        averageBytes: 300,
        limits: { bytes: 1e7, documents: 10_000 },
      };
      const progress = { heartbeat: quiet, resumeAt: undefined, cancelled: () => false };
      const extracted = await extractSegment(resources, new OpenReads(), order, progress);
      await transformSegment(
        resources,
        { ...place, collectionId, extracted, settings },
        await losersOf(resources, collectionId),
      );
      const load: LoadOrder = { ...place, collectionId, chunk: 0, segment: 0, extracted };
      await loadOutside(resources, load, 'mongodb', quiet);
      await loadOutside(resources, load, 'redis', quiet);
      await loadPostgres(resources, load, { attempt: 1, runId: 'run', startedAt: new Date(), heartbeat: quiet });
    }
  }
  for (const collection of collections) await settleCollection(resources, collection, 'configuration');
  copied = await ledger();
  const expected = Object.values(plants).flatMap((all) =>
    all.map(([one, rule]) => [sourceIdOf(bytesOf(one)), rule ?? 'loaded'] as const),
  );
  expect(copied).toEqual(new Map(expected));
});

test.each(collections)(
  'validation of %s comes to a verdict in every check',
  { timeout: 60_000 },
  async (collection) => {
    const { individual_results: results } = await validateCollection(
      resources,
      {
        collection,
        batchId: 'b',
        settings: validated,
        transform: await asOf(),
        checks: [
          'count_validation',
          'sample_validation',
          'business_rule_validation',
          'referential_integrity',
          'data_type_validation',
        ],
      },
      quiet,
    );
    for (const [check, result] of Object.entries(results))
      expect(['passed', 'skipped'], `${check}: ${JSON.stringify(result)}`).toContain(result.status);
  },
);

async function verify(repair: boolean) {
  const slice = () => new Slice(60_000, new AbortController().signal, quiet);
  const order = { ...settings, configurationDirectory: 'configuration', rowsPerSecond: 0 };
  const first = await verifierOf(resources, order, 0, slice());
  const { run } = await openRun(resources.postgres, 'all', await sourceNow(resources), true, () =>
    planScans(resources, first.scope),
  );
  const verifier = await verifierOf(resources, order, run, slice());
  const kinds = { documents: scanDocuments, ledger: scanLedger, rows: scanRows, copies: scanCopies, keys: scanRedis };
  for (let scan = await nextScan(resources.postgres, run); scan; scan = await nextScan(resources.postgres, run))
    expect(await kinds[scan.kind as keyof typeof kinds](verifier, scan)).toBe(true);
  expect(await settle(verifier, 0)).toBe(true);
  if (repair) {
    expect(await repairDifferent(verifier)).toBe(true);
    expect(await settle(verifier, (await runState(resources.postgres, run)).generation)).toBe(true);
  }
  const differences = await differencesOf(resources.postgres, run, 100);
  await closeRun(
    resources.postgres,
    run,
    first.scope.map((one) => one.collectionId),
  );
  return differences.filter((one) => one.state !== 'repaired');
}

test(
  'every scan of a verification ends, and calls nothing a difference that is none',
  { timeout: 60_000 },
  async () => {
    expect(await verify(false)).toEqual([]);
  },
);

test(
  'strange rows, documents and keys are extra ones, and a repair removes them and nothing else',
  { timeout: 90_000 },
  async () => {
    const strange = [
      'legacy-42',
      '{',
      '"a',
      `long:9:${'0'.repeat(32)}`,
      'ObjectId("x")',
      '{"$oid":"zz"}',
      ' ',
      long(2000),
    ];
    await world.pool.query(
      `insert into sessions (source_id, session_id) select k, 'strange ' || k from unnest($1::text[]) k`,
      [strange],
    );
    await world.redis.set('session:strange', '{"_causeway":{"s":"legacy-42","r":"","v":""}}');
    await world.redis.set('session:stranger', '{"_causeway":{"s":7}}');
    const nobody = new ObjectId();
    await world.target
      .collection('analysis_results_optimized')
      .insertOne({ _id: nobody, a: 1 } as never, { bypassDocumentValidation: true });
    const found = await verify(false);
    expect(new Set(found.map((one) => one.finding))).toEqual(new Set(['extra']));
    expect(found.map((one) => one.id).sort()).toEqual(
      [...strange, sourceId(nobody), labelOf('session:strange'), labelOf('session:stranger')].sort(),
    );
    // A good row beside them is mended as well.
    await world.rows(`update api_usage set output_tokens = 0 where source_id = $1`, [
      sourceId((planted['token_usage']![0] as { _id: ObjectId })._id),
    ]);
    expect(await verify(true)).toEqual([]);
    expect(await verify(false)).toEqual([]);
    expect(await ledger()).toEqual(copied);
    expect(await world.redis.lrange('session:list', 0, -1)).toEqual(['of somebody']);
    expect(await world.redis.get('session:own')).toBe('{"of":"the application"}');
  },
);

test('what differs in several collections waits for capture together', { timeout: 60_000 }, async () => {
  const [stood] = await world.rows<{ version: string }>('select version from migration_control.capture_stream');
  await world.rows('update migration_control.capture_stream set version = 1');
  let steps = 0;
  // The stream's position moves now and then, and the source is a step ahead of it.
  const stepping = setInterval(async () => {
    const version = await clusterTimeOf(world.source);
    await world.rows(`update migration_control.capture_stream set version = greatest(version, ${version})`);
    await world.source.collection('beside_them').insertOne({ step: ++steps });
  }, 600);
  try {
    const first = (table: string) => `id in (select id from ${table} order by id limit 1)`;
    await world.rows(`delete from sessions where ${first('sessions')}`);
    await world.rows(`update users set full_name = 'damaged' where ${first('users')}`);
    await world.rows(`update api_usage set output_tokens = 0 where ${first('api_usage')}`);
    await world.target.collection('analysis_results_optimized').updateOne({}, { $set: { damaged: true } });
    expect(await verify(true)).toEqual([]);
  } finally {
    clearInterval(stepping);
    await world.rows(`update migration_control.capture_stream set version = ${stood!.version}`);
  }
  // Two generations prove it, with three waits each, and one more finds that it is repaired: 9. One after the other they take 18.
  expect(steps).toBeLessThanOrEqual(14);
});

test('once writes have moved a row whose ledger entry follows is waited for, and one that stays alone is told', async () => {
  const [one] = await world.rows<{ source_id: string }>('select source_id from api_usage order by 1 limit 1');
  const known = (state: string) =>
    world.rows('update migration_control.ledger set state = $2 where source_id = $1', [one!.source_id, state]);
  const count = async (follows: boolean) => {
    await known('s');
    const following = follows ? sleep(500).then(() => known('l')) : undefined;
    const order = { collection: 'token_usage', batchId: 'b', settings: validated, transform: await asOf() };
    const result = await validateCollection(resources, { ...order, checks: ['count_validation'] }, quiet);
    await following;
    await known('l');
    return result.individual_results['count_validation'];
  };
  const alone = { status: 'failed', details: { targets: [{ target: 'api_usage', missing: 0, extra: 1 }] } };
  const writes = (mode: string) =>
    world.rows(
      `insert into migration_control.routing (collection, percentage, write_mode, epoch) values ('token_usage', 0, $1, 1)
       on conflict (collection) do update set write_mode = $1`,
      [mode],
    );
  // Before that a row and its entry are written in one transaction.
  expect(await count(false)).toMatchObject(alone);
  await writes('new_system');
  expect(await count(true)).toMatchObject({ status: 'passed' });
  expect(await count(false)).toMatchObject(alone);
  await writes('old');
});

test('documents read again, and those whose values or rows have come', { timeout: 60_000 }, async () => {
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  await world.rows(
    `insert into migration_control.redo (collection_id, source_id, reason) select collection_id, source_id, 'reference' from migration_control.ledger on conflict do nothing`,
  );
  await findDue(resources.postgres, feeds, parentsOf(resources, feeds));
  await findLostKeys(resources.postgres, feeds);
  for (let n = 0; (await redoDue(resources, feeds, settings, 1)) > 0; n++) expect(n).toBeLessThan(20);
  expect(await world.rows('select source_id, cause from migration_control.redo')).toEqual([]);
  expect(await ledger()).toEqual(copied);
});

test('a repair of a gap, and quarantine tried again', { timeout: 60_000 }, async () => {
  await repairGap(resources, { settings, dryRun: false, deleteMissing: true }, quiet);
  expect(await ledger()).toEqual(copied);
  const order = { run: 'r', dryRun: false };
  expect(await retryQuarantined(resources, { ...order, dryRun: true }, () => false)).toMatchObject({
    documents: aside,
  });
  expect(await retryQuarantined(resources, order, () => false)).toMatchObject({
    documents: aside,
    loaded: 0,
    quarantined: aside,
  });
  expect(await ledger()).toEqual(copied);
});

test('evidence of a stage', { timeout: 60_000 }, async () => {
  const { collections: seen } = await sampleEvidence(
    resources,
    { collections, windowSeconds: 60, settings, keysPerCollection: 100 },
    quiet,
  );
  for (const collection of collections)
    expect(seen[collection]!.validation, collection).toMatchObject({ corrupted: 0, missing: 0, failed: 0 });
});

test('a snapshot of the targets, put back: everything stands as it stood', { timeout: 120_000 }, async () => {
  const order = { migration: world.name, name: 'kept', snapshotDirectory: 'snapshots' };
  await createSnapshot(resources, { ...order, workflow: null, run: 'r' }, quiet);
  const held = async () => (await world.redis.keys('session:*')).sort();
  const keys = await held();
  await world.rows('delete from sessions');
  const verified = await verifySnapshot(resources, order, quiet);
  await beginRestore(resources, verified);
  await restoreDocuments(resources, verified, quiet);
  await restoreKeys(resources, verified, quiet);
  await restoreRows(resources, verified, quiet);
  await restoreFiles(resources, verified);
  await finishRestore(resources, verified);
  expect(await held()).toEqual(keys);
  expect(await ledger()).toEqual(copied);
  expect(await verify(false)).toEqual([]);
});

test('deletions of all of them', { timeout: 60_000 }, async () => {
  const feeds = await feedsOf(resources);
  const before = await world.redis.get('session:own');
  const time = (await clusterTimeOf(world.source)) + 1n;
  for (const [source, feed] of feeds)
    await inTransaction(resources.postgres, 'testing', (client) =>
      applyChanges(
        resources,
        client,
        planted[source]!.map((one) => ({
          feed,
          id: sourceIdOf(bytesOf(one)),
          version: { time, op: 0 },
          bytes: undefined,
        })),
        settings,
      ),
    );
  expect((await ledger()).size).toBe(0);
  expect(await world.redis.get('session:own')).toBe(before);
  expect(await world.redis.lrange('session:taken', 0, -1)).toEqual(['of somebody']);
});

test('the last snapshot of the old system', { timeout: 60_000 }, async () => {
  await world.rows(
    `insert into migration_control.routing (collection, percentage, write_mode, epoch) select distinct mapping, 100, 'new_system', 1 from migration_control.collections
     on conflict (collection) do update set percentage = 100, write_mode = 'new_system'`,
  );
  const saved = await saveOld(resources, { migration: world.name, snapshotDirectory: 'snapshots', run: 'r' }, quiet);
  expect(saved.collections).toEqual(
    Object.fromEntries(Object.entries(planted).map(([source, documents]) => [source, documents.length])),
  );
});
