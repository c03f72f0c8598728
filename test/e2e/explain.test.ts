// Lineage: what is known of a document in each state and each kind of target, and the way back from a row, a key or a document to it.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Double, ObjectId } from 'bson';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Resources } from '../../activities/resources.ts';
import { route } from '../../activities/route.ts';
import { forgetVersions } from '../../control/lineage.ts';
import { explainDocument, mappingFor, type Explanation, type Unknown } from '../../lineage/index.ts';
import { DualWriteManager } from '../../traffic/dual-write.ts';
import { plantedLines, type PlantedLine } from '../support/accounting.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
let planted: PlantedLine[];
let worker: Awaited<ReturnType<World['worker']>>;

const secret = 'explain-secret-5c1d';
const hash = '5c1d'.repeat(16);
const ids = { user: new ObjectId(), session: new ObjectId(), setting: new ObjectId(), twin: new ObjectId() };
const usage = (_id: unknown) => ({
  _id,
  timestamp: '2025-06-01T12:00:00.123456+08:00',
  provider: 'deepseek',
  model_name: 'deepseek-chat',
  input_tokens: 10,
  output_tokens: 5,
  cost: new Double(0.25),
  currency: 'CNY',
  session_id: 'explained',
  analysis_type: 'stock_analysis',
  access_token: secret,
});

beforeAll(async () => {
  world = await World.open('explain');
  await world.seed(2000, 0.05);
  planted = await plantedLines(world);
  const now = new Date();
  const add = (collection: string, ...documents: object[]) =>
    world.source.collection(collection).insertMany(documents as never[]);
  await add('token_usage', usage(ids.twin), usage(String(ids.twin)), usage('plain text id'), usage(7));
  await add('users', {
    _id: ids.user,
    username: 'explained-user',
    email: 'explained@example.com',
    hashed_password: hash,
    is_active: true,
    created_at: now,
    preferences: { theme: 'dark' },
  });
  await add('sessions', {
    _id: ids.session,
    session_id: 'explained-session',
    user_id: ids.user,
    status: 'active',
    created_at: now,
    expires_at: new Date(now.getTime() + 86_400_000),
    data: { refresh_token: secret, page: 1 },
  });
  await add('system_config', {
    _id: ids.setting,
    config_type: 'llm',
    config_name: 'explained_api_key',
    config_value: secret,
  });
  worker = await world.worker();
  const settings = join(world.home, 'settings.json');
  await writeFile(settings, JSON.stringify({ quarantineBudget: 1 }));
  const ran = await world.causeway(['start', '--until', 'data', '--wait', '--config', settings]);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  resources = await world.resources();
});
afterAll(async () => {
  await resources?.close();
  await world.close();
});

const ask = (collection: string, id: string): Promise<Explanation | Unknown> =>
  explainDocument(resources, mappingFor(resources, collection)!, collection, id);
const known = async (collection: string, id: string): Promise<Explanation> => {
  const found = await ask(collection, id);
  if (!('version' in found)) throw new Error(found.answer);
  expect(JSON.stringify(found)).not.toContain(secret);
  return found;
};
const cli = async (...args: string[]) => {
  const ran = await world.causeway(['explain', ...args, '--json']);
  expect(ran.stdout + ran.stderr).not.toContain(secret);
  return {
    code: ran.code,
    stderr: ran.stderr,
    found: (ran.stdout === '' ? {} : JSON.parse(ran.stdout)) as Explanation,
  };
};
const stores = (found: Explanation) => found.targets.map((one) => one.store);

