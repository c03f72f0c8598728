// Documents that JavaScript objects cannot hold, through copy, capture, verification, repair and the way back on real servers.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { feedsOf } from '../../activities/apply.ts';
import { Asker } from '../../activities/performance/ask.ts';
import type { Resources } from '../../activities/resources.ts';
import { rebuildDocuments } from '../../activities/reverse/rebuild.ts';
import { digestOf } from '../../activities/shape.ts';
import { validateCollection } from '../../activities/validate.ts';
import { elementNamed } from '../../core/bson/reader.ts';
import { idsFrom, sourceIdOf } from '../../core/identity.ts';
import { documentOf, of, type Field } from '../support/bson-bytes.ts';
import { analysis, plantedBytes as documents } from '../support/planted-bytes.ts';
import { writeBack } from '../../stores/mongodb/write-back.ts';
import { insertBytes } from '../support/raw-wire.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
/** The embedded server's change stream tells a name that stands twice once and numbers arrays anew, so those are only copied. */
const retold = ['field_name_twice', 'array_keys_irregular'];
const captured = documents
  .filter((one) => !retold.includes(one.rule ?? ''))
  .map(({ bytes, ...more }) => {
    const fields: Field[] = [];
    const id = elementNamed(bytes, '_id')!;
    fields.push(['_id', of.object(['again', { type: id.type, bytes: bytes.subarray(id.at, id.end) }])]);
    const rest = bytes.subarray(id.end, -1);
    const head = documentOf(fields);
    const whole = Buffer.concat([head.subarray(0, -1), rest, Buffer.from([0])]);
    whole.writeInt32LE(whole.length);
    return { bytes: whole, ...more };
  });
const all = [...documents, ...captured];

let world: World;
let resources: Resources;

const verify = async (...args: string[]) => {
  const ran = await world.causeway(['verify', '--json', ...args]);
  return ran;
};
const ledger = () =>
  world.rows<{ source_id: string; state: string; rule: string | null; kept: Buffer | null }>(
    `select l.source_id, l.state, l.rule, l.kept from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
     where c.source = 'analysis_results' and not l.deleted`,
  );

beforeAll(async () => {
  world = await World.open('bytes');
  await world.seed(1000, 0, ['subscription_users']);
  await insertBytes(
    world.environment['SOURCE_MONGODB_URL']!,
    'analysis_results',
    documents.map((one) => one.bytes),
  );
  await writeFile(join(world.home, 'settings.json'), JSON.stringify({ quarantineBudget: 1 }));
  await world.worker();
  const ran = await world.causeway([
    'start',
    '--until',
    'data',
    '--wait',
    '--config',
    join(world.home, 'settings.json'),
  ]);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  await insertBytes(
    world.environment['SOURCE_MONGODB_URL']!,
    'analysis_results',
    captured.map((one) => one.bytes),
  );
  await insertBytes(world.environment['SOURCE_MONGODB_URL']!, 'analysis_reports', [analysis(of.number(7))]);
  await vi.waitFor(async () => expect(await ledger()).toHaveLength(all.length), { timeout: 60_000, interval: 200 });
  resources = await world.resources();
}, 400_000);
afterAll(async () => {
  await resources?.close();
  await world.close();
});

test('each is accounted for under a key of its own: loaded, or set aside by a rule', async () => {
  const rows = new Map((await ledger()).map((row) => [row.source_id, row]));
  expect(rows.size).toBe(all.length);
  for (const { bytes, rule } of all) {
    const id = sourceIdOf(bytes);
    expect(rows.get(id), id).toMatchObject({ state: rule ? 'q' : 'l', rule: rule ?? null });
  }
});

