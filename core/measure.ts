// What the evidence says about each trigger: observed against threshold, or that too little was seen to judge.
import type { CollectionEvidence, Evidence, SideEvidence } from './evidence.ts';
import type { Policy, Severity } from './policy.ts';
import { isFinding } from './ratio.ts';
import { throughputOf, type Baselines } from './throughput.ts';

export const triggers = [
  'data_corruption',
  'complete_system_failure',
  'security_breach',
  'query_time_increase',
  'throughput_decrease',
  'error_rate_increase',
  'validation_failure_rate',
  'missing_records',
  'corrupted_records',
  'capture_gap',
  'capture_lag',
  'quarantine_share',
  'shadow_defects',
] as const;
export type Trigger = (typeof triggers)[number];
export type TriggerSource = 'traffic' | 'probes' | 'shadow';
/** Those that count reads and their errors on each side. */
type CountedSource = Exclude<TriggerSource, 'shadow'>;

export interface Measurement {
  readonly trigger: Trigger;
  readonly collection?: string;
  readonly source?: TriggerSource;
  /** undefined: not judged. */
  readonly breached: boolean | undefined;
  readonly observed: number | string;
  readonly threshold: number | string;
  readonly samples: number;
  readonly window: number;
  readonly severity: Severity;
  /** Intervals in a row it takes. */
  readonly needed: number;
}

/** Of the newest interval, with what the windows reach back to. */
export function measure(evidence: readonly Evidence[], policy: Policy, baselines: Baselines): Measurement[] {
  const newest = evidence.at(-1);
  if (!newest) return [];
  const found: Measurement[] = [...incidents(newest, policy)];
  for (const [name, now] of Object.entries(newest.collections)) {
    const window = (intervals: number) => evidence.slice(-intervals).flatMap((one) => one.collections[name] ?? []);
    for (const source of ['traffic', 'probes'] as const) {
      found.push({ ...queryTime(now, source, policy), collection: name, source });
      found.push({ ...errorRate(window(policy.errorRate.window), source, policy), collection: name, source });
    }
    found.push({ ...shadowTime(now, policy), collection: name, source: 'shadow' });
    found.push({ ...throughput(now, newest, policy, baselines[name]), collection: name });
    found.push({ ...validation(window(policy.validationFailures.window), policy), collection: name });
    found.push({ ...defects(now, policy), collection: name });
  }
  return [...found, ...totals(newest, policy), ...capture(newest, policy)];
}

function incidents({ incidents }: Evidence, policy: Policy): Measurement[] {
  return [...new Set(incidents.map((one) => one.kind))]
    .filter((kind) => policy.criticalErrors[kind])
    .map((kind) => ({
      trigger: kind,
      breached: true,
      observed: 'reported',
      threshold: 'none',
      samples: incidents.filter((one) => one.kind === kind).length,
      window: policy.intervalSeconds,
      severity: 'critical',
      needed: 1,
    }));
}

function queryTime(now: CollectionEvidence, source: CountedSource, policy: Policy): Measurement {
  const { ratio, quantile, floorMs, minimumReads, minimumProbes, intervals, severity } = policy.queryTime;
  const { old, new: fresh } = now[source];
  const samples = Math.min(old.reads, fresh.reads);
  const [before, after] = [old[`${quantile}Ms`], fresh[`${quantile}Ms`]];
  const enough = samples >= (source === 'traffic' ? minimumReads : minimumProbes);
  // Two fast answers are equally good, whatever their ratio.
  const observed = before === null || after === null ? 1 : Math.max(after, floorMs) / Math.max(before, floorMs, 1e-6);
  return {
    trigger: 'query_time_increase',
    breached: enough && before !== null && after !== null ? observed > ratio : undefined,
    observed,
    threshold: ratio,
    samples,
    window: policy.intervalSeconds,
    severity,
    needed: intervals,
  };
}

/** Latencies of shadow reads are those of the last ten minutes (control/traffic.ts), s. */
const shadowSeconds = 600;

/**
 * Shadow reads ask both sides the same, so that few of them tell what many others do not. The whole of the interval must lie above the threshold
 * and beyond what old against old shows; an answer that is fast, or would count as fast on the old side, is as good here as it is there.
 */
function shadowTime(now: CollectionEvidence, policy: Policy): Measurement {
  const { ratio: threshold, quantile, floorMs, intervals, severity } = policy.queryTime;
  const { ratio, noise, compared } = now.shadow;
  const after = now.traffic.new[`${quantile}Ms`] ?? now.probes.new[`${quantile}Ms`];
  const judged = ratio !== null && noise !== null && after !== null;
  return {
    trigger: 'query_time_increase',
    breached: judged ? after > threshold * floorMs && isFinding(ratio, noise) && ratio.low > threshold : undefined,
    observed: ratio?.low ?? 1,
    threshold,
    samples: compared,
    window: shadowSeconds,
    severity,
    needed: intervals,
  };
}

