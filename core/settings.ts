// What an operator may configure: schema, defaults and units. Parsed once, before anything is started; unknown keys are refused.
import { z } from 'zod';
import { policySchema } from './policy.ts';

const seconds = z.number().min(0);
const stage = z.strictObject({
  name: z.string().min(1),
  percentage: z.int().min(0).max(100).describe('share of reads on the new system, %'),
  writes: z.enum(['dual_write', 'new_system']).default('dual_write'),
  soakSeconds: seconds.describe('time to watch the stage before the next, s'),
  approve: z.boolean().default(false).describe('wait for `approve` with the stage name before the stage begins'),
  validate: z.boolean().default(false).describe('run the validation at the end of the soak; the stage passes with it'),
  performance: z
    .boolean()
    .default(false)
    .describe('compare the performance of both systems at the end of the soak; the stage passes with it'),
});
export type Stage = z.infer<typeof stage>;

const week = 7 * 24 * 3600;
const reads = {
  writes: 'dual_write',
  soakSeconds: week,
  approve: false,
  validate: false,
  performance: false,
} as const;

const limits = (baseline: number, threshold: number, unit: string) =>
  z
    .strictObject({ baseline: z.number().positive(), threshold: z.number().positive() })
    .default({ baseline, threshold })
    .describe(unit);

/** The strategy's benchmarks, and how they are measured. */
export const performanceSchema = z.strictObject({
  query_response_time: limits(100, 150, '95 % of the reads under load are faster, ms'),
  throughput: limits(1000, 800, 'reads answered at the offered rate, req/s'),
  memory_usage: limits(2048, 3072, "resident memory of the workers and the new system's servers, MB"),
  cpu_utilization: limits(60, 80, 'share of the host that workers and servers of the new system use under load, %'),
  rate: z.number().positive().default(1000).describe('reads offered by the load test, req/s'),
  seconds: z.number().positive().max(3600).default(10).describe('length of the load test, each system, s'),
  connections: z.int().min(1).max(200).default(16).describe('connections to each store while measuring'),
  samples: z.int().min(10).max(10_000).default(200).describe('measured questions per query and system, at most'),
  timeoutMs: z.int().min(100).default(5000).describe('a read that takes longer has failed, ms'),
  tolerance: z
    .number()
    .min(0)
    .default(0.25)
    .describe('share by which a query over its limit may be slower than in the old system'),
  maxAgeSeconds: z.number().positive().default(3600).describe('how old results may be that a gate accepts, s'),
});
export type PerformanceSettings = z.infer<typeof performanceSchema>;

export const settingsSchema = z.strictObject({
  collections: z.array(z.string()).optional().describe('mapping names to migrate; all mappings otherwise'),
  zone: z.string().default('Asia/Shanghai').describe('IANA zone of timestamps written without one'),
  providers: z.array(z.string().toLowerCase()).default([]).describe('model providers allowed besides the known ones'),
  parallelism: z.int().min(1).max(64).default(4).describe('chunks copied at the same time'),
  chunkDocuments: z.int().min(1000).optional().describe('documents in a chunk; chosen from measured cost otherwise'),
  segmentBytes: z
    .int()
    .min(65_536)
    .max(64 * 1024 * 1024)
    .default(4 * 1024 * 1024)
    .describe('most bytes in one spool segment'),
  segmentDocuments: z.int().min(1).max(200_000).default(20_000).describe('most documents in one spool segment'),
  copyLagMs: z
    .number()
    .min(0)
    .default(2000)
    .describe('most that capture may be behind while the copy goes on; above, each segment waits up to 20 seconds, ms'),
  captureLanes: z
    .int()
    .min(1)
    .max(64)
    .default(4)
    .describe('lanes that apply captured changes, each a share of the keys'),
  clashSeconds: seconds
    .default(10)
    .describe('how long a document waits for a unique value that another holds before it is quarantined, s'),
  sampleRate: z.number().min(0).max(1).default(0.1).describe('share of documents compared after the copy'),
  sampleMinimum: z.int().min(0).default(1000).describe('documents compared at least, per collection'),
  sampleMaximum: z.int().min(1).default(20_000).describe('documents compared at most, per collection'),
  quarantineBudget: z
    .number()
    .min(0)
    .max(1)
    .default(0.2)
    .describe('share of quarantined documents above which validation fails'),
  performance: performanceSchema.prefault({}).describe('benchmarks; see below'),
  verifyRowsPerSecond: z
    .number()
    .min(0)
    .default(0)
    .describe('most documents, and most rows, that verification compares per second; 0: as fast as it can'),
  configurationDirectory: z.string().default('configuration').describe('where configuration files are written'),
  snapshotDirectory: z
    .string()
    .min(1)
    .default('snapshots')
    .describe('where checkpoints of all stores are written; a relative path begins at the home of the worker'),
  allowForeignTables: z.boolean().default(false).describe('accept a target database with other, unrelated tables'),
  approvalSeconds: seconds.default(week).describe('how long an approval is waited for, s'),
  stages: z
    .array(stage)
    .min(1)
    .default([
      { name: 'phase_1_reads', percentage: 10, ...reads },
      { name: 'phase_2_reads', percentage: 50, ...reads, performance: true },
      { name: 'phase_3_reads', percentage: 90, ...reads, validate: true },
      { name: 'phase_4_writes', percentage: 100, ...reads, writes: 'new_system', approve: true },
    ]),
  sampleSeconds: z
    .number()
    .min(0.5)
    .max(600)
    .default(10)
    .describe('time between two samplings while a stage is watched, s'),
  policy: policySchema.prefault({}).describe('when to hold and when to go back (core/policy.ts)'),
  gateLagMs: z.number().min(0).default(5000).describe('most that capture may be behind when a stage begins, ms'),
  gateSeconds: seconds.default(600).describe('how long a shut gate is waited for before the migration parks, s'),
  fenceMs: z
    .number()
    .min(600)
    .max(60_000)
    .default(2000)
    .describe('longest that writers wait while writes are moved; longer, and nothing is moved, ms'),
  decommission: z
    .boolean()
    .default(false)
    .describe('after the last stage, wait for `approve decommission` and take the old system out of use'),
  probeRole: z
    .string()
    .optional()
    .describe('database role of the application, in which the probes of a watched stage are made'),
});
export type Settings = z.infer<typeof settingsSchema>;

/** The settings, or a sentence per problem. */
export function readSettings(input: unknown): { settings: Settings } | { problems: string[] } {
  const read = settingsSchema.safeParse(input);
  if (read.success) return { settings: read.data };
  return { problems: read.error.issues.map((issue) => `${issue.path.join('.') || 'configuration'}: ${issue.message}`) };
}
