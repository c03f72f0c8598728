// causeway perf: the performance regression tests, old and new system side by side.
import { Command } from 'commander';
import { openResources } from '../../activities/resources.ts';
import { runPerformanceTests, type PerformanceReport } from '../../activities/performance/tester.ts';
import { makeControlSchema } from '../../control/schema.ts';
import { performanceSchema } from '../../core/settings.ts';
import { clockOf } from '../../stores/mongodb/changes.ts';
import { query } from '../../stores/postgres/connection.ts';
import { checkName, home, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { configOption, settingsAnyhow } from '../migration-settings.ts';
import { print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly seconds?: string;
  readonly rate?: string;
  readonly collection?: string;
  readonly config?: string;
}

export const perf = (): Command =>
  common(
    new Command('perf').description(
      "the strategy's benchmarks: queries on both systems, reads through the router, an open load; exit code 1 when one regresses",
    ),
  )
    .option('--seconds <n>', 'length of the load test, each system')
    .option('--rate <r>', 'reads offered by the load test, per second')
    .option('--collection <name>', 'only queries of this collection')
    .option(...configOption)
    .action((options: Options) => run(options));

async function run(options: Options): Promise<void> {
  const name = checkName(options.migration);
  const { performance, zone, providers } = await settingsAnyhow(name, options.config);
  const given = performanceSchema.safeParse({
    ...performance,
    ...(options.seconds !== undefined && { seconds: Number(options.seconds) }),
    ...(options.rate !== undefined && { rate: Number(options.rate) }),
  });
  if (!given.success) throw new UsageError(`--seconds and --rate take numbers above 0.`);
  const resources = await openResources((await readAddresses()).addresses, home(), { host: '', process: '' });
  try {
    // Also brings the tables up to date where an earlier version made them; refuses a database of another migration.
    const collections = await migrated(resources, name);
    if (options.collection !== undefined && !collections.includes(options.collection))
      throw new UsageError(
        `The migration ${name} has no collection ${options.collection}. It has: ${collections.join(', ') || 'none yet'}.`,
      );
    const order = {
      collections: options.collection === undefined ? collections : [options.collection],
      settings: given.data,
      transform: { zone, providers, asOf: await clockOf(resources.source.db) },
    };
    const report = await runPerformanceTests(resources, order, () => undefined);
    if (report.overall_status !== 'passed') process.exitCode = 1;
    if (options.json) printJson(report);
    else show(report);
  } finally {
    await resources.close();
  }
}

async function migrated(resources: Awaited<ReturnType<typeof openResources>>, name: string): Promise<string[]> {
  const [there] = await query<{ there: boolean }>(
    resources.postgres,
    'looking for the migration',
    `select to_regclass('migration_control.collections') is not null as there`,
  );
  if (!there!.there) throw new UsageError('Nothing has been migrated to this database yet; `causeway start` begins.');
  await makeControlSchema(resources.postgres, name);
  const rows = await query<{ mapping: string }>(
    resources.postgres,
    'reading collections',
    'select distinct mapping from migration_control.collections order by 1',
  );
  return rows.map((row) => row.mapping);
}

const ms = (value: number | null | undefined): string =>
  value === null || value === undefined ? '' : value.toFixed(1);

function show({
  test_results: tests,
  benchmarks,
  regressions,
  not_asked: silent,
  overall_status: overall,
}: PerformanceReport) {
  print(
    table(
      ['query', 'old p50', 'p95', 'new p50', 'p95, ms', 'expected', 'old/new', '95 % sure', 'result'],
      tests.query_performance.map((one) => [
        one.query,
        ms(one.old?.p50),
        ms(one.old?.p95),
        ms(one.new?.p50),
        ms(one.new?.p95),
        ms(one.expected_time_ms),
        one.ratio ? one.ratio.ratio.toFixed(2) : '',
        one.ratio ? `${one.ratio.low.toFixed(2)} to ${one.ratio.high.toFixed(2)}` : '',
        one.status === 'passed' && one.why.length > 0 ? 'passed, slow as before' : one.status,
      ]),
    ),
  );
  print(
    table(
      ['through the router', 'to old', 'to new', 'p50', 'p99, ms', 'result'],
      tests.api_performance.map((one) => [
        one.endpoint,
        one.reads.old,
        one.reads.new,
        ms(one.latency?.p50),
        ms(one.latency?.p99),
        one.status,
      ]),
    ),
  );
  const { old, new: fresh } = tests.load_testing;
  print(
    table(
      [`load, ${fresh.rate} req/s`, 'answered/s', 'p50', 'p95', 'p99, ms', 'not answered', 'begun late, p99 ms'],
      [['old', old] as const, ['new', fresh] as const].map(([side, its]) => [
        side,
        its.throughput,
        ms(its.latency?.p50),
        ms(its.latency?.p95),
        ms(its.latency?.p99),
        its.timeouts + its.errors + its.given_up,
        ms(its.begun_late?.p99),
      ]),
    ),
  );
  print(
    table(
      ['resources', 'MB', 'CPU, % of host', 'by'],
      tests.resource_usage.parts.map((part) => [part.part, ms(part.memoryMb), ms(part.cpuPercent), part.by]),
    ),
  );
  print(
    table(
      ['benchmark', 'baseline', 'threshold', 'measured', 'old', '', 'result'],
      Object.entries(benchmarks).map(([name, one]) => [
        name,
        one.baseline,
        one.threshold,
        one.measured === null ? '' : String(one.measured),
        one.old === null ? '' : String(one.old),
        one.unit,
        one.status === 'skipped' ? `skipped: ${one.of}` : one.level.replace('_', ' '),
      ]),
    ),
  );
  if (silent.length > 0) print(`No sampled document asks: ${silent.join(', ')}.`);
  print(overall === 'passed' ? '\nNothing regressed.' : '\nRegressed:');
  for (const { what, collection, why } of regressions)
    for (const sentence of why) print(`- ${what}${collection ? ` (${collection})` : ''}: ${sentence}`);
}
