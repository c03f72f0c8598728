// Checkpoints of the stores: what they may be called, and what their manifest says. Pure.
import { z } from 'zod';
import { isPhase } from './story.ts';

const pattern = /^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$/;

/** A name becomes a folder's: no separators, no dots beside each other. Phases have checkpoints of their own. */
export function refuseName(name: string): string | undefined {
  if (name.length > 100 || !pattern.test(name) || name.includes('.part-'))
    return `"${name.slice(0, 100)}" cannot be a checkpoint's name: letters, digits, dashes, underscores and single dots, at most 100, beginning with a letter or digit.`;
  return isPhase(name)
    ? `"${name}" is the name of a phase, which has a checkpoint of its own; choose another.`
    : undefined;
}

/** For whoever asks for a rollback to a checkpoint of the stores. */
export const restoreHint = (name: string): string =>
  `If ${name} is a checkpoint of the stores (\`causeway checkpoint list\`), \`causeway checkpoint restore ${name}\` puts it back.`;

/** `20261125T022302Z`: sorts by time. */
export const nameAt = (time: Date): string => time.toISOString().replace(/[-:]|\.\d+/g, '');

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);

const file = z.strictObject({
  /** Inside the snapshot's folder. */
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.%-]*$/),
  bytes: count,
  sha256,
});
const part = z.strictObject({
  store: z.enum(['postgres', 'mongodb', 'redis', 'files']),
  /** `schema.table`, a collection, a prefix of keys, or `files`. */
  name: z.string(),
  records: count,
  /** Of the records, whatever their order and however they are compressed (stores/snapshots/digest.ts). */
  digest: z.string().regex(/^[0-9a-f]{32}$/),
  files: z.array(file),
  /** PostgreSQL: columns in the order of the rows' values. */
  columns: z.array(z.strictObject({ name: z.string(), type: z.string() })).optional(),
  /** MongoDB: options and indexes, as Extended JSON. */
  options: z.string().optional(),
  indexes: z.string().optional(),
});

export const manifestSchema = z.strictObject({
  format: z.literal(1),
  migration: z.string(),
  name: z.string(),
  createdAt: z.string(),
  /** The run of the workflow that made it: asked again, the same run finds its work done. */
  run: z.string(),
  codec: z.enum(['gzip', 'zstd']),
  /** Id of the key that the files are encrypted with. */
  key: z.string().regex(/^[0-9a-f]{12}$/),
  cut: z.strictObject({
    at: z.string(),
    lsn: z.string(),
    /** Cluster time up to which captured changes stand in the targets; null where nothing is captured. */
    captured: z.string().nullable(),
    /** How MongoDB was read, and its cluster time. */
    mongodb: z.strictObject({ read: z.enum(['clusterTime', 'transaction']), clusterTime: z.string() }),
  }),
  barrierMs: z.number(),
  /** Files of control/sql that had been applied. */
  controlSchema: z.array(z.string()),
  mappings: z.record(z.string(), z.int()),
  routing: z.record(
    z.string(),
    z.strictObject({ percentage: z.int(), writeMode: z.enum(['old', 'dual_write', 'new_system']), epoch: z.int() }),
  ),
  /** What the migration's workflow answered to `status`; null where it was not asked. */
  workflow: z.unknown(),
  sequences: z.array(z.strictObject({ table: z.string(), column: z.string(), value: z.string() })),
  parts: z.array(part),
});
export type Manifest = z.infer<typeof manifestSchema>;
export type ManifestPart = z.infer<typeof part>;

export const totalOf = ({ parts }: Pick<Manifest, 'parts'>): { records: number; bytes: number } => ({
  records: parts.reduce((sum, one) => sum + one.records, 0),
  bytes: parts.flatMap((one) => one.files).reduce((sum, one) => sum + one.bytes, 0),
});
