// What the workflows of the tree tell the root. Anybody can send a signal: it is read like an order, and what is none is refused.
import { z } from 'zod';
import type { CaptureProgress, CollectionProgress, Route } from './state.ts';

const count = z.int().min(0);
const text = z.string();

const collectionProgress: z.ZodType<CollectionProgress> = z.strictObject({
  source: count,
  loaded: count,
  quarantined: count,
  skipped: count,
  chunksDone: count,
  chunksTotal: count,
});
export const progressNews = z.strictObject({ collection: text.min(1), progress: collectionProgress });

export const captureNews: z.ZodType<CaptureProgress> = z.strictObject({
  position: text.nullable(),
  lagMs: z.number().nullable(),
  gap: z.strictObject({ kind: text, detail: text }).nullable(),
  troubles: z.array(text).optional(),
}) as z.ZodType<CaptureProgress>;

const route: z.ZodType<Route> = z.strictObject({
  percentage: z.int().min(0).max(100),
  writeMode: z.enum(['old', 'dual_write', 'new_system']),
  epoch: z.int(),
});
const routing = z.record(text, route);

export const stageNews = z.strictObject({
  stage: count,
  waitingFor: text.nullable(),
  routing,
  back: z.boolean().optional(),
  soaking: z.boolean().optional(),
  decision: z.strictObject({ decision: text, reason: text, severity: text.exactOptional() }).optional(),
});

export const noticeNews = z.strictObject({ order: text.max(300), reason: text.max(1000) });

export const restoredNews = z.strictObject({ checkpoint: text, routing });

/** The news, or why it is none. */
export function readNews<T>(schema: z.ZodType<T>, payload: unknown): { order: T } | { refusal: string } {
  const read = schema.safeParse(payload);
  if (read.success) return { order: read.data };
  return { refusal: 'This is told by the workflows of the migration, and by nobody else. Nothing was changed.' };
}
