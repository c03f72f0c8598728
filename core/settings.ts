// What an operator may configure: schema, defaults and units. Parsed once, before anything is started; unknown keys are refused.
import { z } from 'zod';

const seconds = z.number().min(0);
const stage = z.strictObject({
  name: z.string().min(1),
  percentage: z.int().min(0).max(100).describe('share of reads on the new system, %'),
  writes: z.enum(['dual_write', 'new_system']).default('dual_write'),
  soakSeconds: seconds.describe('time to watch the stage before the next, s'),
  approve: z.boolean().default(false).describe('wait for `approve` with the stage name before the stage begins'),
});
export type Stage = z.infer<typeof stage>;

const week = 7 * 24 * 3600;

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
  verifyRowsPerSecond: z
    .number()
    .min(0)
    .default(0)
    .describe('most documents, and most rows, that verification compares per second; 0: as fast as it can'),
  configurationDirectory: z.string().default('configuration').describe('where configuration files are written'),
  allowForeignTables: z.boolean().default(false).describe('accept a target database with other, unrelated tables'),
  approvalSeconds: seconds.default(week).describe('how long an approval is waited for, s'),
  stages: z
    .array(stage)
    .min(1)
    .default([
      { name: 'phase_1_reads', percentage: 10, writes: 'dual_write', soakSeconds: week, approve: false },
      { name: 'phase_2_reads', percentage: 50, writes: 'dual_write', soakSeconds: week, approve: false },
      { name: 'phase_3_reads', percentage: 90, writes: 'dual_write', soakSeconds: week, approve: false },
      { name: 'phase_4_writes', percentage: 100, writes: 'new_system', soakSeconds: week, approve: true },
    ]),
});
export type Settings = z.infer<typeof settingsSchema>;

/** The settings, or a sentence per problem. */
export function readSettings(input: unknown): { settings: Settings } | { problems: string[] } {
  const read = settingsSchema.safeParse(input);
  if (read.success) return { settings: read.data };
  return { problems: read.error.issues.map((issue) => `${issue.path.join('.') || 'configuration'}: ${issue.message}`) };
}
