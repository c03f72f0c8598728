// Quarantine as a place: a mapping and the policy are corrected, and exactly the documents concerned are loaded, live, killed in the middle; encrypted throughout.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Double, ObjectId } from 'bson';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { RetryReport } from '../../activities/quarantine.ts';
import type { Explanation } from '../../lineage/index.ts';
import { accountFor, feeds } from '../support/accounting.ts';
import { checkEqual } from '../support/checker.ts';
import type { Summary } from '../../control/verification-report.ts';
import { expectNothingOf } from '../support/history.ts';
import { World } from '../support/world.ts';

const root = new URL('../../', import.meta.url).pathname;
/** The first version reads a date; the second knows that some writers wrap it, and what a withdrawn piece is. */
const mapping = (version: number) => `
import { z } from '${root}node_modules/zod/index.js';
import { quarantine } from '${root}core/quarantine.ts';
import { table, text, timestamptz } from '${root}stores/postgres/target.ts';
import { readInstant } from '${root}mappings/fields/instant.ts';
import { defineMapping } from '${root}mappings/mapping.ts';
import { application as shipped } from '${root}mappings/tradingagents-cn/index.ts';
const news = defineMapping({
  collection: 'stock_news',
  class: 'historical',
  version: ${version},
  shape: z.looseObject({}),
  targets: [table('stock_news', { columns: { published_at: timestamptz({ notNull: true }), title: text({ notNull: true }) }, unique: [['title']] })],
  unique: [{ rule: 'title_unique', path: 'title', key: (document) => document.title, rank: () => '' }],
  skip: (document) => (${version} > 1 && document.withdrawn === true ? 'withdrawn' : undefined),
  transform(document, notes, { zone }) {
    const time = document.publish_time;
    const published = readInstant(${version} > 1 ? (time?.at ?? time) : time, zone);
    if (!published) quarantine('publish_time_valid', 'publish_time', 'publish_time is no point in time');
    return { stock_news: [{ published_at: published.micros, title: document.title }] };
  },
});
export const application = [...shipped, news];
`;

let world: World;
let worker: Awaited<ReturnType<World['worker']>>;
let version = 1;
const extra = () => ({ CAUSEWAY_MAPPINGS: join(world.home, `mappings-${version}`) });
const settings = (name: string) => join(world.home, `${name}.json`);

const secret = 'sk-quarantine-secret-7f3a';
const marker = 'a sentence that only the document holds';
const usage = (more: object) => ({
  _id: new ObjectId(),
  timestamp: new Date(Date.UTC(2025, 5, 1)),
  provider: 'novita',
  model_name: 'm',
  input_tokens: 10,
  output_tokens: 5,
  cost: new Double(0.25),
  currency: 'CNY',
  session_id: 'quarantine',
  analysis_type: 'stock_analysis',
  ...more,
});
const waiting = Array.from({ length: 60 }, (_, i) => usage({ api_key: secret, note: `${marker} ${i}` }));
const doubly = Array.from({ length: 20 }, () => usage({ cost: new Double(-1) }));
const wrapped = Array.from({ length: 650 }, (_, i) => ({
  _id: new ObjectId(),
  title: `news ${i}`,
  publish_time: { at: new Date(Date.UTC(2025, 0, 1 + (i % 300))) },
  ...(i < 7 && { withdrawn: true }),
}));
const undated = Array.from({ length: 5 }, () => ({ _id: new ObjectId(), title: 'undated', publish_time: null }));

/** Documents of token_usage that are written meanwhile. */
let live: { _id: ObjectId }[] = [];
/** Titles are unique: of those that a corrected mapping takes, one comes in, and the others stay for another reason. */
const alike = Array.from({ length: 3 }, () => ({ ...wrapped[100]!, _id: new ObjectId() }));

const json = async <T>(args: string[], more: Record<string, string> = {}): Promise<T> => {
  const { stdout, stderr } = await world.causeway([...args, '--json'], { ...extra(), ...more });
  try {
    return JSON.parse(stdout) as T;
  } catch {
    throw new Error(`no JSON: ${stdout} ${stderr}`);
  }
};
const ledger = async () =>
  new Map(
    (
      await world.rows<{ key: string; version: string }>(
        `select c.source || ' ' || l.source_id as key, l.version || '.' || l.op_index || ' ' || l.state::text || ' ' || l.deleted::text as version
         from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id`,
      )
    ).map((row) => [row.key, row.version]),
  );
const changed = (before: Map<string, string>, after: Map<string, string>) =>
  [...after].filter(([key, its]) => before.get(key) !== its).map(([key]) => key);
const keysOf = (source: string, documents: { _id: ObjectId }[]) =>
  documents.map((one) => `${source} ${String(one._id)}`).sort();
