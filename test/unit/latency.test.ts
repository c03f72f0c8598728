// Histograms and latency ratios: how far off they may be, and that sums of parts are the whole.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { add, bucketOfLatency, quantile, type Histogram } from '../../core/histogram.ts';
import { addPair, isFinding, noiseOf, noRatios, ratioOf, type LogRatios } from '../../core/ratio.ts';

const latency = fc.double({ min: 0.02, max: 500_000, noNaN: true });
const histogramOf = (values: readonly number[]): Histogram => {
  const histogram: Histogram = {};
  for (const value of values) add(histogram, value);
  return histogram;
};

test('a quantile is off by at most 5 %', () => {
  fc.assert(
    fc.property(
      fc.array(latency, { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (values, q) => {
        const exact = [...values].sort((a, b) => a - b)[Math.max(1, Math.ceil(q * values.length)) - 1]!;
        expect(Math.abs(quantile(histogramOf(values), q)! - exact) / exact).toBeLessThan(0.05);
      },
    ),
  );
  expect(quantile({}, 0.5)).toBeNull();
});

test('whatever is measured has a bucket, and there are few', () => {
  fc.assert(
    fc.property(fc.double({ min: 0 }), (ms) => {
      const bucket = bucketOfLatency(ms);
      expect(Number.isInteger(bucket) && bucket >= 0 && bucket <= 200).toBe(true);
    }),
  );
});

const pairs = fc.array(fc.tuple(latency, latency), { minLength: 40, maxLength: 100 });
const sumsOf = (some: readonly (readonly [number, number])[]): LogRatios =>
  some.reduce((sums, [a, b]) => addPair(sums, a, b), noRatios);

test('sums of two processes say what one would have said', () => {
  fc.assert(
    fc.property(pairs, fc.nat(40), (all, at) => {
      const [a, b] = [sumsOf(all.slice(0, at)), sumsOf(all.slice(at))];
      const both = { pairs: a.pairs + b.pairs, sum: a.sum + b.sum, squares: a.squares + b.squares };
      const [whole, parts] = [ratioOf(sumsOf(all))!, ratioOf(both)!];
      expect(Math.log(parts.value)).toBeCloseTo(Math.log(whole.value), 6);
      expect(Math.log(parts.high)).toBeCloseTo(Math.log(whole.high), 6);
    }),
  );
});

test('twice as slow is two, with an interval that has it in it; the other way round it is half', () => {
  const some = Array.from({ length: 60 }, (_, i) => [20 + (i % 7), 10 + (i % 7) / 2] as const);
  const ratio = ratioOf(sumsOf(some))!;
  expect(ratio.value).toBeCloseTo(2, 9);
  expect(ratio.low).toBeLessThanOrEqual(2 + 1e-9);
  expect(ratio.high).toBeGreaterThanOrEqual(2 - 1e-9);
  expect(ratioOf(sumsOf(some.map(([a, b]) => [b, a])))!.value).toBeCloseTo(0.5, 9);
  expect(ratioOf(sumsOf(some.slice(0, 29)))).toBeNull();
});

/** A generator of its own: the same pairs every run. */
function* chance(seed: number): Generator<number> {
  for (let state = seed; ;) yield (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

test('the interval covers the truth about 95 times of 100, and A/A is hardly ever a finding', () => {
  const random = chance(7);
  const draw = () => random.next().value as number;
  // Log-normal latencies by Box and Muller's transformation.
  const slow = (scale: number) =>
    scale * Math.exp(0.8 * Math.sqrt(-2 * Math.log(draw())) * Math.cos(2 * Math.PI * draw()));
  let covered = 0;
  let findings = 0;
  for (let run = 0; run < 400; run++) {
    const of = (a: number, b: number) => sumsOf(Array.from({ length: 60 }, () => [slow(a), slow(b)] as const));
    const ratio = ratioOf(of(15, 10))!;
    if (ratio.low <= 1.5 && ratio.high >= 1.5) covered++;
    if (isFinding(ratioOf(of(10, 10)), noiseOf(of(10, 10)))) findings++;
  }
  expect(covered / 400).toBeGreaterThan(0.92);
  expect(covered / 400).toBeLessThan(0.98);
  expect(findings / 400).toBeLessThan(0.02);
});
