// Figures and verdicts of performance tests: percentiles, ratios, the open load, what is kept of a plan, what no check may do.
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { offer } from '../../activities/performance/load.ts';
import { worstOf } from '../../activities/checks/outcome.ts';
import { MigrationValidationFramework, type CheckResult } from '../../activities/validate.ts';
import { judgeBenchmark, judgeQuery, percentile, ratioOf, summarise } from '../../core/performance.ts';
import { performanceSchema } from '../../core/settings.ts';
import { servesMongo } from '../../stores/mongodb/diagnosis.ts';
import { serves, withoutValues } from '../../stores/postgres/diagnosis.ts';

const settings = performanceSchema.parse({});
const times = fc.array(fc.double({ min: 0.01, max: 1000, noNaN: true }), { minLength: 5, maxLength: 200 });

test('a percentile is a value that was met, and at least its share lies at or below it', () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
      const sorted = Float64Array.from(values).sort();
      const found = percentile(sorted, share);
      expect(values).toContain(found);
      expect(sorted.filter((value) => value <= found).length).toBeGreaterThanOrEqual(share * values.length - 1e-9);
      expect(sorted.filter((value) => value < found).length).toBeLessThan(share * values.length + 1e-9);
    }),
  );
});

test('a ratio lies in its interval, is turned by turning the sides, and grows with what it compares', () => {
  fc.assert(
    fc.property(times, (values) => {
      const twice = values.map((value) => value * 2);
      const { ratio, low, high } = ratioOf(twice, values)!;
      expect(ratio).toBeCloseTo(2, 1);
      expect(low).toBeLessThanOrEqual(ratio + 1e-9);
      expect(high).toBeGreaterThanOrEqual(ratio - 1e-9);
    }),
    { numRuns: 30 },
  );
  expect(ratioOf([1, 2], [1, 2, 3, 4, 5])).toBeUndefined();
  const steady = Array.from({ length: 50 }, (_, i) => 10 + (i % 5));
  expect(ratioOf(steady, steady)).toEqual(ratioOf(steady, steady));
});

describe('a query', () => {
  const measured = (ms: number, more = {}) => ({
    times: Array(20).fill(ms) as number[],
    timeouts: 0,
    errors: 0,
    ...more,
  });
  test('passes in time, and over its time where the old system took as long', () => {
    expect(judgeQuery(measured(40), measured(1), 50, [], 0.25)).toMatchObject({
      status: 'passed',
      against_old: 'slower',
    });
    expect(judgeQuery(measured(80), measured(90), 50, [], 0.25)).toMatchObject({
      status: 'passed',
      against_old: 'no_slower',
    });
    expect(judgeQuery(measured(80), measured(20), 50, [], 0.25)).toMatchObject({
      status: 'failed',
      against_old: 'slower',
    });
    expect(judgeQuery(measured(80), undefined, 50, [], 0.25)).toMatchObject({
      status: 'failed',
      against_old: 'unknown',
    });
  });
  test('fails without an answer, and without its index however fast it is', () => {
    expect(judgeQuery(measured(1, { timeouts: 1 }), measured(1), 50, [], 0.25).status).toBe('failed');
    expect(judgeQuery({ times: [], timeouts: 0, errors: 0 }, measured(1), 50, [], 0.25).status).toBe('failed');
    const causes = [{ kind: 'missing_index', sentence: 'gone' } as const];
    expect(judgeQuery(measured(1), measured(9), 50, causes, 0.25)).toMatchObject({ status: 'failed', why: ['gone'] });
  });
});

test('benchmarks have the strategy’s limits; what is not measured is skipped, never passed', () => {
  expect(judgeBenchmark('query_response_time', settings, 150, '').level).toBe('degraded');
  expect(judgeBenchmark('query_response_time', settings, 150.1, '').status).toBe('failed');
  expect(judgeBenchmark('throughput', settings, 799, '').status).toBe('failed');
  expect(judgeBenchmark('throughput', settings, 1000, '').level).toBe('within_baseline');
  expect(judgeBenchmark('memory_usage', settings, 3073, '').status).toBe('failed');
  expect(judgeBenchmark('cpu_utilization', settings, 80, '').status).toBe('passed');
  expect(judgeBenchmark('cpu_utilization', settings, null, 'why').status).toBe('skipped');
});

