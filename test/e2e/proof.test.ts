// Each of the six checks fails for a real reason and passes without it; the regression tests say which query regressed, and why.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { electUnique } from '../../activities/elect.ts';
import { sampleEvidence } from '../../activities/evidence.ts';
import { performanceGate } from '../../activities/performance/gate.ts';
import { runPerformanceTests, type PerformanceReport } from '../../activities/performance/tester.ts';
import type { Resources } from '../../activities/resources.ts';
import { validateCollection, type CheckResult } from '../../activities/validate.ts';
import type { CheckName } from '../../core/checks.ts';
import { idFromSourceId } from '../../core/identity.ts';
import { performanceSchema, readSettings, type PerformanceSettings, type Settings } from '../../core/settings.ts';
import { clockOf } from '../../stores/mongodb/changes.ts';
import { isSoak } from '../soak/options.ts';
import { World } from '../support/world.ts';

let world: World;
let resources: Resources;
const { settings } = readSettings({ quarantineBudget: 1 }) as { settings: Settings };
/** The machine tests run on is busy: what is tested is who is named, not how fast the machine is. */
const lenient = performanceSchema.parse({
  query_response_time: { baseline: 4000, threshold: 5000 },
  throughput: { baseline: 5, threshold: 1 },
  cpu_utilization: { baseline: 99, threshold: 100 },
  seconds: 1,
  rate: 10,
  samples: 10,
  timeoutMs: 6000,
});

beforeAll(async () => {
  world = await World.open('proof');
  await world.seed(1500, 0.05);
  await world.worker();
  await writeFile(join(world.home, 'settings.json'), JSON.stringify({ quarantineBudget: 0.9 }));
  const ran = await world.causeway([
    'start',
    '--until',
    'data',
    '--wait',
    '--config',
    join(world.home, 'settings.json'),
  ]);
  expect(ran.code, ran.stdout + ran.stderr).toBe(0);
  resources = await world.resources();
});
afterAll(async () => {
  await resources?.close();
  await world.close();
});

const transform = async () => ({ zone: settings.zone, providers: [], asOf: await clockOf(resources.source.db) });

async function check(
  collection: string,
  name: CheckName,
  performance: PerformanceSettings = lenient,
): Promise<CheckResult> {
  const order = {
    collection,
    batchId: 'test',
    settings: { ...settings, performance },
    transform: await transform(),
    checks: [name],
  };
  const result = await validateCollection(resources, order, () => undefined);
  expect(Object.keys(result.individual_results)).toEqual([name]);
  expect(result.overall_status).toBe(
    ['passed', 'skipped'].includes(result.individual_results[name]!.status) ? 'partial' : 'failed',
  );
  return result.individual_results[name]!;
}

const statusOf = async (...args: Parameters<typeof check>) => (await check(...args)).status;

/** What was done to `table` is undone afterwards. */
async function corrupted<T>(table: string, statements: readonly string[], work: () => Promise<T>): Promise<T> {
  await world.rows(`create table proof_backup as select * from ${table}`);
  try {
    for (const statement of statements) await world.rows(statement);
    return await work();
  } finally {
    await world.rows(`delete from ${table}`);
    await world.rows(`insert into ${table} select * from proof_backup`);
    await world.rows('drop table proof_backup');
  }
}

const someRow = 'source_id = (select min(source_id) from api_usage)';