test('a row in a table partitioned by time: its id, its time to the microsecond, the partition that holds it', async () => {
  const found = await known('token_usage', String(ids.twin));
  expect(found).toMatchObject({
    source: 'token_usage',
    state: 'loaded',
    takenFor: 'objectId',
    version: { came: 'copy', operation: null },
    earlier: [],
    mapping: { document: 1, current: 1 },
    verified: { validation: { status: 'passed' }, run: null, findings: [], divergence: null },
    quarantine: [],
    routing: null,
  });
  expect(found.targets).toMatchObject([
    { store: 'postgres', table: 'api_usage', row: { provider: 'deepseek', cost: '0.250000000000' } },
  ]);
  const [row] = found.targets;
  expect(row).toMatchObject({
    time: expect.stringContaining('.123456') as string,
    partition: expect.stringMatching(/api_usage/) as string,
  });
  expect(JSON.stringify(row)).toContain('[redacted]');
});

test('ids: what the text was taken for is said, and what else it may mean', async () => {
  const hex = String(ids.twin);
  expect((await known('token_usage', hex)).others).toMatchObject([{ sourceId: `"${hex}"`, state: 'loaded' }]);
  expect(await known('token_usage', `"${hex}"`)).toMatchObject({
    sourceId: `"${hex}"`,
    takenFor: 'string',
    others: [],
  });
  expect(await known('token_usage', `ObjectId("${hex}")`)).toMatchObject({ sourceId: hex });
  expect(await known('token_usage', 'plain text id')).toMatchObject({
    sourceId: '"plain text id"',
    takenFor: 'string',
  });
  expect(await known('token_usage', '7')).toMatchObject({ sourceId: '{"$numberInt":"7"}', takenFor: 'int' });
});

test('a user with the rows that belong to him, a setting with its file, both without their secrets', async () => {
  const user = await known('users', String(ids.user));
  expect(user.collection).toBe('subscription_users');
  expect(user.source).toBe('users');
  expect(JSON.stringify(user)).not.toContain(hash);
  expect(user.targets).toMatchObject([
    { table: 'users', row: { username: 'explained-user' } },
    { table: 'user_configs', row: { config_type: 'preferences' } },
  ]);
  const setting = await known('metadata', String(ids.setting));
  expect(stores(setting)).toEqual(['postgres', 'files']);
  const file = setting.targets.find((one) => one.store === 'files')!;
  expect(basename(file.file)).toBe('llm.json');
  expect(file.key).toContain('explained_api_key');
});

test('an optimised document with the version its guard holds; the same found from the target', async () => {
  const line = planted.find((one) => one.mapping === 'analysis_results' && one.expect === 'loaded')!;
  const found = await known('analysis_results', line.sourceId);
  const document = found.targets.find((one) => one.store === 'mongodb')!;
  expect(document).toMatchObject({ collection: 'analysis_results_optimized', guard: found.version.clusterTime });
  expect(document.document).toHaveProperty('symbol');
  const back = await cli('--document', 'analysis_results_optimized', line.sourceId);
  expect(back).toMatchObject({ code: 0, found: { sourceId: line.sourceId, collection: 'analysis_results' } });
});

