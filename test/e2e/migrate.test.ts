// A whole copy of a dirty source, checked by reading the stores: each kind of dirt lands where it should.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize } from 'bson';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Vault, type Sealed } from '../../control/vault.ts';
import { accountFor, feeds, plantedLines, type PlantedLine } from '../support/accounting.ts';
import { World, type Ran } from '../support/world.ts';

const secret = 'sk-not-a-real-key-7f3a9c';
const tables: Record<string, string> = {
  token_usage: 'api_usage',
  subscription_users: 'users',
  sessions: 'sessions',
  metadata: 'app_metadata',
  stock_daily_quotes: 'market_data',
};

let world: World;
let ran: Ran;
let planted: PlantedLine[];
const configuration = () => join(world.home, 'configuration');

beforeAll(async () => {
  world = await World.open('migrate');
  await world.seed(3000, 0.3);
  planted = await plantedLines(world);
  await world.worker();
  const { writeFile } = await import('node:fs/promises');
  await writeFile(
    join(world.home, 'settings.json'),
    JSON.stringify({ configurationDirectory: configuration(), quarantineBudget: 0.9 }),
  );
  ran = await world.causeway(['start', '--until', 'data', '--wait', '--config', join(world.home, 'settings.json')]);
});
afterAll(() => world.close());

test('the copy is done and good', () => {
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
});

describe.each(Object.entries(feeds))('%s', (mapping, sources) => {
  test('accounting holds key by key, and every planted document is where section 6 says', async () => {
    const states = await accountFor(world, mapping, sources);
    const wrong = planted.filter((line) => line.mapping === mapping && states.get(line.sourceId) !== line.expect);
    expect(
      wrong.map((line) => `${line.case} ${line.variant}: ${states.get(line.sourceId)} instead of ${line.expect}`),
    ).toEqual([]);
  });

  test('quarantined documents name their rule and hold the document', async () => {
    const rows = await world.rows<{ source_id: string; rule: string; document: Sealed }>(
      'select source_id, rule, document from migration_control.migration_errors where collection = $1',
      [mapping],
    );
    const rules = new Map(rows.map((row) => [row.source_id, row]));
    const wrong = planted.filter(
      (line) =>
        line.mapping === mapping && line.expect === 'quarantined' && rules.get(line.sourceId)?.rule !== line.rule,
    );
    expect(
      wrong.map((line) => `${line.case} ${line.variant}: ${rules.get(line.sourceId)?.rule} instead of ${line.rule}`),
    ).toEqual([]);
    const vault = Vault.from(world.environment['CAUSEWAY_QUARANTINE_KEY']!);
    for (const { source_id: sourceId, document } of rows) {
      const bytes = vault.open({ collection: mapping, sourceId }, document);
      expect(Object.keys(deserialize(bytes))).toContain('_id');
    }
  });
});

/** As values, not as text: numbers and instants have several spellings. */
function same({ type, actual }: { type: string; actual: string | null }, value: unknown): boolean {
  if (actual === null || value === null) return actual === value;
  if (type === 'numeric') return Math.abs(Number(actual) - Number(value)) < 1e-12;
  if (type === 'timestamp with time zone')
    return new Date(`${actual.replace(' ', 'T')}:00`).getTime() === new Date(String(value)).getTime();
  return actual === String(value);
}

test('values arrive as section 6 says', async () => {
  const wrong: string[] = [];
  for (const line of planted.filter(
    (one) =>
      one.expect === 'loaded' &&
      one.check?.column !== undefined &&
      one.check.path === undefined &&
      one.check.table === undefined,
  )) {
    const { column, value } = line.check!;
    const [row] = await world.rows<{ type: string; actual: string | null }>(
      `select pg_typeof("${column}")::text as type, "${column}"::text as actual from ${tables[line.mapping]} where source_id = $1`,
      [line.sourceId],
    );
    if (!row || !same(row, value))
      wrong.push(`${line.mapping} ${line.case} ${line.variant}: ${column} is ${row?.actual}, not ${String(value)}`);
  }
  expect(wrong).toEqual([]);
});