const everythingAccounted = async () => {
  for (const [name, sources] of Object.entries({ ...feeds, stock_news: ['stock_news'] }))
    await accountFor(world, name, sources);
};

beforeAll(async () => {
  world = await World.open('quarantine');
  for (const n of [1, 2]) {
    await mkdir(join(world.home, `mappings-${n}`), { recursive: true });
    await writeFile(join(world.home, `mappings-${n}`, 'index.mts'), mapping(n));
  }
  await writeFile(settings('first'), JSON.stringify({ quarantineBudget: 1 }));
  await writeFile(settings('second'), JSON.stringify({ quarantineBudget: 1, providers: ['novita'] }));
  await world.seed(3000, 0.03);
  await world.source.collection('token_usage').insertMany([...waiting, ...doubly] as never[]);
  await world.source.collection('stock_news').insertMany([...wrapped, ...undated, ...alike] as never[]);
  worker = await world.worker(extra());
  const ran = await world.causeway(['start', '--until', 'data', '--wait', '--config', settings('first')], extra());
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
});
afterAll(() => world.close());

test('errors are listed by fingerprint: rule, path and the type found, with counts and examples', async () => {
  const found = await json<{ rule: string; path: string; type: string; documents: number; examples: string[] }[]>([
    'quarantine',
    'list',
    '--collection',
    'stock_news',
  ]);
  expect(found).toMatchObject([
    { rule: 'publish_time_valid', path: 'publish_time', type: 'object', documents: 653, attempts: 0 },
    { rule: 'publish_time_valid', path: 'publish_time', type: 'null', documents: 5 },
  ]);
  expect(found[1]!.examples.length).toBe(3);
  const ruled = await json<{ collection: string; rule: string }[]>([
    'quarantine',
    'list',
    '--rule',
    'cost_non_negative',
  ]);
  expect(new Set(ruled.map((one) => one.rule))).toEqual(new Set(['cost_non_negative']));
});

test('documents are encrypted at rest: the table holds no plain text; shown, they are decrypted and secrets redacted', async () => {
  const dump = await world.rows<{ row: string }>('select e::text as row from migration_control.migration_errors e');
  expect(dump.length).toBeGreaterThan(700);
  for (const { row } of dump) {
    expect(row).not.toContain(marker);
    expect(row).not.toContain(secret);
    expect(row).toContain('"encrypted": "v1"'.replaceAll('"', '""'));
  }
  const id = String(waiting[0]!._id);
  const shown = await world.causeway(['quarantine', 'show', 'token_usage', id]);
  expect(shown.code, shown.stderr).toBe(0);
  expect(shown.stdout).toContain(marker);
  expect(shown.stdout).toContain('[redacted]');
  expect(shown.stdout).not.toContain(secret);

  const key = world.environment['CAUSEWAY_QUARANTINE_KEY']!;
  const other = randomBytes(32).toString('hex');
  const wrong = await world.causeway(['quarantine', 'show', 'token_usage', id], { CAUSEWAY_QUARANTINE_KEY: other });
  expect(wrong.code).toBe(1);
  expect(wrong.stdout).toMatch(/encrypted with key [0-9a-f]{12}, and CAUSEWAY_QUARANTINE_KEY holds [0-9a-f]{12}\./);
  expect(wrong.stdout + wrong.stderr).not.toContain(other);
  const rotated = await world.causeway(['quarantine', 'show', 'token_usage', id], {
    CAUSEWAY_QUARANTINE_KEY: `${other},${key}`,
  });
  expect(rotated.stdout).toContain(marker);
  const bad = await world.causeway(['quarantine', 'list'], { CAUSEWAY_QUARANTINE_KEY: 'short' });
  expect(bad.code).toBe(2);
  expect(bad.stderr).toContain('openssl rand');

  // A row that was changed, and one whose document was put in another's place, are found out.
  const [one, two] = [id, String(waiting[1]!._id)];
  const before = await world.rows<{ source_id: string; document: { data: string } }>(
    'select source_id, document from migration_control.migration_errors where source_id = any($1)',
    [[one, two]],
  );
  const sealed = (of: string) => before.find((row) => row.source_id === of)!.document;
  const put = (of: string, document: object) =>
    world.rows('update migration_control.migration_errors set document = $2 where source_id = $1', [
      of,
      JSON.stringify(document),
    ]);
  const bytes = Buffer.from(sealed(one).data, 'base64');
  bytes[bytes.length - 1]! ^= 1;
  for (const damaged of [{ ...sealed(one), data: bytes.toString('base64') }, sealed(two)]) {
    await put(one, damaged);
    const tampered = await world.causeway(['quarantine', 'show', 'token_usage', one]);
    expect(tampered.code).toBe(1);
    expect(tampered.stdout).toContain('does not decrypt with its key');
    expect(tampered.stdout).not.toContain(marker);
  }
});