test('a session: its key with the time it has left, its row, and from the key back, also when Redis has forgotten it', async () => {
  const id = String(ids.session);
  const found = await known('sessions', id);
  expect(stores(found).sort()).toEqual(['postgres', 'redis']);
  const key = found.targets.find((one) => one.store === 'redis')!;
  // A session's key is the session's id: what stands for it is shown.
  expect(key.key).toMatch(/^session:#[0-9a-f]{32}$/);
  expect(key.ttlMs).toBeGreaterThan(80_000_000);
  expect(JSON.stringify(key.value)).toContain('"page":1');
  for (const text of ['session:explained-session', 'explained-session'])
    expect((await cli('--key', text)).found.sourceId).toBe(id);
  await world.redis.del('session:explained-session');
  expect((await known('sessions', id)).targets.find((one) => one.store === 'redis')).toMatchObject({
    ttlMs: null,
    value: null,
  });
  expect((await cli('--key', 'session:explained-session')).found.sourceId).toBe(id);
  const nobody = await cli('--key', 'session:nobody');
  expect(nobody.code).toBe(2);
  expect(nobody.stderr).toContain('session:nobody');
});

test('from a row back to its document, from a child row to that of its parent', async () => {
  const [row] = await world.rows<{ id: string }>('select id from api_usage where source_id = $1', [String(ids.twin)]);
  expect((await cli('--row', 'api_usage', row!.id)).found.sourceId).toBe(String(ids.twin));
  const [child] = await world.rows<{ id: string }>(
    'select c.id from user_configs c join users u on u.id = c.user_id where u.source_id = $1',
    [String(ids.user)],
  );
  expect((await cli('--row', 'user_configs', child!.id)).found.sourceId).toBe(String(ids.user));
  const absent = await cli('--row', 'users', '999999999');
  expect(absent).toMatchObject({ code: 1, found: { answer: 'users has no row with the id 999999999.' } });
  const table = await cli('--row', 'nonsense', '1');
  expect(table.code).toBe(2);
  expect(table.stderr).toContain('api_usage');
  expect((await cli('token_usage')).code).toBe(2);
  expect((await cli('nonsense', '1')).code).toBe(2);
});

test('set aside and skipped: by which rule, where, and what was found there', async () => {
  const bad = planted.find((one) => one.collection === 'token_usage' && one.expect === 'quarantined')!;
  const [set] = await world.rows<{ path: string }>(
    'select path from migration_control.migration_errors where source_id = $1',
    [bad.sourceId],
  );
  const found = await known('token_usage', bad.sourceId);
  expect(found).toMatchObject({
    state: 'quarantined',
    targets: [],
    quarantine: [{ rule: bad.rule, path: set!.path, resolvedAt: null }],
  });
  expect(found.answer).toContain(`Set aside by the rule ${bad.rule}`);
  const lost = planted.find((one) => one.rule?.endsWith('_unique') && one.rule !== 'source_id_unique')!;
  expect((await known(lost.collection, lost.sourceId)).waiting.elections).toMatchObject([{ rule: lost.rule }]);
  const skipped = planted.find((one) => one.expect === 'skipped')!;
  const marker = await known(skipped.collection, skipped.sourceId);
  expect(marker.state).toBe('skipped');
  expect(marker.answer).toMatch(/Skipped by the rule \w+/);
});

test('versions: what capture brings replaces the copy, which is remembered; a delete says when', async () => {
  const collection = world.source.collection('token_usage');
  const id = '"plain text id"';
  await collection.updateOne({ _id: 'plain text id' as never }, { $set: { output_tokens: 6 } });
  await expect
    .poll(async () => (await known('token_usage', id)).version.came, { timeout: 20_000 })
    .toBe('change capture');
  const changed = await known('token_usage', id);
  expect(changed.earlier).toMatchObject([{ came: 'copy', state: 'loaded' }]);
  expect(changed.version.operation).not.toBeNull();
  await collection.deleteOne({ _id: 'plain text id' as never });
  await expect.poll(async () => (await known('token_usage', id)).state, { timeout: 20_000 }).toBe('deleted');
  const gone = await known('token_usage', id);
  expect(gone.targets).toEqual([]);
  expect(gone.answer).toContain(gone.version.at);
  expect(gone.earlier.map((one) => one.came)).toEqual(['change capture', 'copy']);
  // Nothing newer has come: nothing else is in the history but what references have had read again.
  const rows = await world.rows(
    `select distinct source_id from migration_control.ledger_history h where not exists (select 1 from migration_control.ledger l
       where l.collection_id = h.collection_id and l.source_id = h.source_id and (l.version, l.op_index) > (h.version, h.op_index))`,
  );
  expect(rows).toEqual([]);
});

test('what `causeway verify` has found of a document and of its keys is told, and that it was repaired', async () => {
  const id = String(ids.user);
  expect((await known('users', id)).verified).toMatchObject({ run: null, findings: [], divergence: null });
  await world.rows('update users set email = upper(email) where source_id = $1', [id]);
  const verify = async (...more: string[]) => {
    const { stdout } = await world.causeway(['verify', '--collection', 'subscription_users', '--json', ...more]);
    return (JSON.parse(stdout) as { run: number }).run;
  };
  const first = await verify();
  const found = await known('users', id);
  const finding = { kind: 'document', id, finding: 'different', differs: ['users.email'], state: 'different' };
  expect(found.verified).toMatchObject({
    run: { run: first },
    findings: [{ ...finding, run: first, repairedAt: null }],
  });
  expect(found.version.came).toBe('copy');
  const second = await verify('--repair');
  const repaired = await known('users', id);
  // What stood before is in the history as it was; that it was set back for the repair is not.
  expect(repaired.version).toMatchObject({ came: 'verification repair', state: 'loaded', operation: null });
  expect(repaired.earlier).toEqual([{ ...found.version, supersededAt: expect.any(String) as string }]);
  expect(repaired.verified.run!.run).toBe(second);
  expect(repaired.verified.findings).toMatchObject([
    { ...finding, run: second, state: 'repaired', repairedAt: expect.any(String) as string },
    { ...finding, run: first },
  ]);
  const ran = await world.causeway(['explain', 'users', id]);
  for (const word of ['Verification', 'users.email', 'repaired', `Last verified by run ${second}`])
    expect(ran.stdout).toContain(word);
});

test('a second write is told from capture; what has not arrived yet from what nobody has seen', async () => {
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  const routes = await route(resources, {
    collections: ['token_usage'],
    percentage: 10,
    writeMode: 'dual_write',
    reason: 'test',
  });
  const manager = await DualWriteManager.open({
    source: { client: world.source.client, db: world.source },
    targets: resources,
    routes: {
      routeOf: (collection) => routes[collection]!,
      admit: (collection) =>
        Promise.resolve({ route: routes[collection]!, waitedMs: 0, isUncertain: false, done: () => undefined }),
    },
    settings: { zone: 'Asia/Shanghai', providers: [] },
  });
  try {
    await manager.collection('token_usage').insertOne(usage('written twice') as never);
  } finally {
    manager.close();
  }
  expect(await known('token_usage', 'written twice')).toMatchObject({
    version: { came: 'second write' },
    routing: { percentage: 10, writeMode: 'dual_write' },
  });
  await world.source.collection('token_usage').insertOne(usage('on its way') as never);
  expect(await ask('token_usage', 'on its way')).toMatchObject({
    state: 'not arrived',
    sources: [{ source: 'token_usage', sourceId: '"on its way"' }],
  });
  const never = await cli('token_usage', 'nobody');
  expect(never.code).toBe(1);
  expect(never.found).toMatchObject({ state: 'never seen' });
});

test('for people: one page of text', async () => {
  const ran = await world.causeway(['explain', 'token_usage', String(ids.twin)]);
  expect(ran.code).toBe(0);
  for (const word of ['Loaded', 'Versions', 'copy', 'Became', 'api_usage', 'Routing: 10 %'])
    expect(ran.stdout).toContain(word);
  expect(ran.stdout).not.toContain(secret);
});

test('history is forgotten when it is old, and the oldest of it when there is too much', async () => {
  await world.rows('truncate migration_control.ledger_history');
  await world.rows(
    `insert into migration_control.ledger_history (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest, superseded_at)
     select 1, 'x', n, 0, false, 'l', 1, 0, now() - n * interval '1 day' from generate_series(1, 40) n`,
  );
  const left = async () =>
    Number((await world.rows<{ n: string }>('select count(*) as n from migration_control.ledger_history'))[0]!.n);
  await forgetVersions(resources.postgres);
  expect(await left()).toBe(29);
  await expect
    .poll(
      async () => {
        await forgetVersions(resources.postgres, 25);
        return left();
      },
      { timeout: 10_000 },
    )
    .toBe(22);
});
