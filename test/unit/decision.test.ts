// The decision: every trigger of the strategy with its near-misses, and what holds for any evidence whatever.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decide,
  defaultPolicy,
  evidenceSchema,
  policySchema,
  sameFinding,
  undecided,
  windowOf,
  type Decision,
  type Evidence,
  type Policy,
} from '../../core/decision.ts';
import { triggers } from '../../core/measure.ts';
import { sentenceOf } from '../../core/sentence.ts';

type Input = Record<string, unknown>;
const start = Date.parse('2025-06-01T00:00:00Z');

/** The n-th interval of ten seconds. */
const interval = (n: number, its: Input = {}): Evidence =>
  evidenceSchema.parse({
    from: new Date(start + n * 10_000).toISOString(),
    to: new Date(start + (n + 1) * 10_000).toISOString(),
    ...its,
  });
const one = (its: Input): Input => ({ collections: { token_usage: its } });
const read = (reads: number, p50Ms: number | null, more: Input = {}): Input => ({
  reads,
  p50Ms,
  perSecond: reads / 10,
  ...more,
});
const traffic = (old: Input, fresh: Input): Input => one({ percentage: 50, traffic: { old, new: fresh } });
const probes = (old: Input, fresh: Input): Input => one({ probes: { old, new: fresh } });
const validation = (its: Input): Input => one({ validation: its });
const around = (value: number, share: number) => ({ value, low: value * (1 - share), high: value * (1 + share) });
/** Shadow reads whose ratio is 4 with an interval of `share` about it, on a new side that answers in `p50Ms`. */
const shadowed = (share: number, p50Ms: number, noise: Input | null = around(1, 0.1)): Input =>
  one({ probes: { new: read(4, p50Ms) }, shadow: { compared: 200, ratio: around(4, share), noise } });

/** Decides as a workflow does: after each interval, from what it remembers, through JSON. */
function run(intervals: readonly Input[], policy: Policy = defaultPolicy): Decision[] {
  const evidence = intervals.map((its, n) => interval(n, its));
  let state = undecided;
  return evidence.map((_, n) => {
    const known = evidence.slice(Math.max(0, n + 1 - windowOf(policy)), n + 1);
    const decision = decide(known, policy, state);
    state = JSON.parse(JSON.stringify(decision.state)) as typeof state;
    return decision;
  });
}
const last = (intervals: readonly Input[], policy?: Policy): Decision => run(intervals, policy).at(-1)!;
const twice = (its: Input): Input[] => [its, its];
const healthy = traffic(read(500, 20), read(500, 20));

type Case = readonly [name: string, intervals: Input[], expected: Partial<Decision>, trigger?: string];
const expedited = { action: 'rollback', mode: 'expedited', severity: 'high' } as const;
const planned = { action: 'rollback', mode: 'planned', severity: 'medium' } as const;
const immediate = { action: 'rollback', mode: 'immediate', severity: 'critical' } as const;
const goOn = { action: 'continue', severity: 'none' } as const;
const hold = { action: 'hold', severity: 'low' } as const;

