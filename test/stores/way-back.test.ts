// The way back through real stores: documents copied into the targets and rebuilt from them; untouched ones keep their bytes, changed ones change there only.
import { readFileSync } from 'node:fs';
import { deserialize, Double, EJSON, Int32, ObjectId } from 'bson';
import type { Document } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { feedsOf, type Feed } from '../../activities/apply.ts';
import type { Resources } from '../../activities/resources.ts';
import { rebuildDocuments, type Rebuilt } from '../../activities/reverse/rebuild.ts';
import { sourceId } from '../../core/identity.ts';
import { contentOf } from '../../mappings/way-back.ts';
import { size } from '../soak/options.ts';
import { World } from '../support/world.ts';

const settings = { zone: 'Asia/Shanghai', providers: [] };
const decode = (bytes: Uint8Array): Document => deserialize(bytes, { promoteValues: false, promoteLongs: false });
/** The fields that a second copy of an example must not share with the first. */
const uniqueFields = ['username', 'email', 'session_id', 'sessionId', 'key', 'config_name'];

/** More than 10,000 in all in `npm run soak -- way-back`. */
const documents = size.documents ?? 1000;

let world: World;
let resources: Resources;
let feeds: Map<string, Feed>;
const old = new Map<string, Map<string, Uint8Array>>();

/** Copies of every example document, each an `_id` and unique values of its own, some with fields whose names are special to JavaScript. */
async function addExamples(copies: number): Promise<void> {
  // The same id in two source collections of one mapping: only one of them has rows.
  const shared = new ObjectId();
  const text = readFileSync(new URL('../support/shapes.json', import.meta.url), 'utf8');
  const shapes = EJSON.deserialize(JSON.parse(text) as Document, { relaxed: false }) as Record<string, Document[]>;
  for (const [name, examples] of Object.entries(shapes)) {
    const documents = Array.from({ length: copies }, (_, i) =>
      examples.map((example) => {
        const own = uniqueFields.filter((field) => typeof example[field] === 'string' && example[field] !== '');
        const changed = own.map((field) => [
          field,
          field === 'email' ? `${i}.${name}.${example[field]}` : `${example[field]} ${name} ${i}`,
        ]);
        const peculiar = i % 10 === 1 && { ['__proto__']: { at: new Date(0) }, constructor: 'x' };
        const isShared = i === 0 && example === examples[0] && name.endsWith('sessions');
        return { ...example, ...peculiar, _id: isShared ? shared : new ObjectId(), ...Object.fromEntries(changed) };
      }),
    ).flat();
    await world.source.collection(name).insertMany(documents);
  }
}

beforeAll(async () => {
  world = await World.open('wayback');
  await world.seed(documents, 0.3);
  await addExamples(documents / 50);
  const { writeFile } = await import('node:fs/promises');
  const { join } = await import('node:path');
  const configuration = join(world.home, 'settings.json');
  await writeFile(configuration, JSON.stringify({ quarantineBudget: 0.9 }));
  await world.worker();
  const ran = await world.causeway(['start', '--until', 'data', '--wait', '--config', configuration]);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  resources = await world.resources();
  feeds = await feedsOf(resources);
  for (const source of feeds.keys()) {
    const raws = (await world.source.collection(source).find({}, { raw: true }).toArray()) as unknown as Uint8Array[];
    old.set(source, new Map(raws.map((raw) => [sourceId(decode(raw)['_id']), raw])));
  }
}, 600_000);
afterAll(async () => {
  await resources?.close();
  await world.close();
});

async function rebuild(
  source: string,
  ids: readonly string[],
  documents = old.get(source)!,
): Promise<Map<string, Rebuilt>> {
  const client = await resources.postgres.connect();
  try {
    await client.query('begin');
    return await rebuildDocuments(resources, client, feeds.get(source)!, ids, documents, settings);
  } finally {
    await client.query('rollback');
    client.release();
  }
}

