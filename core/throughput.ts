// What each side should answer per second: learnt from intervals before, moved with the percentage, corrected by what both sides show.
import type { CollectionEvidence, Evidence } from './evidence.ts';
import type { Policy } from './policy.ts';

/** Reads per second on each side as they were, at `percentage`; learnt from `intervals`. */
export interface Baseline {
  readonly percentage: number;
  readonly old: number;
  readonly new: number;
  readonly intervals: number;
}
export type Baselines = Readonly<Record<string, Baseline>>;

/** Weight of the newest interval in an exponentially weighted mean. */
const weight = 0.3;

/**
 * What `baseline` expects at another percentage: users who move take their reads with them. undefined: the new side answered fewer than
 * `least` per second, too few to say what many would be.
 */
function at(baseline: Baseline | undefined, percentage: number, least: number): Baseline | undefined {
  if (!baseline || baseline.percentage === percentage) return baseline;
  if (baseline.percentage === 0 || baseline.new < least) return undefined;
  const scale = (rate: number, from: number, to: number) => (from === 0 ? 0 : (rate * to) / from);
  return {
    percentage,
    new: scale(baseline.new, baseline.percentage, percentage),
    old:
      baseline.percentage === 100
        ? (baseline.new * (100 - percentage)) / 100
        : scale(baseline.old, 100 - baseline.percentage, 100 - percentage),
    intervals: baseline.intervals,
  };
}

export interface Throughput {
  /** Answered / expected on the new side. undefined: too little is known to say. */
  readonly ratio: number | undefined;
  /** Reads expected in the interval. */
  readonly expected: number;
}

/** A fall that the old side shows as well is the application's, and is taken out. */
export function throughputOf(
  baseline: Baseline | undefined,
  now: CollectionEvidence,
  seconds: number,
  policy: Policy['throughput'],
): Throughput {
  const expectation = at(baseline, now.percentage, policy.minimumReads / seconds);
  const expected = expectation ? expectation.new * seconds : 0;
  if (!expectation || expectation.intervals < policy.learningIntervals || expected < policy.minimumReads)
    return { ratio: undefined, expected };
  const { old } = expectation;
  const fall = old * seconds >= policy.minimumReads ? Math.min(1, now.traffic.old.perSecond / old) : 1;
  if (fall === 0) return { ratio: undefined, expected };
  return { ratio: now.traffic.new.perSecond / expectation.new / fall, expected: expected * fall };
}

/** Intervals in which `slow` says that a collection answers too few reads teach nothing. */
export function learn(
  baselines: Baselines,
  evidence: Evidence,
  slow: ReadonlySet<string>,
  { throughput, intervalSeconds }: Policy,
): Baselines {
  const least = throughput.minimumReads / intervalSeconds;
  const next: Record<string, Baseline> = {};
  for (const [collection, now] of Object.entries(evidence.collections)) {
    const before = at(baselines[collection], now.percentage, least);
    if (before && slow.has(collection)) next[collection] = before;
    else if (now.percentage > 0) next[collection] = blend(before, now);
  }
  return next;
}

function blend(before: Baseline | undefined, now: CollectionEvidence): Baseline {
  const { old, new: fresh } = now.traffic;
  const mean = (was: number, is: number) => was + weight * (is - was);
  return {
    percentage: now.percentage,
    old: before ? mean(before.old, old.perSecond) : old.perSecond,
    new: before ? mean(before.new, fresh.perSecond) : fresh.perSecond,
    intervals: Math.min(1000, (before?.intervals ?? 0) + 1),
  };
}