const cases: Case[] = [
  ['data corruption', [{ incidents: [{ kind: 'data_corruption' }] }], immediate, 'data_corruption'],
  ['system failure', [{ incidents: [{ kind: 'complete_system_failure' }] }], immediate, 'complete_system_failure'],
  ['security breach', [{ incidents: [{ kind: 'security_breach' }] }], immediate, 'security_breach'],

  ['queries 3.1 times slower', twice(traffic(read(500, 20), read(500, 62))), expedited, 'query_time_increase'],
  ['just 3 times slower', twice(traffic(read(500, 20), read(500, 60))), goOn],
  ['slower in one interval', [healthy, traffic(read(500, 20), read(500, 90))], hold, 'query_time_increase'],
  [
    'slower, well, slower',
    [traffic(read(500, 20), read(500, 90)), healthy, traffic(read(500, 20), read(500, 90))],
    hold,
  ],
  ['slower, but 19 reads', twice(traffic(read(500, 20), read(19, 200))), goOn],
  ['slower, but the old side is not read', twice(traffic(read(0, null), read(500, 200))), goOn],
  ['6 times slower, and still fast', twice(traffic(read(500, 1), read(500, 6))), goOn],
  ['fast before, hanging now', twice(probes(read(5, 1), read(5, 1000))), expedited, 'query_time_increase'],
  ['the same reads, behind the scenes, 4 times slower', twice(shadowed(0.2, 61)), expedited, 'query_time_increase'],
  ['perhaps less than 3 times', twice(shadowed(0.3, 61)), goOn],
  ['4 times slower, and still fast', twice(shadowed(0.2, 60)), goOn],
  ['4 times slower, as old is to itself', twice(shadowed(0.2, 61, { value: 1, low: 0.2, high: 5 })), goOn],
  ['4 times slower, and nobody knows the noise', twice(shadowed(0.2, 61, null)), goOn],
  ['4 probes', twice(probes(read(5, 1), read(4, 1000))), goOn],

  ['5.2 % errors', twice(traffic(read(500, 20), read(500, 20, { errors: 26 }))), expedited, 'error_rate_increase'],
  ['5 % errors', twice(traffic(read(500, 20), read(500, 20, { errors: 25 }))), goOn],
  ['errors on both sides', twice(traffic(read(500, 20, { errors: 100 }), read(500, 20, { errors: 110 }))), goOn],
  ['errors in one interval', [traffic(read(500, 20), read(500, 20, { errors: 400 })), healthy], goOn],
  ['all of 19 reads fail', twice(traffic(read(500, 20), read(19, null, { errors: 19 }))), goOn],
  ['all of 5 probes fail', twice(probes(read(5, 1), read(5, null, { errors: 5 }))), expedited, 'error_rate_increase'],
  ['all of 4 probes fail', twice(probes(read(5, 1), read(4, null, { errors: 4 }))), goOn],

  ['1.5 % differ', [validation({ checked: 200, failed: 3 })], planned, 'validation_failure_rate'],
  ['1 % differ', [validation({ checked: 200, failed: 2 })], goOn],
  ['all of 99 differ', [validation({ checked: 99, failed: 99 })], goOn],
  ['100 missing', [validation({ checked: 200, missing: 100 })], expedited, 'missing_records'],
  ['99 missing', [validation({ checked: 200, missing: 99 })], goOn],
  ['10 corrupted', [validation({ checked: 200, corrupted: 10 })], expedited, 'corrupted_records'],
  ['9 corrupted', [validation({ checked: 200, corrupted: 9 })], goOn],
  ['9 corrupted, seen again and again', Array.from({ length: 5 }, () => validation({ corrupted: 9 })), goOn],

  [
    'half the reads',
    [...Array<Input>(4).fill(healthy), ...twice(traffic(read(500, 20), read(240, 20)))],
    planned,
    'throughput_decrease',
  ],
  ['just over half', [...Array<Input>(4).fill(healthy), ...twice(traffic(read(500, 20), read(260, 20)))], goOn],
  [
    'half the reads on both sides',
    [...Array<Input>(4).fill(healthy), ...twice(traffic(read(200, 20), read(200, 20)))],
    goOn,
  ],
  [
    'half the reads, before it is known what is usual',
    [healthy, ...twice(traffic(read(500, 20), read(200, 20)))],
    goOn,
  ],
  [
    'half of few reads',
    [...Array<Input>(4).fill(traffic(read(90, 20), read(90, 20))), ...twice(traffic(read(90, 20), read(30, 20)))],
    goOn,
  ],

  [
    'two of medium severity are high',
    [
      ...Array<Input>(4).fill(healthy),
      ...twice(
        one({
          percentage: 50,
          traffic: { old: read(500, 20), new: read(200, 20) },
          validation: { checked: 300, failed: 9 },
        }),
      ),
    ],
    expedited,
  ],

  ['an open gap', [{ capture: { gap: true } }], hold, 'capture_gap'],
  ['far behind', [{ capture: { lagMs: 30_001 } }], hold, 'capture_lag'],
  ['behind', [{ capture: { lagMs: 30_000 } }], goOn],
  ['many quarantined', [{ capture: { quarantineShare: 0.21 } }], hold, 'quarantine_share'],
  ['a shadow read differs', [one({ shadow: { compared: 50, defect: 1 } })], hold, 'shadow_defects'],
  ['shadow reads differ as expected', [one({ shadow: { compared: 50, lag: 5, expected: 9 } })], goOn],
  ['nothing at all', [{}], goOn],
];