test('of two numbers that are one to the target, in two collections of a mapping, the later is set aside by its rule', async () => {
  const rows = () =>
    world.rows<{ state: string; rule: string | null }>(
      `select l.state, l.rule from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
     where l.source_id in ('{"$numberInt":"7"}', '{"$numberDouble":"7.0"}') and c.mapping = 'analysis_results' order by 1`,
    );
  await vi.waitFor(
    async () =>
      expect(await rows()).toEqual([
        { state: 'l', rule: null },
        { state: 'q', rule: 'target_refused' },
      ]),
    { timeout: 20_000, interval: 200 },
  );
});

test('what the target holds of them are the bytes they had', async () => {
  const loaded = all.filter((one) => !one.rule);
  const found = (await world.target
    .collection('analysis_results_optimized')
    .find({ _id: { $in: idsFrom(loaded.map((one) => sourceIdOf(one.bytes))) } } as never, { raw: true })
    .toArray()) as unknown as Buffer[];
  expect(found).toHaveLength(loaded.length);
  const carried = ['expires', 'model', 'tag', 'ref', 'nothing', 'inner', 'score', 'zero', 'price', 'pattern', 'tick'];
  let compared = 0;
  for (const { bytes } of loaded) {
    const target = found.find((one) => sourceIdOf(one) === sourceIdOf(bytes))!;
    const residual = elementNamed(target, 'residual');
    for (const name of carried) {
      const own = elementNamed(bytes, name);
      if (!own) continue;
      const held = elementNamed(target.subarray(residual!.at, residual!.end), name);
      const at = residual!.at;
      expect(held?.type, name).toBe(own.type);
      expect(target.subarray(at + held!.at, at + held!.end).toString('hex'), name).toBe(
        bytes.subarray(own.at, own.end).toString('hex'),
      );
      compared++;
    }
  }
  expect(compared).toBeGreaterThan(20);
});

test('verification finds them equal, a row under no possible key is an extra one, and repair removes that alone', async () => {
  const equal = await verify();
  expect(equal.code, equal.stdout + equal.stderr).toBe(0);
  await world.rows(`insert into users (source_id, username, username_key, email, email_key, password_hash, password_scheme, role, is_active)
    select k, k, k, k || '@x.org', k || '@x.org', 'x', 'x', 'user', true from unnest(array['legacy-42', '{', '"a']) k`);
  const extra = await verify('--restart');
  expect(extra.code, extra.stdout + extra.stderr).toBe(1);
  expect(extra.stdout).toContain('legacy-42');
  const repaired = await verify('--repair', '--restart');
  expect(repaired.code, repaired.stdout + repaired.stderr).toBe(0);
  expect(await world.rows(`select 1 from users where source_id = 'legacy-42'`)).toEqual([]);
  expect(await ledger()).toHaveLength(all.length);
});

test('an untouched one comes back as its bytes, and one that the old system has lost from the bytes that were kept', async () => {
  const feed = (await feedsOf(resources)).get('analysis_results')!;
  const held = new Map(all.map(({ bytes }) => [sourceIdOf(bytes), bytes]));
  const client = await resources.postgres.connect();
  try {
    const rebuilt = await rebuildDocuments(resources, client, feed, [...held.keys()], held, settings);
    for (const { bytes, rule } of all)
      expect(rebuilt.get(sourceIdOf(bytes)), sourceIdOf(bytes)).toMatchObject({ is: rule ? 'aside' : 'unchanged' });
    const kept = (await ledger()).filter((row) => row.kept !== null).map((row) => row.source_id);
    expect(kept.length).toBeGreaterThanOrEqual(4);
    const anew = await rebuildDocuments(resources, client, feed, kept, new Map(), settings);
    for (const id of kept) {
      const one = anew.get(id)!;
      expect(one.is === 'document' && Buffer.from(one.bytes).equals(held.get(id)!), id).toBe(true);
    }
  } finally {
    client.release();
  }
});