describe('validation', () => {
  test('all six pass after the copy; what cannot apply says why', async () => {
    const rows = await world.rows<{ collection: string; overall_status: string; results: Record<string, CheckResult> }>(
      'select collection, overall_status, individual_results as results from migration_control.validation_results',
    );
    expect(rows.length).toBe(6);
    for (const { collection, overall_status: overall, results } of rows) {
      expect([collection, overall, Object.keys(results).length]).toEqual([collection, 'passed', 6]);
      for (const [name, result] of Object.entries(results))
        if (result.status === 'skipped')
          expect([name, result.reason]).toEqual([
            expect.stringMatching(/business|referential/),
            expect.stringContaining('declares no'),
          ]);
        else expect([collection, name, result.status]).toEqual([collection, name, 'passed']);
    }
    expect(rows.find((row) => row.collection === 'token_usage')!.results['referential_integrity']!.status).toBe(
      'passed',
    );
  });

  test('count_validation: rows are gone', async () => {
    const result = await corrupted(
      'api_usage',
      ['delete from api_usage where id in (select id from api_usage limit 3)'],
      () => check('token_usage', 'count_validation'),
    );
    expect(result).toMatchObject({ status: 'failed', details: { targets: [{ target: 'api_usage', missing: 3 }] } });
    expect(await statusOf('token_usage', 'count_validation')).toBe('passed');
  });

  test('sample_validation: a digit in a cost', async () => {
    const result = await corrupted('api_usage', ['update api_usage set cost = cost + 0.000000000001'], () =>
      check('token_usage', 'sample_validation'),
    );
    const details = result.details as { sample_details: unknown[]; success_rate: number };
    expect(result.status).toBe('failed');
    expect(details.success_rate).toBeLessThan(0.1);
    expect(details.sample_details.length).toBe(10);
    expect(details.sample_details[0]).toMatchObject({ status: 'different', differs: ['api_usage.cost'] });
    expect(await statusOf('token_usage', 'sample_validation')).toBe('passed');
  });

  test('sample_validation: a document that changes all the time is no difference, and hides none', async () => {
    const [hot, other] = await world.rows<{ id: string; source_id: string }>(
      `select t.id, t.source_id from app_metadata t join migration_control.ledger l using (source_id)
       join migration_control.collections c on c.id = l.collection_id and c.source = 'metadata' and l.state = 'l' order by t.id limit 2`,
    );
    const metadata = world.source.collection('metadata');
    let writing = true;
    let writes = 0;
    const writer = (async () => {
      while (writing) {
        const described = { $set: { description: `for the ${++writes}th time` } };
        await metadata.updateOne({ _id: idFromSourceId(hot!.source_id) as never }, described);
        await sleep(20);
      }
    })();
    try {
      await vi.waitFor(
        async () =>
          expect(
            await world.rows('select 1 from app_metadata where id = $1 and description like $2', [hot!.id, '%th time']),
          ).toHaveLength(1),
        { timeout: 15_000 },
      );
      const quiet = await check('metadata', 'sample_validation');
      expect(quiet).toMatchObject({ status: 'passed', details: { success_rate: 1, sample_details: [] } });
      expect((quiet.details as { still_changing: number }).still_changing).toBeLessThanOrEqual(1);
      await world.rows(`update app_metadata set description = 'corrupted' where id = $1`, [other!.id]);
      expect(await check('metadata', 'sample_validation')).toMatchObject({
        status: 'failed',
        details: { sample_details: [{ record_id: other!.source_id, differs: ['app_metadata.description'] }] },
      });
    } finally {
      writing = false;
      await writer;
    }
    const { description } = (await metadata.findOne({ _id: idFromSourceId(other!.source_id) as never }))!;
    await world.rows('update app_metadata set description = $2 where id = $1', [other!.id, description ?? null]);
    expect(await statusOf('metadata', 'sample_validation')).toBe('passed');
  });

  test('sample_validation: who holds a unique value is what the ledger says, whoever had lost when it was settled', async () => {
    const [holder, taker] = await world.rows<{ source_id: string; key: string }>(
      `select t.source_id, t.key from app_metadata t join migration_control.ledger l using (source_id)
       join migration_control.collections c on c.id = l.collection_id and c.source = 'metadata' and l.state = 'l' order by t.id desc limit 2`,
    );
    const metadata = world.source.collection('metadata');
    const written = { _id: idFromSourceId(taker!.source_id) as never };
    const before = (await metadata.findOne(written))!;
    const state = () =>
      world.rows('select state, rule from migration_control.ledger where source_id = $1', [taker!.source_id]);
    await metadata.updateOne(written, { $set: { key: holder!.key, updated_at: new Date() } });
    await expect.poll(state, { timeout: 30_000 }).toEqual([{ state: 'q', rule: 'key_unique' }]);
    // As a data phase does that is tried again: for it the newer document has won, and the one that stands in the table has lost.
    const ids = await world.rows<{ source: string; id: number }>(
      `select source, id from migration_control.collections where mapping = 'metadata'`,
    );
    const sources = new Map(ids.map(({ source, id }) => [source, id]));
    await electUnique(resources, 'metadata', sources, await transform(), () => undefined);
    const lost = await world.rows<{ source_id: string }>('select source_id from migration_control.elections');
    expect(lost).toContainEqual({ source_id: holder!.source_id });
    expect(lost).not.toContainEqual({ source_id: taker!.source_id });
    expect(await check('metadata', 'sample_validation')).toMatchObject({
      status: 'passed',
      details: { sample_details: [] },
    });
    await metadata.replaceOne(written, before);
    await expect.poll(state, { timeout: 30_000 }).toEqual([{ state: 'l', rule: null }]);
    expect(await statusOf('metadata', 'sample_validation')).toBe('passed');
  });

  // In `npm run soak -- proof`.
  if (isSoak)
    test('what changes all the time is no difference to sample, evidence or verification, and hides none', async () => {
      const loaded = (source: string, limit: number) =>
        world.rows<{ source_id: string }>(
          `select l.source_id from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id
         where c.source = $1 and l.state = 'l' and not l.deleted order by 1 limit $2`,
          [source, limit],
        );
      const reports = await loaded('analysis_results', 24);
      const people = await loaded('users', 25);
      const quiet = people.pop()!.source_id;
      expect([reports.length, people.length]).toEqual([24, 24]);
      // Commits of a machine with a slow disk: for so long the target MongoDB shows what the ledger does not.
      await world.rows(
        `create function slow_commit() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$`,
      );
      await world.rows(
        `create constraint trigger slow_commit after update on migration_control.capture_position
       deferrable initially deferred for each row execute function slow_commit()`,
      );
      const change = (source: string, { source_id }: { source_id: string }, fields: Record<string, string>) =>
        world.source.collection(source).updateOne({ _id: idFromSourceId(source_id) as never }, { $set: fields });
      let writing = true;
      const writer = (async () => {
        for (let n = 0; writing; n++) {
          await change('analysis_results', reports[n % reports.length]!, { status: `looked at ${n} times` });
          await change('users', people[n % people.length]!, { full_name: `name ${n}` });
          await sleep(5);
        }
      })();
      const evidence = async () => {
        const { collections } = await sampleEvidence(
          resources,
          {
            collections: ['analysis_results', 'subscription_users'],
            windowSeconds: 10,
            settings: { zone: settings.zone, providers: [] },
            keysPerCollection: 1000,
          },
          () => undefined,
        );
        return Object.values(collections).map(({ validation: { failed, missing, corrupted, unchecked } }) => ({
          failed,
          missing,
          corrupted,
          unchecked,
        }));
      };
      const well = { failed: 0, missing: 0, corrupted: 0 };
      try {
        expect(await check('analysis_results', 'sample_validation')).toMatchObject({ status: 'passed' });
        expect(await evidence()).toEqual([well, well]);
        const verified = await world.causeway(['verify', '--collection', 'analysis_results', '--json']);
        expect(JSON.parse(verified.stdout)).toMatchObject({ different: 0 });
        await world.rows(`update users set full_name = 'corrupted' where source_id = $1`, [quiet]);
        expect(await evidence()).toEqual([well, { ...well, failed: 1, corrupted: 1 }]);
      } finally {
        writing = false;
        await writer;
        await world.rows('drop function slow_commit cascade');
      }
      await change('users', { source_id: quiet }, { full_name: 'well again' });
      expect(await statusOf('analysis_results', 'sample_validation')).toBe('passed');
      expect(await statusOf('subscription_users', 'sample_validation')).toBe('passed');
    });

  test('business_rule_validation: a rule broken by SQL, and a sum of one group', async () => {
    const broken = await corrupted('api_usage', [`update api_usage set cost = -1 where ${someRow}`], () =>
      check('token_usage', 'business_rule_validation'),
    );
    expect(broken.status).toBe('failed');
    expect(broken.details).toMatchObject({
      rules: expect.arrayContaining([{ rule: 'cost_non_negative', status: 'failed', violations: 1 }]) as unknown,
      invariants: [{ status: 'failed', differing: 1 }],
    });
    const shifted = await corrupted(
      'api_usage',
      [`update api_usage set input_tokens = input_tokens + 1 where ${someRow}`],
      () => check('token_usage', 'business_rule_validation'),
    );
    expect(shifted).toMatchObject({ status: 'failed', details: { invariants: [{ status: 'failed', differing: 1 }] } });
    const moved = await corrupted(
      'api_usage',
      [`update api_usage set "timestamp" = "timestamp" + interval '1 day' where ${someRow}`],
      () => check('token_usage', 'business_rule_validation'),
    );
    expect(moved).toMatchObject({ status: 'failed', details: { invariants: [{ status: 'failed' }] } });
  });

  test('business_rule_validation passes while the application writes', async () => {
    const usage = world.source.collection('token_usage');
    let writing = true;
    let writes = 0;
    const writer = (async () => {
      while (writing) {
        const [one] = await usage.aggregate([{ $sample: { size: 1 } }]).toArray();
        await usage.updateOne({ _id: one!['_id'] as never, input_tokens: { $gte: 0 } }, { $inc: { input_tokens: 1 } });
        writes++;
      }
    })();
    const result = await check('token_usage', 'business_rule_validation').finally(() => (writing = false));
    await writer;
    expect(await statusOf('token_usage', 'business_rule_validation')).toBe('passed');
    expect(writes).toBeGreaterThan(5);
    expect(result).toMatchObject({
      status: 'passed',
      details: { invariants: [{ differing: 0, asOf: expect.any(String) as string }] },
    });
  });

  test('referential_integrity: a constraint dropped, a reference left dangling', async () => {
    const result = await corrupted(
      'api_usage',
      [
        'alter table api_usage drop constraint api_usage_user_id_fkey',
        `update api_usage set user_id = 999999999 where ${someRow}`,
      ],
      () => check('token_usage', 'referential_integrity'),
    );
    expect(result).toMatchObject({ status: 'failed', details: [{ dangling: 1, constraint: 'missing' }] });
    expect(await statusOf('token_usage', 'referential_integrity')).toBe('failed');
    await world.rows(
      'alter table api_usage add constraint api_usage_user_id_fkey foreign key (user_id) references users (id) on delete set null',
    );
    expect(await statusOf('token_usage', 'referential_integrity')).toBe('passed');
    // The application's own is none of ours; one that carries our mark is.
    await world.redis.set('session:own', '{"session_id":"own"}', 'EX', 1000);
    await world.redis.set('session:nobody', '{"session_id":"nobody","_causeway":{"s":"nobody"}}', 'EX', 1000);
    expect(await statusOf('sessions', 'referential_integrity')).toBe('failed');
    await world.redis.del('session:nobody');
    expect(await statusOf('sessions', 'referential_integrity')).toBe('passed');
    await world.redis.del('session:own');
  });

  test.each([
    [
      'token_usage',
      'api_usage',
      `update api_usage set metadata = to_jsonb(metadata::text) where metadata is not null`,
      'api_usage.metadata is no object',
    ],
    ['token_usage', 'api_usage', `update api_usage set cost = 'NaN' where ${someRow}`, 'api_usage.cost is not finite'],
    [
      'token_usage',
      'api_usage',
      `update api_usage set "timestamp" = 'infinity' where ${someRow}`,
      'api_usage.timestamp is not finite',
    ],
    [
      'stock_daily_quotes',
      'market_data',
      `update market_data set pe = 'Infinity' where id = (select min(id) from market_data)`,
      'market_data.pe is not finite',
    ],
  ])('data_type_validation: %s, %s: %s', async (collection, table, statement, what) => {
    const result = await corrupted(table, [statement], () => check(collection, 'data_type_validation'));
    expect(result).toMatchObject({
      status: 'failed',
      details: [{ violations: expect.arrayContaining([expect.objectContaining({ what })]) as unknown }],
    });
    expect(await statusOf(collection, 'data_type_validation')).toBe('passed');
  });

  test('data_type_validation: a column of another type, a key that never expires; other checks say what they can', async () => {
    await world.rows('alter table app_metadata rename column category to kind');
    const order = {
      collection: 'metadata',
      batchId: 'test',
      settings: { ...settings, performance: lenient },
      transform: await transform(),
    };
    const whole = await validateCollection(resources, order, () => undefined);
    await world.rows('alter table app_metadata rename column kind to category');
    const statuses = Object.fromEntries(
      Object.entries(whole.individual_results).map(([name, one]) => [name, one.status]),
    );
    expect([whole.overall_status, statuses]).toMatchObject([
      'failed',
      {
        count_validation: 'passed',
        sample_validation: 'error',
        business_rule_validation: 'passed',
        data_type_validation: 'failed',
        performance_validation: 'failed',
      },
    ]);
    await world.redis.set('session:for-ever', '{"session_id":"x","_causeway":{"s":"x"}}');
    expect(await statusOf('sessions', 'data_type_validation')).toBe('failed');
    await world.redis.del('session:for-ever');
    expect(await statusOf('sessions', 'data_type_validation')).toBe('passed');
  });

  test('performance_validation: an index dropped', async () => {
    // The index belongs to a constraint, for the application names it in ON CONFLICT: it goes and comes with that.
    const [constraint] = await world.rows<{ name: string }>(
      `select quote_ident(conname) as name from pg_constraint where conrelid = 'users'::regclass and pg_get_constraintdef(oid) = 'UNIQUE (username)'`,
    );
    await world.rows(`alter table users drop constraint ${constraint!.name}`);
    const result = await check('subscription_users', 'performance_validation');
    await world.rows(`alter table users add constraint ${constraint!.name} unique (username)`);
    expect(result).toMatchObject({ status: 'failed', details: { indexes: { missing: ['users (username)'] } } });
    expect(await statusOf('subscription_users', 'performance_validation')).toBe('passed');
  });

  test('the command runs the checks it is asked for', async () => {
    const [ran, refused] = await Promise.all([
      world.causeway(['validate', '--collection', 'metadata', '--check', 'data_type_validation', '--json']),
      world.causeway(['validate', '--check', 'no_such_check']),
    ]);
    expect(ran.code, ran.stderr).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject([
      {
        collection: 'metadata',
        overall_status: 'partial',
        individual_results: { data_type_validation: { status: 'passed' } },
      },
    ]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('count_validation')]);
  });
});