test.each(cases.map(([name, ...rest]) => ({ name, its: rest })))('$name', ({ its: [intervals, expected, trigger] }) => {
  const { action, mode, severity, reasons } = last(intervals);
  expect({ action, severity, ...(mode && { mode }) }, JSON.stringify(reasons)).toEqual(expected);
  if (trigger) expect(reasons.map((one) => one.trigger)).toContain(trigger);
  for (const reason of reasons) expect(sentenceOf(reason)).toMatch(/samples in \d+ s/);
});

test('every trigger stands in the table', () => {
  const met = new Set(cases.map(([, , , trigger]) => trigger));
  expect(triggers.filter((trigger) => !met.has(trigger))).toEqual([]);
});

test('the strategy stands in the defaults', () => {
  expect(defaultPolicy).toMatchObject({
    criticalErrors: { data_corruption: true, complete_system_failure: true, security_breach: true },
    queryTime: { ratio: 3 },
    throughput: { ratio: 0.5 },
    errorRate: { increase: 0.05 },
    validationFailures: { rate: 0.01 },
    missingRecords: { count: 100 },
    corruptedRecords: { count: 10 },
  });
});

test('missing documents of several collections add up', () => {
  const two = { collections: { a: { validation: { missing: 60 } }, b: { validation: { missing: 40 } } } };
  expect(last([two])).toMatchObject(expedited);
});

test('a slow collection is not hidden by fast ones', () => {
  const slow = { probes: { old: read(5, 2), new: read(5, 900) } };
  const fast = { probes: { old: read(500, 2), new: read(500, 2) } };
  const decision = last(twice({ collections: { a: fast, b: slow, c: fast } }));
  expect(decision).toMatchObject(expedited);
  expect(decision.reasons[0]).toMatchObject({ collection: 'b', seen: 2, needed: 2, observed: 45, samples: 5 });
});

test('moving the percentage moves what is expected: fewer reads at a lower one are none too few', () => {
  const at = (percentage: number, old: number, fresh: number) =>
    one({ percentage, traffic: { old: read(old, 20), new: read(fresh, 20) } });
  const steps = [...Array<Input>(5).fill(at(50, 5000, 5000)), ...Array<Input>(3).fill(at(10, 9000, 1000))];
  for (const decision of run(steps)) expect(decision.action).toBe('continue');
  expect(last([...Array<Input>(5).fill(at(10, 9000, 1000)), ...twice(at(50, 5000, 1500))])).toMatchObject(planned);
});

test('an incident that the policy leaves out does nothing', () => {
  const policy = policySchema.parse({ criticalErrors: { security_breach: false } });
  expect(last([{ incidents: [{ kind: 'security_breach' }] }], policy)).toMatchObject(goOn);
});

const side = fc.record({
  reads: fc.nat(2000),
  share: fc.double({ min: 0, max: 1, noNaN: true }),
  p50Ms: fc.option(fc.double({ min: 0, max: 5000, noNaN: true })),
});
const sideOf = ({ reads, share, p50Ms }: { reads: number; share: number; p50Ms: number | null }) => ({
  reads,
  errors: Math.floor(reads * share),
  perSecond: reads / 10,
  p50Ms,
});
const anything = fc
  .record({
    percentage: fc.integer({ min: 0, max: 100 }),
    sides: fc.tuple(side, side, side, side),
    checked: fc.nat(400),
    failed: fc.nat(400),
    missing: fc.nat(200),
    corrupted: fc.nat(20),
    gap: fc.boolean(),
    lagMs: fc.option(fc.nat(60_000)),
    incident: fc.option(fc.constantFrom('data_corruption', 'complete_system_failure', 'security_breach'), { freq: 20 }),
  })
  .map((its): Input => ({
    collections: {
      a: {
        percentage: its.percentage,
        traffic: { old: sideOf(its.sides[0]), new: sideOf(its.sides[1]) },
        probes: { old: sideOf(its.sides[2]), new: sideOf(its.sides[3]) },
        validation: {
          checked: its.checked,
          failed: Math.min(its.checked, its.failed),
          missing: its.missing,
          corrupted: its.corrupted,
        },
      },
    },
    capture: { gap: its.gap, lagMs: its.lagMs },
    incidents: its.incident === null ? [] : [{ kind: its.incident }],
  }));
