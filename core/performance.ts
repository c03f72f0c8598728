// Figures of a performance test: percentiles, ratios with their uncertainty, verdicts. Pure.
import type { PerformanceSettings } from './settings.ts';

/** Milliseconds. */
export interface Latencies {
  readonly count: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
  readonly mean: number;
}

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** The smallest value that at least `share` of the sorted values do not exceed (nearest rank). */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) throw new RangeError('no values, no percentile');
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!;
}

/** undefined: nothing was measured. */
export function summarise(values: readonly number[]): Latencies | undefined {
  if (values.length === 0) return undefined;
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => rounded(percentile(sorted, share));
  return {
    count: sorted.length,
    min: rounded(sorted[0]!),
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    max: rounded(sorted.at(-1)!),
    mean: rounded(sorted.reduce((sum, value) => sum + value, 0) / sorted.length),
  };
}

/** Median of the old system's times over the new one's: above 1 the new system is faster. `low` to `high` holds it in 95 of 100 cases. */
export interface Ratio {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

const resamples = 1000;
const mostResampled = 1000;
const fewest = 5;

/** Percentile bootstrap, its randomness fixed, so that the same figures give the same interval. undefined: too few values to say. */
export function ratioOf(before: readonly number[], after: readonly number[]): Ratio | undefined {
  if (before.length < fewest || after.length < fewest) return undefined;
  const random = generator(before.length * 31 + after.length);
  const ratios = new Float64Array(resamples);
  const [a, b] = [thinned(before), thinned(after)];
  for (let i = 0; i < resamples; i++) ratios[i] = quotient(resampledMedian(a, random), resampledMedian(b, random));
  ratios.sort();
  return {
    ratio: rounded(quotient(median(before), median(after))),
    low: rounded(percentile(ratios, 0.025)),
    high: rounded(percentile(ratios, 0.975)),
  };
}

/** A clock that ticks in whole milliseconds may read 0. */
const quotient = (a: number, b: number): number => Math.max(a, 1e-3) / Math.max(b, 1e-3);
const median = (values: readonly number[]): number => percentile(Float64Array.from(values).sort(), 0.5);
const thinned = (values: readonly number[]): readonly number[] => {
  const step = Math.ceil(values.length / mostResampled);
  return values.filter((_, i) => i % step === 0);
};

function resampledMedian(values: readonly number[], random: () => number): number {
  const drawn = new Float64Array(values.length);
  for (let i = 0; i < drawn.length; i++) drawn[i] = values[Math.floor(random() * values.length)]!;
  return percentile(drawn.sort(), 0.5);
}

/** mulberry32: even numbers in [0, 1). */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Why a query is slow, or will be: what was found, what shows it, and what ends it. */
export interface Cause {
  readonly kind: 'missing_index' | 'invalid_index' | 'lock' | 'sequential_scan' | 'timeout' | 'error' | 'slow';
  readonly sentence: string;
  readonly evidence?: unknown;
}

export interface Measured {
  /** ms, in order of asking. */
  readonly times: readonly number[];
  readonly timeouts: number;
  readonly errors: number;
}

export interface QueryVerdict {
  readonly status: 'passed' | 'failed';
  /** Whether the new system is slower than the old one beyond the tolerance and the uncertainty of the figures. */
  readonly against_old: 'no_slower' | 'slower' | 'unknown';
  readonly why: readonly string[];
}

/** Below this nobody notices a difference, ms. */
const noticeableMs = 5;

/**
 * A query fails that was not answered, that has lost the index its mapping declares, or that takes longer than it may (median against
 * `expectedMs`) and longer than in the old system.
 */
export function judgeQuery(
  fresh: Measured,
  old: Measured | undefined,
  expectedMs: number,
  causes: readonly Cause[],
  tolerance: number,
): QueryVerdict {
  const mine = summarise(fresh.times);
  const theirs = old && summarise(old.times);
  const ratio = old && ratioOf(old.times, fresh.times);
  const slower = ratio !== undefined && mine!.p50 - theirs!.p50 > noticeableMs && ratio.high < 1 / (1 + tolerance);
  const against = ratio === undefined ? 'unknown' : slower ? 'slower' : 'no_slower';
  const why = causes.filter((cause) => cause.kind !== 'slow').map((cause) => cause.sentence);
  const broken = causes.some((cause) => cause.kind === 'missing_index' || cause.kind === 'invalid_index');
  if (fresh.timeouts + fresh.errors > 0 || !mine)
    return { status: 'failed', against_old: theirs ? 'slower' : against, why };
  if (broken) return { status: 'failed', against_old: against, why };
  if (mine.p50 <= expectedMs) return { status: 'passed', against_old: against, why: [] };
  const over = `${mine.p50} ms in the middle, ${expectedMs} ms expected`;
  if (against === 'no_slower')
    return { status: 'passed', against_old: against, why: [`${over}; the old system takes ${theirs!.p50} ms`] };
  return { status: 'failed', against_old: against, why: [over, ...why] };
}

export const benchmarkNames = ['query_response_time', 'throughput', 'memory_usage', 'cpu_utilization'] as const;
export type BenchmarkName = (typeof benchmarkNames)[number];

export interface Benchmark {
  readonly baseline: number;
  readonly threshold: number;
  readonly unit: 'ms' | 'req/s' | 'MB' | '%';
  readonly measured: number | null;
  /** The same of the old system, where it can be measured. */
  readonly old: number | null;
  /** `regressed`: beyond the threshold. `degraded`: between baseline and threshold, which passes. */
  readonly level: 'within_baseline' | 'degraded' | 'regressed' | 'not_measured';
  readonly status: 'passed' | 'failed' | 'skipped';
  /** What was measured, or why nothing was. */
  readonly of: string;
}

const units = { query_response_time: 'ms', throughput: 'req/s', memory_usage: 'MB', cpu_utilization: '%' } as const;

export function judgeBenchmark(
  name: BenchmarkName,
  settings: PerformanceSettings,
  measured: number | null,
  of: string,
  old: number | null = null,
): Benchmark {
  const { baseline, threshold } = settings[name];
  const more = name === 'throughput';
  const within = (limit: number) => (more ? measured! >= limit : measured! <= limit);
  const level =
    measured === null
      ? 'not_measured'
      : within(baseline)
        ? 'within_baseline'
        : within(threshold)
          ? 'degraded'
          : 'regressed';
  return {
    baseline,
    threshold,
    unit: units[name],
    measured: measured === null ? null : rounded(measured),
    old: old === null ? null : rounded(old),
    level,
    status: level === 'not_measured' ? 'skipped' : level === 'regressed' ? 'failed' : 'passed',
    of,
  };
}
