// A histogram of latencies: buckets that grow by 10 %, so that a quantile is off by at most 5 %, and sums of histograms are histograms.
// The buckets are those of DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019), without its collapsing: the range is bounded.

const growth = 1.1;
const log = Math.log(growth);
/** Bucket 0 holds what is faster, ms. */
const least = 0.01;
/** Everything from about 17 minutes up. */
const last = Math.ceil(Math.log(1e6 / least) / log);

/** Bucket -> how many. JSON. */
export type Histogram = Record<number, number>;

export const bucketOfLatency = (ms: number): number =>
  ms > least ? Math.min(last, Math.ceil(Math.log(ms / least) / log)) : 0;

/** The middle of a bucket in the sense that no value in it is further off than 5 %. */
const middle = (bucket: number): number => (bucket === 0 ? least : (2 * least * growth ** bucket) / (growth + 1));

export function add(histogram: Histogram, ms: number): void {
  const bucket = bucketOfLatency(ms);
  histogram[bucket] = (histogram[bucket] ?? 0) + 1;
}

/** The value that a share `q` of the values does not exceed, by nearest rank; null of nothing. */
export function quantile(histogram: Readonly<Histogram>, q: number): number | null {
  // Whole-number keys come in rising order.
  const buckets = Object.entries(histogram);
  const total = buckets.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  let left = Math.max(1, Math.ceil(q * total));
  for (const [bucket, count] of buckets) {
    left -= count;
    if (left <= 0) return middle(Number(bucket));
  }
  return middle(last);
}