const history = fc.array(anything, { minLength: 1, maxLength: 8 });

test('severity, action and mode agree, and each rollback has a reason that holds', () => {
  fc.assert(
    fc.property(history, (intervals) => {
      for (const { action, mode, severity, reasons } of run(intervals)) {
        const modes = { critical: 'immediate', high: 'expedited', medium: 'planned' } as const;
        if (action === 'rollback') {
          expect(mode).toBe(modes[severity as keyof typeof modes]);
          expect(reasons.some((one) => one.severity !== 'low' && one.seen >= one.needed)).toBe(true);
        } else {
          expect(mode).toBeUndefined();
          expect(action === 'hold').toBe(reasons.length > 0);
        }
      }
    }),
  );
});

test('an incident always wins, whatever else is seen', () => {
  fc.assert(
    fc.property(history, (intervals) => {
      for (const [n, decision] of run(intervals).entries())
        expect(decision.mode === 'immediate').toBe((intervals[n]!['incidents'] as unknown[]).length > 0);
    }),
  );
});

test('asked again with nothing new it answers the same; judged one by one or all at once is the same', () => {
  fc.assert(
    fc.property(history, (intervals) => {
      const evidence = intervals.map((its, n) => interval(n, its));
      const each = run(intervals).at(-1)!;
      const { state, ...verdict } = decide(evidence, defaultPolicy, each.state);
      expect({ ...verdict, state }).toEqual(each);
      expect(decide(evidence, defaultPolicy)).toEqual(each);
    }),
  );
});

test('without enough samples nothing of performance or validation triggers, for however long', () => {
  const few = (its: Input): Input => {
    const { a } = its['collections'] as { a: { traffic: object; probes: object; percentage: number } };
    const cut = (sides: object, most: number) =>
      Object.fromEntries(
        Object.entries(sides as Record<string, { reads: number; errors: number }>).map(([name, one]) => {
          const reads = Math.min(one.reads, most);
          return [name, { ...one, reads, errors: Math.min(one.errors, reads), perSecond: reads / 10 }];
        }),
      );
    const collection = { percentage: a.percentage, traffic: cut(a.traffic, 19), probes: cut(a.probes, 4) };
    return { collections: { a: { ...collection, validation: { checked: 49, failed: 49 } } } };
  };
  fc.assert(
    fc.property(history, (intervals) => {
      for (const decision of run(intervals.map(few))) expect(decision.action).toBe('continue');
    }),
  );
});

test('what is remembered stays small, and evidence is not changed', () => {
  fc.assert(
    fc.property(fc.array(anything, { minLength: 30, maxLength: 40 }), (intervals) => {
      const before = JSON.stringify(intervals);
      expect(JSON.stringify(last(intervals).state).length).toBeLessThan(8000);
      expect(JSON.stringify(intervals)).toBe(before);
    }),
    { numRuns: 20 },
  );
});

test('two verdicts say the same when the same triggers show, whatever their figures', () => {
  const behind = (lagMs: number) => last([{ capture: { lagMs } }]);
  expect(sameFinding(behind(31_000), behind(90_000))).toBe(true);
  expect(sameFinding(behind(31_000), behind(100))).toBe(false);
  expect(sameFinding(behind(31_000), last([{ capture: { lagMs: 31_000, quarantineShare: 0.5 } }]))).toBe(false);
  const slow = traffic(read(500, 20), read(500, 90));
  // Once it holds, twice it goes back.
  expect(sameFinding(last([slow]), last(twice(slow)))).toBe(false);
});

test('the newest sample, decided with what a slice of watching tells of those before, comes out as it did in the slice', () => {
  const slow = traffic(read(500, 20), read(500, 90));
  const evidence = [healthy, slow, slow].map((its, n) => interval(n, its));
  const before = decide(evidence.slice(0, 2), defaultPolicy, undecided).state;
  const tail = evidence.slice(-windowOf(defaultPolicy));
  expect(decide(tail, defaultPolicy, before)).toEqual(decide(evidence, defaultPolicy, undecided));
});
