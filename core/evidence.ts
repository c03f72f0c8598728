// What was observed during one sampling interval: plain JSON, the only thing a rollback decision rests on. No documents, no user ids.
import { z } from 'zod';
import { incidentOrder } from './orders.ts';

const count = z.int().min(0);
const ms = z.number().min(0).nullable().default(null);

/** Latencies are null where nothing was measured. A read that hangs counts with the time it has hung. */
const side = z.strictObject({
  reads: count.default(0).describe('reads answered or failed'),
  errors: count.default(0).describe('those that failed'),
  perSecond: z.number().min(0).default(0).describe('reads answered per second'),
  meanMs: ms,
  p50Ms: ms,
  p95Ms: ms,
  p99Ms: ms,
});
const sides = z.strictObject({ old: side.prefault({}), new: side.prefault({}) }).prefault({});

const interval = z.strictObject({ value: z.number().min(0), low: z.number().min(0), high: z.number().min(0) });

const collection = z.strictObject({
  percentage: z.int().min(0).max(100).default(0).describe('share of reads routed to the new system'),
  traffic: sides.describe('the application, as its routers report it'),
  probes: sides.describe("the migration's own small queries, for applications that report nothing"),
  writes: z.strictObject({ count: count.default(0), errors: count.default(0) }).prefault({}),
  shadow: z
    .strictObject({
      compared: count.default(0),
      lag: count.default(0),
      expected: count.default(0),
      defect: count.default(0),
      failed: count.default(0).describe('the side behind failed or took too long'),
      ratio: interval.nullable().default(null).describe('latency new / old with its confidence interval'),
      noise: interval.nullable().default(null).describe('the same of old against old: what is inside is no finding'),
    })
    .prefault({}),
  validation: z
    .strictObject({
      checked: count.default(0).describe('documents compared at random in this interval'),
      failed: count.default(0).describe('of these, those that differ'),
      missing: count.default(0).describe('documents known to be missing from the target now'),
      corrupted: count.default(0).describe('documents known to differ in the target now'),
      evicted: count.optional().describe('keys of the documents compared that are not in Redis; they need not be'),
      unchecked: z.string().optional().describe('why less was checked than was to be'),
    })
    .prefault({}),
});

export const evidenceSchema = z.strictObject({
  from: z.iso.datetime().describe('begin of the interval'),
  to: z.iso.datetime().describe('its end'),
  collections: z.record(z.string(), collection).default({}),
  capture: z
    .strictObject({
      lagMs: ms,
      gap: z.boolean().default(false),
      quarantineShare: z.number().min(0).max(1).default(0),
    })
    .prefault({}),
  incidents: z
    .array(z.strictObject({ kind: incidentOrder.shape.kind, at: z.iso.datetime().optional() }))
    .default([])
    .describe('reported by people or monitors since the last interval'),
});

export type Evidence = z.infer<typeof evidenceSchema>;
export type CollectionEvidence = Evidence['collections'][string];
export type SideEvidence = CollectionEvidence['traffic']['old'];
export type Incident = Evidence['incidents'][number];

export const nothingSeen: SideEvidence = side.parse({});
