// One query measured, diagnosed and judged.
import {
  judgeQuery,
  ratioOf,
  summarise,
  type Cause,
  type Latencies,
  type QueryVerdict,
  type Ratio,
} from '../../core/performance.ts';
import type { PerformanceSettings } from '../../core/settings.ts';
import type { Asker } from './ask.ts';
import { diagnose, type KeptPlan } from './diagnose.ts';
import { measureQuery, type Effort, type MeasuredQuery } from './measure.ts';
import type { Probe } from './probes.ts';

export interface QueryResult extends QueryVerdict {
  readonly query: string;
  readonly collection: string;
  readonly asks: string;
  /** The strategy's three: the median of the new system, what it may be, and the first over the second. null: nothing was answered. */
  readonly execution_time_ms: number | null;
  readonly expected_time_ms: number;
  readonly performance_ratio: number | null;
  readonly old: Latencies | null;
  readonly new: Latencies | null;
  readonly timeouts: { readonly old: number; readonly new: number };
  /** Old over new: above 1 the new system is faster. */
  readonly ratio: Ratio | null;
  readonly causes: readonly Cause[];
}

export interface Tested {
  readonly result: QueryResult;
  readonly plans: readonly KeptPlan[];
}

/**
 * A query that is only slow, or was not answered in time although nobody held a lock, is measured once more before it fails: what else the
 * machine did is no regression.
 */
export async function testQuery(
  asker: Asker,
  probe: Probe,
  effort: Effort,
  settings: PerformanceSettings,
): Promise<Tested> {
  const first = await once(asker, probe, effort, settings);
  const onlySlow =
    first.result.status === 'failed' &&
    first.result.causes.every((cause) => cause.kind === 'slow' || cause.kind === 'timeout');
  return onlySlow ? once(asker, probe, effort, settings) : first;
}

async function once(asker: Asker, probe: Probe, effort: Effort, settings: PerformanceSettings): Promise<Tested> {
  const expected = probe.query.expectedMs ?? settings.query_response_time.threshold;
  const measured = await measureQuery(asker, probe, effort);
  const fresh = summarise(measured.new.times);
  const slow = !fresh || fresh.p50 > expected || measured.new.timeouts > 0;
  const { causes, plans } = await diagnose(asker, probe, measured, slow);
  return { result: resultOf(probe, measured, expected, causes, settings.tolerance), plans };
}

function resultOf(
  { query, mapping }: Probe,
  measured: MeasuredQuery,
  expected: number,
  causes: readonly Cause[],
  tolerance: number,
): QueryResult {
  const fresh = summarise(measured.new.times);
  return {
    query: query.name,
    collection: mapping.collection,
    asks: query.asks,
    execution_time_ms: fresh?.p50 ?? null,
    expected_time_ms: expected,
    performance_ratio: fresh ? Math.round((fresh.p50 / expected) * 1000) / 1000 : null,
    old: summarise(measured.old.times) ?? null,
    new: fresh ?? null,
    timeouts: { old: measured.old.timeouts, new: measured.new.timeouts },
    ratio: ratioOf(measured.old.times, measured.new.times) ?? null,
    causes,
    ...judgeQuery(measured.new, measured.old, expected, causes, tolerance),
  };
}