test('a dry run judges and writes nothing', async () => {
  const before = await ledger();
  const errors = await world.rows('select * from migration_control.migration_errors order by id');
  const args = [
    'quarantine',
    'retry',
    '--rule',
    'provider_in_allowed_list',
    '--config',
    settings('second'),
    '--dry-run',
  ];
  const report = await json<RetryReport>(args);
  expect(report).toMatchObject({ dryRun: true, loaded: 60 });
  expect(report.quarantined).toBeGreaterThanOrEqual(20);
  expect(changed(before, await ledger())).toEqual([]);
  expect(await world.rows('select * from migration_control.migration_errors order by id')).toEqual(errors);
  expect(await world.rows('select providers from migration_control.policy')).toEqual([{ providers: [] }]);
});

test('the policy is corrected: exactly the documents concerned are loaded, while others are written; it holds for what comes later', async () => {
  live = (
    await world.source
      .collection('token_usage')
      .find({ provider: 'deepseek', _id: { $type: 'objectId' } } as never, { projection: { _id: 1 } })
      .limit(20)
      .toArray()
  ).map((one) => ({ _id: one._id as ObjectId }));
  const before = await ledger();
  const rule = 'provider_in_allowed_list';
  const [under] = await world.rows<{ n: string }>(
    'select count(*) as n from migration_control.migration_errors where rule = $1 and resolved_at is null',
    [rule],
  );
  let over = false;
  const writing = (async () => {
    for (let n = 0; !over; n++) {
      await world.source
        .collection('token_usage')
        .updateOne({ _id: live[n % live.length]!._id }, { $inc: { output_tokens: 1 } });
      await sleep(10);
    }
  })();
  const report = await json<RetryReport>(['quarantine', 'retry', '--rule', rule, '--config', settings('second')]);
  over = true;
  await writing;
  expect(report).toMatchObject({
    documents: Number(under!.n),
    loaded: 60,
    quarantined: Number(under!.n) - 60,
    gone: 0,
  });

  const expected = [...keysOf('token_usage', waiting), ...keysOf('token_usage', doubly)];
  const touched = changed(before, await ledger()).filter((key) => !keysOf('token_usage', live).includes(key));
  expect(touched.sort()).toEqual(expected.sort());
  const rows = await world.rows(`select 1 from api_usage where source_id = any($1) and provider = 'novita'`, [
    waiting.map((one) => String(one._id)),
  ]);
  expect(rows.length).toBe(60);
  // Those that fail for another reason now stay in their place, with that reason and the attempt.
  const others = await world.rows(
    `select rule, path, bson_type, attempts, resolved_at from migration_control.migration_errors where source_id = any($1)`,
    [doubly.map((one) => String(one._id))],
  );
  expect(others).toEqual(
    Array(20).fill({ rule: 'cost_non_negative', path: 'cost', bson_type: 'double', attempts: 1, resolved_at: null }),
  );
  const [resolved] = await world.rows(
    `select count(*)::int as n from migration_control.migration_errors where resolution = 'loaded' and rule = $1`,
    [rule],
  );
  expect(resolved).toEqual({ n: 60 });

  // A later change of the document meets the same policy in change capture.
  await sleep(2500);
  const id = waiting[0]!._id;
  await world.source.collection('token_usage').updateOne({ _id: id as never }, { $set: { output_tokens: 77 } });
  await expect
    .poll(() => world.rows('select output_tokens from api_usage where source_id = $1', [String(id)]), {
      timeout: 15_000,
    })
    .toEqual([{ output_tokens: '77' }]);
  const explained = await json<Explanation>(['explain', 'token_usage', String(id)]);
  expect([explained.version, ...explained.earlier].map((one) => [one.came, one.state])).toEqual([
    ['change capture', 'loaded'],
    ['quarantine retry', 'loaded'],
    ['copy', 'quarantined'],
  ]);
  expect(explained.quarantine).toMatchObject([{ rule, type: 'string', resolution: 'loaded' }]);
  expect(JSON.stringify(explained)).not.toContain(secret);
  await everythingAccounted();
  // Verification and its repair judge by it as well, though the migration was started with another.
  const verified = await json<Summary>([
    'verify',
    '--collection',
    'token_usage',
    '--repair',
    '--config',
    settings('first'),
  ]);
  expect(verified).toMatchObject({ different: 0, open: 0, repaired: 0 });
});