function errorRate(window: readonly CollectionEvidence[], source: CountedSource, policy: Policy): Measurement {
  const { increase, minimumReads, minimumProbes, intervals, severity } = policy.errorRate;
  const old = sum(window.map((one) => one[source].old));
  const fresh = sum(window.map((one) => one[source].new));
  const share = ({ reads, errors }: Sum) => (reads === 0 ? 0 : errors / reads);
  // What fails on both sides is no reason to go back.
  const observed = share(fresh) - share(old);
  const enough = fresh.reads >= (source === 'traffic' ? minimumReads : minimumProbes);
  return {
    trigger: 'error_rate_increase',
    breached: enough ? observed > increase : undefined,
    observed,
    threshold: increase,
    samples: fresh.reads,
    window: window.length * policy.intervalSeconds,
    severity,
    needed: intervals,
  };
}

type Sum = Pick<SideEvidence, 'reads' | 'errors'>;
const sum = (sides: readonly SideEvidence[]): Sum => ({
  reads: sides.reduce((total, one) => total + one.reads, 0),
  errors: sides.reduce((total, one) => total + one.errors, 0),
});

function throughput(
  now: CollectionEvidence,
  { from, to }: Evidence,
  policy: Policy,
  baseline: Baselines[string] | undefined,
): Measurement {
  const { ratio: threshold, intervals, severity } = policy.throughput;
  const seconds = Math.max(0, (Date.parse(to) - Date.parse(from)) / 1000);
  const { ratio, expected } = throughputOf(baseline, now, seconds, policy.throughput);
  return {
    trigger: 'throughput_decrease',
    breached: ratio === undefined ? undefined : ratio < threshold,
    observed: ratio ?? 1,
    threshold,
    samples: Math.round(expected),
    window: policy.intervalSeconds,
    severity,
    needed: intervals,
  };
}

function validation(window: readonly CollectionEvidence[], policy: Policy): Measurement {
  const { rate, minimumChecked, intervals, severity } = policy.validationFailures;
  const checked = window.reduce((total, one) => total + one.validation.checked, 0);
  const failed = window.reduce((total, one) => total + one.validation.failed, 0);
  const observed = checked === 0 ? 0 : failed / checked;
  return {
    trigger: 'validation_failure_rate',
    breached: checked >= minimumChecked ? observed > rate : undefined,
    observed,
    threshold: rate,
    samples: checked,
    window: window.length * policy.intervalSeconds,
    severity,
    needed: intervals,
  };
}

function totals({ collections }: Evidence, policy: Policy): Measurement[] {
  const all = Object.values(collections).map((one) => one.validation);
  const samples = all.reduce((total, one) => total + one.checked, 0);
  const of = (
    trigger: Trigger,
    observed: number,
    { count, intervals, severity }: Policy['missingRecords'],
  ): Measurement => ({
    trigger,
    breached: observed >= count,
    observed,
    threshold: count,
    samples,
    window: policy.intervalSeconds,
    severity,
    needed: intervals,
  });
  const missing = all.reduce((total, one) => total + one.missing, 0);
  const corrupted = all.reduce((total, one) => total + one.corrupted, 0);
  return [
    of('missing_records', missing, policy.missingRecords),
    of('corrupted_records', corrupted, policy.corruptedRecords),
  ];
}

/** What holds the traffic where it is: severity low, whatever it is. */
const holding = (policy: Policy, its: Pick<Measurement, 'trigger' | 'breached' | 'observed' | 'threshold'>) => ({
  ...its,
  samples: 1,
  window: policy.intervalSeconds,
  severity: 'low' as const,
  needed: 1,
});

function defects(now: CollectionEvidence, policy: Policy): Measurement {
  const { defect, compared } = now.shadow;
  const threshold = policy.hold.shadowDefects;
  const breached = compared === 0 ? undefined : defect >= threshold;
  return {
    ...holding(policy, { trigger: 'shadow_defects', breached, observed: defect, threshold }),
    samples: compared,
  };
}

function capture({ capture }: Evidence, policy: Policy): Measurement[] {
  const { lagMs, quarantineShare } = policy.hold;
  const lag = capture.lagMs;
  return [
    holding(policy, {
      trigger: 'capture_gap',
      breached: capture.gap,
      observed: capture.gap ? 'open' : 'none',
      threshold: 'none',
    }),
    holding(policy, {
      trigger: 'capture_lag',
      breached: lag === null ? undefined : lag > lagMs,
      observed: lag ?? 0,
      threshold: lagMs,
    }),
    holding(policy, {
      trigger: 'quarantine_share',
      breached: capture.quarantineShare > quarantineShare,
      observed: capture.quarantineShare,
      threshold: quarantineShare,
    }),
  ];
}