test('optimised documents keep their _id, pass the validator, and hold the normalised values', async () => {
  const wrong: string[] = [];
  const collection = world.target.collection('analysis_results_optimized');
  const documents = new Map((await collection.find().toArray()).map((document) => [String(document._id), document]));
  for (const line of planted.filter(
    (one) => one.mapping === 'analysis_results' && one.expect === 'loaded' && one.check?.field !== undefined,
  )) {
    const document = documents.get(line.sourceId);
    const { field, value } = line.check!;
    const actual =
      document?.[field!] ?? (document?.['decision'] as Record<string, unknown> | undefined)?.[field!] ?? null;
    const text = actual instanceof Date ? actual.toISOString().replace('Z', '000Z') : actual;
    if (text !== value) wrong.push(`${line.case} ${line.variant}: ${field} is ${String(text)}, not ${String(value)}`);
  }
  expect(wrong).toEqual([]);
  await expect(collection.insertOne({ symbol: 1 } as never)).rejects.toThrow();
});

test('live sessions are in Redis with their expiry, expired ones only in PostgreSQL', async () => {
  const rows = await world.rows<{ session_id: string; live: boolean; millis: string }>(
    `select session_id, expires_at > now() + interval '1 minute' as live, floor(extract(epoch from expires_at) * 1000)::bigint as millis from sessions`,
  );
  for (const row of rows) {
    const value = await world.redis.get(`session:${row.session_id}`);
    expect(value !== null, row.session_id).toBe(row.live === true);
    if (value !== null) {
      expect((JSON.parse(value) as { session_id: string }).session_id).toBe(row.session_id);
      expect(
        Math.abs(
          (await world.redis.pexpiretime(`session:${row.session_id}`).catch(() => Number(row.millis))) -
            Number(row.millis),
        ),
      ).toBeLessThan(2);
    }
  }
  expect(rows.some((row) => row.live)).toBe(true);
  // And the mark of whose Redis it is.
  expect(await world.redis.dbsize()).toBe(rows.filter((row) => row.live).length + 1);
  expect(await world.redis.hget('causeway:owner', 'migration')).toBe(world.name);
});

test('settings stand in one file per category, secrets redacted there and in quarantine', async () => {
  const categories = (await world.rows<{ category: string }>('select distinct category from app_metadata')).length;
  const files = await readdir(configuration());
  expect(files.length).toBe(categories);
  for (const file of files) expect(await readFile(join(configuration(), file), 'utf8')).not.toContain(secret);
  expect(
    (await world.rows('select 1 from app_metadata where value::text like $1', [`%${secret}%`])).length,
  ).toBeGreaterThan(0);
  expect(
    await world.rows('select 1 from migration_control.migration_errors where document::text like $1', [`%${secret}%`]),
  ).toEqual([]);
});

test('no document is in any workflow history', async () => {
  const usernames = await world.rows<{ email: string }>(
    `select email from users where email not like 'admin%' limit 20`,
  );
  for await (const execution of world.temporal.workflow.list({ query: `MigrationName = '${world.name}'` })) {
    const history = JSON.stringify(
      await world.temporal.workflow.getHandle(execution.workflowId, execution.runId).fetchHistory(),
    );
    const text = Buffer.from(history).toString('utf8');
    for (const { email } of usernames)
      expect(text.includes(Buffer.from(email).toString('base64').slice(4, -4)) || text.includes(email)).toBe(false);
  }
});

test('running it again changes nothing', async () => {
  const before = await world.rows('select batch_id, finished_at from migration_control.migration_batches order by 1');
  const again = await world.causeway([
    'start',
    '--until',
    'data',
    '--wait',
    '--config',
    join(world.home, 'settings.json'),
  ]);
  expect(again.code, again.stdout + again.stderr).toBe(0);
  expect(await world.rows('select batch_id, finished_at from migration_control.migration_batches order by 1')).toEqual(
    before,
  );
});