describe('performance', () => {
  const run = async (collections: string[], more: Partial<PerformanceSettings> = {}) =>
    runPerformanceTests(
      resources,
      { collections, settings: { ...lenient, ...more }, transform: await transform() },
      () => undefined,
    );
  const why = (report: PerformanceReport, what: string) =>
    report.regressions.filter((one) => one.what === what).flatMap((one) => one.why);
  const gate = (maxAgeSeconds: number) => performanceGate(resources, { maxAgeSeconds, accept: 'thresholds' });

  test('without a regression it passes, measures both systems, and opens the gate for a time', async () => {
    expect(await gate(60)).toMatchObject({ passed: false, reasons: [expect.stringContaining('not been measured')] });
    const report = await run([
      'token_usage',
      'sessions',
      'stock_daily_quotes',
      'analysis_results',
      'subscription_users',
    ]);
    expect(report.regressions).toEqual([]);
    expect(report.overall_status).toBe('passed');
    const queries = report.test_results.query_performance;
    expect(queries.map((one) => one.query)).toEqual(
      expect.arrayContaining(['recent_market_data', 'user_analysis_history', 'session_cost']),
    );
    expect(queries.every((one) => one.old!.count > 4 && one.new!.count > 4 && one.ratio !== null)).toBe(true);
    expect(queries.find((one) => one.query === 'recent_market_data')).toMatchObject({ expected_time_ms: 50 });
    expect(report.test_results.api_performance.every((one) => one.reads.old > 0 && one.reads.new === 0)).toBe(true);
    expect(report.benchmarks.memory_usage.measured).toBeGreaterThan(20);
    expect(report.test_results.resource_usage.parts.map((part) => part.part)).toContain('PostgreSQL');
    expect(await gate(60)).toMatchObject({ passed: true, resultId: report.id });
    expect(await gate(0.001)).toMatchObject({ passed: false, reasons: [expect.stringContaining('are allowed')] });
    const [stored] = await world.rows<{ text: string }>(
      'select r::text as text from migration_control.performance_results r',
    );
    const people = await world.rows<{ email: string; source_id: string }>('select email, source_id from users');
    expect(people.filter((one) => stored!.text.includes(one.email) || stored!.text.includes(one.source_id))).toEqual(
      [],
    );
  });

  test('a dropped index: which query, which index, and that the plan reads everything', async () => {
    const [index] = await world.rows<{ name: string }>(
      `select indexrelid::regclass::text as name from pg_index where indrelid = 'api_usage'::regclass and pg_get_indexdef(indexrelid) like '%btree (session_id)'`,
    );
    await world.rows(`drop index ${index!.name}`);
    const reports = world.target.collection('analysis_results_optimized');
    await reports.dropIndex('user_id_1_created_at_-1');
    const report = await run(['token_usage', 'analysis_results']);
    await world.rows('create index on api_usage (session_id)');
    await reports.createIndex({ user_id: 1, created_at: -1 });
    expect(report.overall_status).toBe('failed');
    const lost = report.regressions.filter((one) => one.why.some((sentence) => /no index|is missing/.test(sentence)));
    expect(lost.map((one) => one.what).sort()).toEqual(['indexes', 'indexes', 'session_cost', 'user_analysis_history']);
    expect(why(report, 'session_cost')[0]).toMatch(
      /api_usage has no index on \(session_id\).*reads api_usage\w* sequentially/,
    );
    expect(why(report, 'user_analysis_history')[0]).toMatch(/no index .*COLLSCAN of \d+ documents/);
    const [kept] = await world.rows<{ plans: { query: string; side: string }[] }>(
      'select plans from migration_control.performance_results order by id desc limit 1',
    );
    expect(kept!.plans.map((one) => `${one.query} ${one.side}`)).toEqual(
      expect.arrayContaining(['session_cost new', 'session_cost old']),
    );
    expect(await gate(60)).toMatchObject({
      passed: false,
      reasons: expect.arrayContaining([expect.stringContaining('session_cost')]) as unknown,
    });
  });

  test('a lock held: which query waits for whom, since when', async () => {
    const holder = new pg.Client({
      connectionString: world.environment['TARGET_POSTGRES_URL']!,
      application_name: 'nightly job',
    });
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('lock table users in access exclusive mode');
      const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid');
      const named = new RegExp(
        `waits for AccessShareLock on users, because process ${rows[0]!.pid} \\(nightly job, idle in transaction\\) holds AccessExclusiveLock on users since 20`,
      );
      const [report, checked] = await Promise.all([
        run(['subscription_users'], { timeoutMs: 1500 }),
        check('subscription_users', 'performance_validation', { ...lenient, timeoutMs: 1500 }),
      ]);
      expect(why(report, 'user_by_name')[0]).toMatch(named);
      expect(report.overall_status).toBe('failed');
      expect(checked.status).toBe('failed');
      expect(JSON.stringify(checked.details)).toMatch(/AccessExclusiveLock/);
    } finally {
      await holder.end();
    }
  });

  test('the command prints the same as JSON, its exit code the verdict', async () => {
    const ran = await world.causeway(['perf', '--seconds', '0.5', '--rate', '5', '--collection', 'metadata', '--json']);
    const report = JSON.parse(ran.stdout) as PerformanceReport;
    expect(ran.code).toBe(report.overall_status === 'passed' ? 0 : 1);
    expect(Object.keys(report.benchmarks)).toEqual([
      'query_response_time',
      'throughput',
      'memory_usage',
      'cpu_utilization',
    ]);
    expect(report.benchmarks.throughput.status).toBe('skipped');
  });
});