test(
  'every untouched document of every shape comes back as the bytes it is, also those that were set aside',
  { timeout: 400_000 },
  async () => {
    let compared = 0;
    for (const [source, held] of old) {
      const rebuilt = await rebuild(source, [...held.keys()]);
      const wrong = [...rebuilt]
        .filter(([, one]) => !['unchanged', 'aside'].includes(one.is))
        .map(([id, one]) => ({ id, ...one }));
      expect(
        wrong.slice(0, 3).map((one) => ({ ...one, document: EJSON.stringify(decode(held.get(one.id)!)) })),
        source,
      ).toEqual([]);
      expect(rebuilt.size).toBe(held.size);
      compared += held.size;
    }
    expect(compared).toBeGreaterThan(documents * 1.5);
  },
);

test('what was loaded is found equal by the verification', { timeout: 120_000 }, async () => {
  const { code, stdout, stderr } = await world.causeway(['verify', '--json']);
  expect(code, stdout + stderr).toBe(0);
});

test('without the old documents they are built from what was kept', { timeout: 400_000 }, async () => {
  const report: Record<string, string> = {};
  for (const [source, held] of old) {
    const { mapping } = feeds.get(source)!;
    const rebuilt = await rebuild(source, [...held.keys()].slice(-200), new Map());
    let [bytes, values, built] = [0, 0, 0];
    for (const [id, one] of rebuilt) {
      if (one.is !== 'document') continue;
      built++;
      const before = held.get(id)!;
      if (Buffer.compare(one.bytes, before) === 0) bytes++;
      if (canonical(decode(one.bytes)) === canonical(decode(before))) values++;
      expect(contentOf(mapping, one.bytes, settings), EJSON.stringify(decode(one.bytes))).toBeDefined();
    }
    report[source] = `${bytes} of ${built} the same bytes, ${values} the same values`;
  }
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
});

const canonical = (value: unknown): string => {
  if (
    value === null ||
    typeof value !== 'object' ||
    Array.isArray(value) ||
    '_bsontype' in value ||
    value instanceof Date
  )
    return EJSON.stringify({ value }, { relaxed: false });
  return `{${Object.entries(value)
    .map(([key, inner]) => `${key}:${canonical(inner)}`)
    .sort()
    .join()}}`;
};

/** A document that loaded, of which `fits` holds. */
async function some(source: string, table: string, fits: (document: Document) => boolean): Promise<string> {
  const held = old.get(source)!;
  const rows = await world.rows<{ source_id: string }>(`select source_id from ${table} where source_id = any($1)`, [
    [...held.keys()],
  ]);
  const found = rows.find((row) => fits(decode(held.get(row.source_id)!)));
  expect(found, `a fitting document of ${source}`).toBeDefined();
  return found!.source_id;
}

/** The document after the change, checked to be the old one but for `changes`; undefined is a field that is gone. */
async function expectChanged(source: string, id: string, changes: Document): Promise<void> {
  const rebuilt = (await rebuild(source, [id])).get(id)!;
  expect(rebuilt.is).toBe('document');
  if (rebuilt.is !== 'document') return;
  expect(rebuilt.unsaid).toEqual([]);
  const wanted = { ...decode(old.get(source)!.get(id)!), ...changes };
  for (const name in changes) if (changes[name] === undefined) delete wanted[name];
  expect(EJSON.stringify(decode(rebuilt.bytes), { relaxed: false })).toBe(EJSON.stringify(wanted, { relaxed: false }));
  expect(Object.keys(decode(rebuilt.bytes))).toEqual(Object.keys(wanted));
}