test('a mapping is corrected: killed in the middle, the retry goes on, and every document is counted once', async () => {
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  version = 2;
  const before = await ledger();
  const doomed = await world.worker({ ...extra(), CAUSEWAY_KILL_AT: 'retry.before-commit:2' });
  const retrying = json<RetryReport>(['quarantine', 'retry', '--collection', 'stock_news']);
  if (doomed.exitCode === null && doomed.signalCode === null) await once(doomed, 'exit');
  const half = await world.rows<{ n: number }>(
    `select count(*)::int as n from migration_control.accounting where collection = 'stock_news' and state = 'quarantined'`,
  );
  expect(half[0]!.n).toBe(458);
  worker = await world.worker({ ...extra(), CAUSEWAY_KILL_AT: 'retry.after-commit:2' });
  await once(worker, 'exit');
  worker = await world.worker(extra());
  expect(await retrying).toMatchObject({ documents: 658, loaded: 643, skipped: 7, quarantined: 8, gone: 0 });

  // The last of the live writes may still have been on their way.
  const touched = changed(before, await ledger()).filter((key) => !keysOf('token_usage', live).includes(key));
  expect(touched.sort()).toEqual(
    [...keysOf('stock_news', wrapped), ...keysOf('stock_news', undated), ...keysOf('stock_news', alike)].sort(),
  );
  expect(await world.rows('select count(*)::int as n from stock_news')).toEqual([{ n: 643 }]);
  expect(
    await world.rows(
      `select resolution, count(*)::int as n from migration_control.migration_errors where collection = 'stock_news' group by 1 order by 1`,
    ),
  ).toEqual([
    { resolution: 'loaded', n: 643 },
    { resolution: 'skipped', n: 7 },
    { resolution: null, n: 8 },
  ]);
  expect(
    await world.rows(
      `select rule, path, attempts from migration_control.migration_errors where collection = 'stock_news' and resolved_at is null and rule <> 'publish_time_valid'`,
    ),
  ).toEqual(Array(3).fill({ rule: 'title_unique', path: 'title', attempts: 1 }));
  // Judged by today's mapping they fail as before: the next retry counts the attempt, and leaves the ledger as it is.
  const settled = await ledger();
  expect(await json<RetryReport>(['quarantine', 'retry', '--collection', 'stock_news'])).toMatchObject({
    documents: 8,
    quarantined: 8,
  });
  expect(changed(settled, await ledger())).toEqual([]);
  expect(
    await world.rows(
      `select distinct attempts, mapping_version from migration_control.migration_errors where collection = 'stock_news' and resolved_at is null`,
    ),
  ).toEqual([{ attempts: 2, mapping_version: 2 }]);
  await everythingAccounted();
});

test('nothing but counts is in the history of a retry', async () => {
  const handle = world.temporal.workflow.getHandle(`migration/${world.name}/quarantine/retry`);
  const history = JSON.stringify(await handle.fetchHistory());
  const hidden = [...wrapped.slice(0, 50), ...undated].map((one) => String(one._id));
  for (const id of hidden) expectNothingOf(history, id);
});

test('everything is tried: unique values stay lost, what the source no longer has is gone, and a new key takes over', async () => {
  const stopped = await world.causeway(['capture', 'stop', '--yes']);
  expect(stopped.code, stopped.stderr).toBe(0);
  await vi.waitFor(
    async () => {
      const { status } = await world.temporal.workflow.getHandle(`migration/${world.name}/capture`).describe();
      expect(status.name).toBe('COMPLETED');
    },
    { timeout: 30_000 },
  );
  await world.source.collection('stock_news').deleteMany({ _id: { $in: undated.map((one) => one._id) } });
  const rotated = `${randomBytes(32).toString('base64')},${world.environment['CAUSEWAY_QUARANTINE_KEY']!}`;
  worker.kill('SIGKILL');
  await once(worker, 'exit');
  worker = await world.worker({ ...extra(), CAUSEWAY_QUARANTINE_KEY: rotated });
  const before = await ledger();
  const report = await json<RetryReport>(['quarantine', 'retry']);
  expect(report).toMatchObject({ loaded: 0, skipped: 0, gone: 5 });
  expect(report.quarantined).toBe(report.documents - 5);
  const lost = await world.rows<{ attempts: number }>(
    `select attempts from migration_control.migration_errors where rule like '%\\_unique' and resolved_at is null and collection <> 'stock_news'`,
  );
  expect(lost.length).toBeGreaterThan(0);
  expect(lost.every((row) => row.attempts === 1)).toBe(true);
  expect(changed(before, await ledger()).sort()).toEqual(keysOf('stock_news', undated));
  const keys = await world.rows(
    `select distinct document ->> 'key' as key from migration_control.migration_errors where resolved_at is null`,
  );
  expect(keys.length).toBe(1);
  const found = await json<{ document: object }[]>(
    ['quarantine', 'show', 'token_usage', '--rule', 'cost_non_negative'],
    {
      CAUSEWAY_QUARANTINE_KEY: rotated.split(',')[0]!,
    },
  );
  expect(found[0]!.document).toHaveProperty('_id');
  await everythingAccounted();
  expect(await checkEqual(world.environment as never)).toEqual([]);
});
