// The strategy's regression tester: queries on both systems, reads through the router, resource use and an open load; stored, and judged.
import {
  benchmarkNames,
  judgeBenchmark,
  summarise,
  type Benchmark,
  type BenchmarkName,
  type Cause,
  type Latencies,
} from '../../core/performance.ts';
import type { PerformanceSettings } from '../../core/settings.ts';
import type { TransformSettings } from '../../mappings/settings.ts';
import { query } from '../../stores/postgres/connection.ts';
import { Router, type Side } from '../../traffic/router.ts';
import { mappingOf, type Resources } from '../resources.ts';
import { Asker } from './ask.ts';
import { lostIndexes, type KeptPlan } from './diagnose.ts';
import { offer, type LoadResult } from './load.ts';
import { probesOf, type Asked, type Probe } from './probes.ts';
import { testQuery, type QueryResult } from './query-test.ts';
import { usageDuring, type Usage } from './usage.ts';

export interface PerformanceOrder {
  /** Mapping names. */
  readonly collections: readonly string[];
  readonly settings: PerformanceSettings;
  readonly transform: TransformSettings;
}

/** A query's reads as the router decides them. */
export interface EndpointResult {
  readonly endpoint: string;
  readonly reads: { readonly old: number; readonly new: number };
  readonly failed: number;
  /** Decision and answer, ms. */
  readonly latency: Latencies | null;
  readonly status: 'passed' | 'failed';
}

export interface LoadComparison {
  readonly old: LoadResult;
  readonly new: LoadResult;
  /** Throughput of the new system over the old one's at the same offered rate. */
  readonly throughput_ratio: number | null;
}

export interface TestResults {
  readonly query_performance: readonly QueryResult[];
  readonly api_performance: readonly EndpointResult[];
  readonly resource_usage: Usage;
  readonly load_testing: LoadComparison;
}

export interface Regression {
  /** A query, a benchmark or `indexes`. */
  readonly what: string;
  readonly collection: string | null;
  readonly why: readonly string[];
  readonly causes: readonly Cause[];
}

export interface PerformanceReport {
  readonly id: number;
  readonly overall_status: 'passed' | 'failed';
  readonly against_old: 'no_slower' | 'slower' | 'unknown';
  readonly benchmarks: Readonly<Record<BenchmarkName, Benchmark>>;
  readonly test_results: TestResults;
  readonly regressions: readonly Regression[];
  /** Queries no sampled document asks. */
  readonly not_asked: readonly string[];
  readonly timestamp: string;
  readonly took_ms: number;
}

const warmUpSeconds = 1;

export class PerformanceRegressionTester {
  readonly #resources: Resources;
  readonly #order: PerformanceOrder;
  readonly #heartbeat: () => void;
  readonly #asker: Asker;
  #probes: Probe[] = [];
  #plans: KeptPlan[] = [];

  constructor(resources: Resources, order: PerformanceOrder, heartbeat: () => void) {
    this.#resources = resources;
    this.#order = order;
    this.#heartbeat = heartbeat;
    this.#asker = new Asker(resources, order.settings.connections, order.settings.timeoutMs);
  }

