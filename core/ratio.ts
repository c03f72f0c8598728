// How much slower one side is than the other, from pairs of the same read on both: a geometric mean with its 95 % confidence interval.
// The mean and standard error of the differences of logarithms, taken back: Bland, Altman, "Transformations, means, and confidence
// intervals", BMJ 312 (1996) 1079. Latencies are skewed; their logarithms are close enough to normal for a mean of 30 pairs.

/** Sums over pairs of ln(a / b): whatever adds them up has the sums of all. */
export interface LogRatios {
  readonly pairs: number;
  readonly sum: number;
  readonly squares: number;
}

export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export const noRatios: LogRatios = { pairs: 0, sum: 0, squares: 0 };

/** Faster than this is measured as this, ms: a clock's tick is no difference. */
const tick = 0.01;

export function addPair({ pairs, sum, squares }: LogRatios, a: number, b: number): LogRatios {
  const log = Math.log(Math.max(a, tick) / Math.max(b, tick));
  return { pairs: pairs + 1, sum: sum + log, squares: squares + log * log };
}

/** Fewer pairs say nothing. */
export const leastPairs = 30;
/** Two-sided 95 % of the normal distribution. */
const z = 1.96;

function meanOf({ pairs, sum, squares }: LogRatios): { mean: number; error: number } {
  const mean = sum / pairs;
  const variance = Math.max(0, (squares - sum * mean) / (pairs - 1));
  return { mean, error: Math.sqrt(variance / pairs) };
}

export function ratioOf(ratios: LogRatios): Interval | null {
  if (ratios.pairs < leastPairs) return null;
  const { mean, error } = meanOf(ratios);
  return { value: Math.exp(mean), low: Math.exp(mean - z * error), high: Math.exp(mean + z * error) };
}

/** From pairs of the same side (A/A): how far from 1 a ratio may lie, in either direction, with nothing behind it but order and chance. */
export function noiseOf(ratios: LogRatios): Interval | null {
  if (ratios.pairs < leastPairs) return null;
  const { mean, error } = meanOf(ratios);
  const reach = Math.abs(mean) + z * error;
  return { value: Math.exp(mean), low: Math.exp(-reach), high: Math.exp(reach) };
}

/** Whether a ratio says anything: all of its interval lies beyond the noise. Without a calibration nothing does. */
export const isFinding = (ratio: Interval | null, noise: Interval | null): boolean =>
  ratio !== null && noise !== null && (ratio.low > noise.high || ratio.high < noise.low);