test('of one _id in two source collections of a mapping the sums of both systems count the document that is loaded', async () => {
  const usage = (tokens: number) =>
    documentOf([
      ['_id', of.text('of both')],
      ['timestamp', of.text('2025-06-14T07:13:03')],
      ['provider', of.text('google')],
      ['model_name', of.text('gemini')],
      ['input_tokens', of.int(tokens)],
      ['output_tokens', of.int(1)],
      ['cost', of.number(0.5)],
      ['session_id', of.text('s')],
      ['analysis_type', of.text('stock_analysis')],
    ]);
  const rows = () =>
    world.rows<{ state: string; rule: string | null }>(
      `select state, rule from migration_control.ledger where source_id = '"of both"' order by state`,
    );
  const url = world.environment['SOURCE_MONGODB_URL']!;
  await insertBytes(url, 'token_usage', [usage(1)]);
  await vi.waitFor(async () => expect(await rows()).toHaveLength(1), { timeout: 20_000, interval: 100 });
  await insertBytes(url, 'usage_records', [usage(2)]);
  await vi.waitFor(
    async () =>
      expect(await rows()).toEqual([
        { state: 'l', rule: null },
        { state: 'q', rule: 'source_id_unique' },
      ]),
    { timeout: 20_000, interval: 100 },
  );
  const order = {
    collection: 'token_usage',
    batchId: 'sums',
    settings: { sampleRate: 1, sampleMinimum: 1, sampleMaximum: 1, quarantineBudget: 1 },
    transform: { ...settings, asOf: Date.now() },
    checks: ['business_rule_validation' as const],
  };
  const { individual_results: results } = await validateCollection(resources, order, () => undefined);
  expect(results['business_rule_validation'], JSON.stringify(results)).toMatchObject({ status: 'passed' });
}, 60_000);

test('a regular expression that is none to JavaScript, or none to the driver, keeps no question from being answered', async () => {
  const odd = analysis(of.text('odd'), ['pattern', of.regex('(', 'xi')]);
  const unknown = analysis(of.text('unknown'), ['pattern', of.regex('a', 'q')]);
  await insertBytes(world.environment['SOURCE_MONGODB_URL']!, 'asked', [odd, unknown]);
  const asker = new Asker(resources, 1, 5000);
  try {
    const question = { store: 'mongodb' as const, filter: {} };
    await asker.ask('old', { source: 'asked', old: question, new: question } as never);
    await asker.ask('old', { source: 'asked', old: { store: 'mongodb', pipeline: [] }, new: question } as never);
    expect(await resources.source.db.collection('asked').findOne({})).toMatchObject({ pattern: { pattern: '(' } });
    await expect(asker.databases.old.collection('asked').find({}).toArray()).rejects.toThrow('option [q]');
  } finally {
    await asker.close();
  }
});

test("what servers do not keep in an update, an operator's name and options of a regular expression in another order, is written back as its bytes", async () => {
  const regex = of.regex('a', 'xi');
  const peculiar: Field[][] = [
    [['$where', of.text('')]],
    [['pattern', regex]],
    [['inside', of.object(['list', of.array(of.int(1), regex)])]],
    [['code', of.codeWithScope('c', documentOf([['pattern', regex]]))]],
  ];
  const made = (note: string) => peculiar.map((fields, i) => analysis(of.int(i), ['note', of.text(note)], ...fields));
  await insertBytes(world.environment['SOURCE_MONGODB_URL']!, 'written_back', made('before'));
  const wanted = made('changed');
  await writeBack(
    resources.source,
    { collection: 'written_back', order: { anchor: 1n, version: 1n }, until: performance.now() + 10_000 },
    wanted.map((bytes) => ({ id: sourceIdOf(bytes), bytes, digest: digestOf(bytes) })),
  );
  const found = (await world.source
    .collection('written_back')
    .find({}, { raw: true })
    .sort({ _id: 1 })
    .toArray()) as unknown as Buffer[];
  expect(found.map((one) => Buffer.from(one).toString('hex'))).toEqual(wanted.map((one) => one.toString('hex')));
});