describe('rows and documents that the application changed come back changed there only', () => {
  test('api_usage', async () => {
    const plain = (document: Document) =>
      document['cost'] instanceof Double &&
      typeof document['timestamp'] === 'string' &&
      document['timestamp'].length === 32;
    const id = await some('token_usage', 'api_usage', plain);
    await world.pool.query(
      `update api_usage set cost = 0.125, input_tokens = 7, "timestamp" = '2025-06-01T00:00:00.000001Z' where source_id = $1`,
      [id],
    );
    await expectChanged('token_usage', id, {
      cost: new Double(0.125),
      input_tokens: new Int32(7),
      timestamp: '2025-06-01T08:00:00.000001+08:00',
    });
    const text = await some(
      'token_usage',
      'api_usage',
      (document) => typeof document['cost'] === 'string' && document['cost'].startsWith('¥'),
    );
    await world.pool.query('update api_usage set cost = 0.125000000000 where source_id = $1', [text]);
    await expectChanged('token_usage', text, { cost: '¥0.125' });
  });

  test('users and user_configs', async () => {
    const id = await some(
      'users',
      'users',
      (document) => (document['preferences'] as Document | undefined)?.['default_depth'] === '深度',
    );
    const { preferences } = decode(old.get('users')!.get(id)!) as { preferences: Document };
    await world.pool.query(
      `update user_configs c set config_data = config_data || '{"ui_theme": "dark"}' from users u where c.user_id = u.id and u.source_id = $1 and config_type = 'preferences'`,
      [id],
    );
    await world.pool.query(`update users set is_active = false where source_id = $1`, [id]);
    await expectChanged('users', id, { preferences: { ...preferences, ui_theme: 'dark' }, is_active: false });
    await world.pool.query(
      `delete from user_configs c using users u where c.user_id = u.id and u.source_id = $1 and config_type = 'preferences'`,
      [id],
    );
    await expectChanged('users', id, { preferences: undefined, is_active: false });
  });

  test('sessions, app_metadata, market_data', async () => {
    const session = await some('sessions', 'sessions', (document) => typeof document['status'] === 'string');
    await world.pool.query(`update sessions set status = 'ended' where source_id = $1`, [session]);
    await expectChanged('sessions', session, { status: 'ended' });
    const setting = await some(
      'configurations',
      'app_metadata',
      (document) => 'config_value' in document && !('value' in document),
    );
    await world.pool.query(`update app_metadata set value = '{"limit": 5}' where source_id = $1`, [setting]);
    await expectChanged('configurations', setting, { config_value: { limit: new Int32(5) } });
    const quote = await some('stock_daily_quotes', 'market_data', (document) => document['close'] instanceof Double);
    await world.pool.query(`update market_data set close = high where source_id = $1`, [quote]);
    const [row] = await world.rows<{ high: string }>('select high from market_data where source_id = $1', [quote]);
    await expectChanged('stock_daily_quotes', quote, { close: new Double(Number(row!.high)) });
  });

  test('an analysis', async () => {
    const optimised = world.target.collection('analysis_results_optimized');
    const held = old.get('analysis_reports')!;
    const found = (await optimised.find().toArray()).find((one) => {
      const raw = held.get(sourceId(one._id));
      return (
        raw &&
        typeof (decode(raw)['reports'] as Document | undefined)?.['market_report'] === 'string' &&
        decode(raw)['research_depth'] === '标准'
      );
    })!;
    const id = sourceId(found._id);
    const { reports } = decode(held.get(id)!) as { reports: Document };
    await optimised.updateOne(
      { _id: found._id, 'sections.name': 'market_report' },
      { $set: { 'sections.$.content': '# new', research_depth: new Int32(5), status: 'archived' } },
    );
    await expectChanged('analysis_reports', id, {
      reports: { ...reports, market_report: '# new' },
      research_depth: '全面',
      status: 'archived',
    });
  });
});

test('removed in the new system: gone; made there: a document of its own', async () => {
  const id = await some('token_usage', 'api_usage', () => true);
  await world.pool.query('delete from api_usage where source_id = $1', [id]);
  const made = new ObjectId().toHexString();
  const [user] = await world.rows<{ id: string; source_id: string }>(
    `select id, source_id from users where source_id !~ '"' limit 1`,
  );
  await world.pool.query(
    `insert into api_usage (source_id, "timestamp", provider, model_name, input_tokens, output_tokens, cost, currency, user_id, metadata)
     values ($1, '2026-01-01T00:00:00Z', 'openai', 'gpt', 5000000000, 2, 0.3, 'USD', $2, '{"note": "from the new system", "stock_code": "600519"}')`,
    [made, user!.id],
  );
  const rebuilt = await rebuild('token_usage', [id, made]);
  expect(rebuilt.get(id)).toEqual({ is: 'gone' });
  const document = rebuilt.get(made)!;
  expect(document.is === 'document' && EJSON.stringify(decode(document.bytes))).toBe(
    EJSON.stringify({
      _id: { $oid: made },
      timestamp: '2026-01-01T08:00:00.000000+08:00',
      provider: 'openai',
      model_name: 'gpt',
      input_tokens: 5000000000,
      output_tokens: 2,
      cost: 0.3,
      currency: 'USD',
      user_id: user!.source_id,
      metadata: { note: 'from the new system' },
      stock_code: '600519',
    }),
  );
});