  /** Measures, judges and stores. A time-out or a regression is a result; only a store that cannot be reached throws. */
  async runPerformanceRegressionTests(): Promise<PerformanceReport> {
    const started = performance.now();
    try {
      for (const collection of this.#order.collections) {
        const mapping = mappingOf(this.#resources, collection);
        this.#probes.push(
          ...(await probesOf(this.#resources, mapping, this.#order.settings.samples, this.#order.transform)),
        );
        this.#heartbeat();
      }
      const query_performance = await this.testQueryPerformance();
      const api_performance = await this.testApiPerformance();
      const { resource_usage, load_testing } = await this.testResourceUsage(() => this.testLoadPerformance());
      const results = { query_performance, api_performance, resource_usage, load_testing };
      return await this.#store(await this.analyzePerformanceResults(results), performance.now() - started);
    } finally {
      await this.#asker.close();
    }
  }

  get #asked(): Probe[] {
    return this.#probes.filter((probe) => probe.questions.length > 0);
  }

  /** Each query by itself, both systems in turn, within about `seconds` altogether. */
  async testQueryPerformance(): Promise<QueryResult[]> {
    const { seconds, samples } = this.#order.settings;
    const budgetMs = Math.max(200, (seconds * 1000) / Math.max(1, this.#asked.length));
    const results: QueryResult[] = [];
    for (const probe of this.#asked) {
      this.#heartbeat();
      const effort = { most: samples, fewest: 10, warmUp: 3, budgetMs };
      const { result, plans } = await testQuery(this.#asker, probe, effort, this.#order.settings);
      results.push(result);
      this.#plans.push(...plans);
    }
    return results;
  }

  /** Reads as the application makes them: the router decides for the user, then the question is put to that side. */
  async testApiPerformance(): Promise<EndpointResult[]> {
    const { seconds, query_response_time: limit } = this.#order.settings;
    const budgetMs = Math.max(100, (seconds * 500) / Math.max(1, this.#asked.length));
    const router = await Router.open({ postgres: this.#resources.addresses.postgres });
    try {
      const results: EndpointResult[] = [];
      for (const { query: its, mapping, questions } of this.#asked) {
        this.#heartbeat();
        const times: number[] = [];
        const reads: Record<Side, number> = { old: 0, new: 0 };
        let failed = 0;
        const ends = performance.now() + budgetMs;
        for (let i = 0; i < 200 && failed < 2 && (i < 5 || performance.now() < ends); i++) {
          const asked = questions[i % questions.length]!;
          const started = performance.now();
          const side = router.sideOfRead(mapping.collection, asked.user);
          reads[side]++;
          try {
            await this.#asker.ask(side, asked);
            times.push(performance.now() - started);
          } catch {
            // Why is found out where the query is measured by itself.
            failed++;
          }
        }
        const latency = summarise(times) ?? null;
        const good = failed === 0 && latency !== null && latency.p50 <= Math.max(limit.threshold, its.expectedMs ?? 0);
        results.push({ endpoint: its.name, reads, failed, latency, status: good ? 'passed' : 'failed' });
      }
      return results;
    } finally {
      await router.close();
    }
  }

  /** What workers and servers of the new system use while `load` runs. */
  async testResourceUsage(
    load: () => Promise<LoadComparison>,
  ): Promise<{ resource_usage: Usage; load_testing: LoadComparison }> {
    const { result, usage } = await usageDuring(this.#resources, load);
    return { resource_usage: usage, load_testing: result };
  }

  /** The same requests at the same rate to the old system, then to the new one. */
  async testLoadPerformance(): Promise<LoadComparison> {
    const old = await this.#offerTo('old');
    const fresh = await this.#offerTo('new');
    return {
      old,
      new: fresh,
      throughput_ratio: old.throughput === 0 ? null : Math.round((fresh.throughput / old.throughput) * 1000) / 1000,
    };
  }

  async #offerTo(side: Side): Promise<LoadResult> {
    const { rate, seconds, timeoutMs, connections } = this.#order.settings;
    const next = mixOf(this.#asked);
    this.#heartbeat();
    const load = { rate, seconds, warmUpSeconds, timeoutMs, mostOpen: Math.max(connections * 4, Math.ceil(rate * 2)) };
    const nothing = this.#asked.length === 0;
    return offer(nothing ? { ...load, seconds: 0.1, warmUpSeconds: 0 } : load, () =>
      nothing ? Promise.resolve() : this.#asker.ask(side, next()),
    );
  }

  async analyzePerformanceResults(results: TestResults): Promise<Omit<PerformanceReport, 'id' | 'took_ms'>> {
    const { settings, collections } = this.#order;
    const { load_testing: load, resource_usage: usage, query_performance: queries } = results;
    const nothing = this.#asked.length === 0;
    // Less offered than is to be reached: that says nothing about what can be reached.
    const keptUpWithLittle =
      settings.rate < settings.throughput.threshold && load.new.throughput >= Math.floor(settings.rate);
    const measured: Record<BenchmarkName, readonly [number | null, string, (number | null)?]> = {
      query_response_time: [
        nothing ? null : (load.new.latency?.p95 ?? null),
        `95th percentile of ${load.new.offered} reads offered at ${load.new.rate} req/s, from their intended start`,
        load.old.latency?.p95 ?? null,
      ],
      throughput: keptUpWithLittle
        ? [null, `it kept up with the ${settings.rate} req/s offered; raise the rate to measure more`]
        : [
            nothing ? null : load.new.throughput,
            `reads answered of ${load.new.rate} req/s offered for ${load.new.seconds} s`,
            load.old.throughput,
          ],
      memory_usage: [usage.memoryMb, usage.of],
      cpu_utilization: [usage.cpuPercent, usage.of],
    };
    const benchmarks = Object.fromEntries(
      benchmarkNames.map((name) => {
        const [value, of, old] = measured[name];
        return [name, judgeBenchmark(name, settings, value, of, old ?? null)];
      }),
    ) as Record<BenchmarkName, Benchmark>;
    const regressions: Regression[] = queries
      .filter((one) => one.status === 'failed')
      .map(({ query: what, collection, why, causes }) => ({ what, collection, why, causes }));
    for (const [what, { status, measured: value, unit, threshold, of }] of Object.entries(benchmarks))
      if (status === 'failed')
        regressions.push({
          what,
          collection: null,
          why: [`${value} ${unit}, ${threshold} allowed (${of})`],
          causes: [],
        });
    for (const collection of collections) {
      const { lost } = await lostIndexes(this.#asker, mappingOf(this.#resources, collection));
      if (lost.length > 0)
        regressions.push({ what: 'indexes', collection, why: lost.map((index) => `${index} is missing`), causes: [] });
    }
    const compared = queries.filter((one) => one.against_old !== 'unknown');
    return {
      overall_status: regressions.length === 0 && !nothing ? 'passed' : 'failed',
      against_old:
        compared.length === 0
          ? 'unknown'
          : compared.some((one) => one.against_old === 'slower')
            ? 'slower'
            : 'no_slower',
      benchmarks,
      test_results: results,
      regressions,
      not_asked: this.#probes.filter((probe) => probe.questions.length === 0).map((probe) => probe.query.name),
      timestamp: new Date().toISOString(),
    };
  }

  async #store(report: Omit<PerformanceReport, 'id' | 'took_ms'>, tookMs: number): Promise<PerformanceReport> {
    const took_ms = Math.round(tookMs);
    const [row] = await query<{ id: string }>(
      this.#resources.postgres,
      'storing performance results',
      `insert into migration_control.performance_results (overall_status, against_old, benchmarks, results, regressions, plans, settings, "timestamp", took_ms)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id`,
      [
        report.overall_status,
        report.against_old,
        JSON.stringify(report.benchmarks),
        JSON.stringify(report.test_results),
        JSON.stringify(report.regressions),
        JSON.stringify(this.#plans),
        JSON.stringify(this.#order.settings),
        report.timestamp,
        took_ms,
      ],
    );
    return { id: Number(row!.id), ...report, took_ms };
  }
}

/** Requests of a load, one after another: queries as often as their weight says, spread evenly, each time another of their questions. */
function mixOf(probes: readonly Probe[]): () => Asked {
  const total = probes.reduce((sum, { query: its }) => sum + (its.weight ?? 1), 0);
  const due = probes.map(() => 0);
  const asked = probes.map(() => 0);
  return () => {
    // The query that lags furthest behind its share comes next.
    let at = 0;
    for (let j = 0; j < probes.length; j++) {
      due[j]! += (probes[j]!.query.weight ?? 1) / total;
      if (due[j]! > due[at]!) at = j;
    }
    due[at]! -= 1;
    const { questions } = probes[at]!;
    return questions[asked[at]!++ % questions.length]!;
  };
}

export const runPerformanceTests = (
  resources: Resources,
  order: PerformanceOrder,
  heartbeat: () => void,
): Promise<PerformanceReport> =>
  new PerformanceRegressionTester(resources, order, heartbeat).runPerformanceRegressionTests();
