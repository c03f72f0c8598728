// When to hold and when to roll back, as data: the strategy's triggers and thresholds (section 6.1) are the defaults.
import { z } from 'zod';

export const severities = ['none', 'low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof severities)[number];

const severity = (its: 'medium' | 'high' | 'critical') =>
  z.enum(['medium', 'high', 'critical']).default(its).describe('critical: at once; high: drain first; medium: planned');
const intervals = (its: number) =>
  z.int().min(1).max(100).default(its).describe('intervals in a row that must show it before it counts');
const window = (its: number) => z.int().min(1).max(60).default(its).describe('intervals that are added up');
const samples = (its: number) => z.int().min(1).default(its).describe('fewer are not judged');

export const policySchema = z.strictObject({
  intervalSeconds: z.number().positive().default(10).describe('time between two samplings, s'),
  criticalErrors: z
    .strictObject({
      data_corruption: z.boolean().default(true),
      complete_system_failure: z.boolean().default(true),
      security_breach: z.boolean().default(true),
    })
    .prefault({})
    .describe('incidents that roll back at once'),
  queryTime: z
    .strictObject({
      ratio: z.number().min(1).default(3).describe('new / old above which it counts'),
      quantile: z.enum(['p50', 'p95', 'p99']).default('p50'),
      floorMs: z.number().min(0).default(20).describe('faster than this is as fast as this, ms'),
      minimumReads: samples(20),
      minimumProbes: samples(5),
      intervals: intervals(2),
      severity: severity('high'),
    })
    .prefault({}),
  throughput: z
    .strictObject({
      ratio: z.number().min(0).max(1).default(0.5).describe('share of the expected reads below which it counts'),
      minimumReads: samples(100),
      learningIntervals: z.int().min(1).default(3).describe('intervals from which the expectation is learnt first'),
      intervals: intervals(2),
      severity: severity('medium'),
    })
    .prefault({}),
  errorRate: z
    .strictObject({
      increase: z.number().min(0).max(1).default(0.05).describe('error share new - old above which it counts'),
      minimumReads: samples(20),
      minimumProbes: samples(5),
      window: window(1),
      intervals: intervals(2),
      severity: severity('high'),
    })
    .prefault({}),
  validationFailures: z
    .strictObject({
      rate: z.number().min(0).max(1).default(0.01).describe('share of compared documents above which it counts'),
      minimumChecked: samples(100),
      window: window(2),
      intervals: intervals(1),
      severity: severity('medium'),
    })
    .prefault({}),
  missingRecords: z
    .strictObject({ count: z.int().min(1).default(100), intervals: intervals(1), severity: severity('high') })
    .prefault({})
    .describe('as many or more'),
  corruptedRecords: z
    .strictObject({ count: z.int().min(1).default(10), intervals: intervals(1), severity: severity('high') })
    .prefault({})
    .describe('as many or more'),
  hold: z
    .strictObject({
      lagMs: z.number().min(0).default(30_000).describe('change capture further behind than this, ms'),
      quarantineShare: z.number().min(0).max(1).default(0.2).describe('larger share of quarantined documents'),
      shadowDefects: z.int().min(1).default(1).describe('as many shadow reads or more that differ without a reason'),
    })
    .prefault({})
    .describe('what keeps the traffic where it is without going back; an open gap always does'),
  escalateAt: z.int().min(2).default(2).describe('as many different triggers of medium severity are high together'),
  forgetSeconds: z.number().positive().default(60).describe('a trigger not seen for so long begins to count anew, s'),
});
export type Policy = z.infer<typeof policySchema>;

export const defaultPolicy: Policy = policySchema.parse({});