test('requests begin on time although earlier ones hang, and each waits from when it was due', async () => {
  let asked = 0;
  // A system that stands still for 300 ms: a closed loop would see one slow request, an open one sees all that were due meanwhile.
  const until = performance.now() + 300;
  const result = await offer(
    { rate: 100, seconds: 0.5, warmUpSeconds: 0, mostOpen: 1000, timeoutMs: 5000 },
    async () => {
      asked++;
      await sleep(Math.max(0, until - performance.now()));
    },
  );
  expect([asked, result.offered, result.answered]).toEqual([50, 50, 50]);
  expect(result.latency!.p50).toBeGreaterThan(25);
  expect(result.latency!.max).toBeGreaterThan(200);
});

test('what is not answered, or given up, counts as the time-out', async () => {
  const never = new Promise<void>((_, reject) => setTimeout(() => reject(new Error('x')), 400));
  never.catch(() => undefined);
  const load = { rate: 200, seconds: 0.2, warmUpSeconds: 0, mostOpen: 10, timeoutMs: 1000 };
  const result = await offer(load, () => never);
  expect(result).toMatchObject({ answered: 0, errors: 10, given_up: 30, throughput: 0 });
  expect(result.latency!.min).toBeGreaterThanOrEqual(1000);
});

test('a plan is kept without the values that were asked for', () => {
  const plan = {
    Filter: `((email = 'a''b@c.de'::text) AND (user_id = 4711))`,
    'Index Name': 'x_1_idx',
    'Actual Rows': 3,
  };
  expect(withoutValues({ Plan: plan })).toEqual({
    Plan: { Filter: '((email = ?::text) AND (user_id = ?))', 'Index Name': 'x_1_idx', 'Actual Rows': 3 },
  });
});

test('an index serves by its first columns, forwards or backwards', () => {
  const index = { table: 't', keys: ['a', 'b desc', 'c'], valid: true };
  expect([['a'], ['a', 'b desc'], ['a desc', 'b']].map((keys) => serves(index, keys))).toEqual([true, true, true]);
  expect([['b desc'], ['a', 'b'], ['a', 'c']].some((keys) => serves(index, keys))).toBe(false);
  expect(servesMongo({ a: 1, b: -1 }, { a: -1, b: 1 })).toBe(true);
  expect(servesMongo({ a: 1, b: -1 }, { a: 1, b: 1 })).toBe(false);
});

describe('the framework', () => {
  const order = { collection: 'x', batchId: 'b', settings: {}, transform: {} } as never;
  const framework = (results: Partial<Record<string, () => Promise<CheckResult>>>) => {
    const made = new MigrationValidationFramework({} as never, order, () => undefined);
    const rules = made.validationRules as Record<string, () => Promise<CheckResult>>;
    for (const check in rules) rules[check] = results[check] ?? (() => Promise.resolve({ status: 'passed' }));
    return made.comprehensiveValidation();
  };
  const answers = (result: CheckResult) => () => Promise.resolve(result);

  test('one that fails or breaks hides no other', async () => {
    const result = await framework({
      count_validation: () => Promise.reject(new Error('secret value')),
      sample_validation: answers({ status: 'failed' }),
    });
    expect(result.overall_status).toBe('failed');
    expect(Object.values(result.individual_results).map((one) => one.status)).toEqual([
      'error',
      'failed',
      'passed',
      'passed',
      'passed',
      'passed',
    ]);
    expect(JSON.stringify(result)).not.toContain('secret');
  });

  test('what applies to every mapping cannot be skipped', async () => {
    const reason = 'does not apply';
    expect((await framework({ referential_integrity: answers({ status: 'skipped', reason }) })).overall_status).toBe(
      'passed',
    );
    for (const check of ['count_validation', 'sample_validation', 'data_type_validation']) {
      const result = await framework({ [check]: answers({ status: 'skipped', reason }) });
      expect([result.overall_status, result.individual_results[check]!.status]).toEqual(['failed', 'error']);
    }
  });

  test('parts: a difference outweighs an error, and nothing looked at is no pass', () => {
    const of = (...statuses: CheckResult['status'][]) => worstOf(statuses.map((status) => ({ status })));
    expect([
      of('passed', 'error', 'failed'),
      of('passed', 'error'),
      of('passed', 'skipped'),
      of('skipped'),
      of(),
    ]).toEqual(['failed', 'error', 'passed', 'skipped', 'skipped']);
  });
});

test('nothing measured is no summary', () => expect(summarise([])).toBeUndefined());
