// What a report is made from, made up: nothing at all, and something everywhere with a text of the test's choice in every free place.
import type { Collected } from '../../report/collect.ts';

export const empty: Collected = {
  migration: 'default',
  enrolled: [],
  counts: [],
  copied: [],
  copySlots: [],
  routes: [],
  validations: [],
  accountings: [],
  rules: [],
  capture: undefined,
  reverse: undefined,
  conflicts: [],
  late: [],
  unsaid: [],
  closed: [],
  divergences: [],
  checkpoints: [],
  snapshots: [],
  restore: undefined,
  traffic: [],
  notes: [],
  decisions: [],
  moves: [],
  others: [],
  stages: [],
  compared: [],
  sides: [],
  sideSlots: [],
  differenceSlots: [],
  notable: [],
  leftOut: {},
  verifications: [],
  performance: undefined,
};

/** The n-th second of the made-up migration. */
export const second = (n: number): Date => new Date(Date.UTC(2026, 0, 2, 3, 4, n));

export function everywhere(text: string, collection = 'token_usage'): Collected {
  const kind = [{ collection, kind: text, documents: 3 }];
  const validation = {
    collection,
    overall_status: 'failed',
    individual_results: {
      count_validation: {
        status: 'passed',
        details: { source: 100, loaded: 95, quarantined: 4, skipped: 1, missing: 0, extra: 0, examples: [text] },
      },
      sample_validation: {
        status: 'failed',
        details: {
          total_samples: 50,
          sample_details: [{ record_id: text, status: 'different', differs: ['cost'], value: text }],
        },
      },
      [text]: { status: text, error: text },
    },
    timestamp: second(40),
    runs: 2,
  };
  const side = (source: 'traffic' | 'probes', name: 'old' | 'new', mean: number) => ({
    source,
    side: name,
    reads: source === 'traffic' ? 200 : 5,
    errors: 1,
    mean,
    p95: mean * 3,
  });
  const log = { pairs: 0, sum: 0, squares: 0 };
  return {
    ...empty,
    enrolled: [collection],
    counts: [{ collection, loaded: 95, quarantined: 4, skipped: 1 }],
    copied: [{ collection, documents: 100, bytes: 51200, batches: 2, first: second(0), last: second(10) }],
    copySlots: [
      { collection, at: second(5), documents: 60 },
      { collection, at: second(10), documents: 40 },
    ],
    routes: [{ collection, percentage: 100, write_mode: 'new_system', epoch: 5 }],
    validations: [validation],
    accountings: [validation],
    rules: [{ collection, rule: text, path: text, open: 4, resolved: 2 }],
    capture: {
      opened: String(1_767_323_000n << 32n),
      position: String((1_767_323_099n << 32n) + 7n),
      lanes: 4,
      events: 70,
      documents: 60,
      stale: 1,
      pending: 0,
      redo: 2,
      p50: 12,
      p99: 40,
      most: 55,
      batches: 9,
      first: second(1),
      last: second(50),
      gaps: [{ kind: text, collection: text, detail: text, opened_at: second(11), closed_at: null }],
      lag: [
        { at: second(1), p50: 10, most: 55, events: 30 },
        { at: second(50), p50: 12, most: 20, events: 40 },
      ],
    },
    reverse: { waiting: 2, documents: 8, unchanged: 1, conflicts: 1, lateWrites: 1, unsaid: 1, lagMs: 90 },
    conflicts: kind,
    late: kind,
    unsaid: kind,
    closed: [text],
    divergences: kind,
    checkpoints: [{ name: text, phase: 'data', created_at: second(12) }],
    snapshots: [
      {
        name: text,
        createdAt: second(13).toISOString(),
        host: 'host-of-the-snapshot',
        folder: '/folder/of/the/snapshot',
        manifestSha256: 'ab'.repeat(32),
        records: 1234567,
        bytes: 2 ** 30,
        barrierMs: 21.5,
      },
    ],
    restore: { checkpoint: text, manifestSha256: 'ab'.repeat(32), startedAt: second(60).toISOString() },
    traffic: [
      {
        collection,
        side: 'new',
        reads: 10,
        errors: 1,
        latency_ms: 25,
        histogram: { 60: 10 },
        writes: 3,
        write_errors: 0,
        shadow: {},
        ratios: log,
        noise: log,
      },
    ],
    decisions: [
      { at: second(20), action: 'decision', detail: { decision: text, reason: text, severity: text, stage: text } },
    ],
    moves: [
      {
        at: second(14),
        action: 'route',
        detail: { collections: [collection], percentage: 0, writeMode: 'dual_write', reason: text },
      },
      { at: second(20), action: 'route', detail: { collections: [collection], percentage: 50, reason: text } },
      { at: second(30), action: 'fence', detail: { collections: [collection], ms: 2000 } },
      {
        at: second(31),
        action: 'writes moved',
        detail: { collections: [collection], percentage: 100, writeMode: 'new_system', pauseMs: 412 },
      },
    ],
    others: [{ at: second(15), action: text, detail: { phase: 'data', text, list: [text] } }],
    stages: [{ stage: text, samples: 9, first: second(20), last: second(30), continued: 7, held: 1, rolled: 1 }],
    compared: [{ stage: text, compared: 300, failed: 2 }],
    sides: (['old', 'new'] as const).flatMap((name) => [
      { stage: text, ...side('traffic', name, name === 'old' ? 8 : 2) },
      { stage: text, ...side('probes', name, 1) },
    ]),
    sideSlots: [20, 25, 30].flatMap((at) =>
      (['old', 'new'] as const).map((name) => ({ at: second(at), ...side('traffic', name, name === 'old' ? 8 : 2) })),
    ),
    differenceSlots: [
      { at: second(20), differing: 0, missing: 0, corrupted: 0, defects: 0 },
      { at: second(30), differing: 2, missing: 1, corrupted: 1, defects: 1 },
    ],
    notable: [
      {
        at: second(30),
        action: 'sample',
        detail: {
          stage: text,
          decision: {
            action: 'hold',
            severity: 'low',
            reasons: [
              {
                trigger: 'capture_lag',
                observed: 31_000,
                threshold: 30_000,
                samples: 1,
                window: 10,
                severity: 'low',
                seen: 1,
                needed: 1,
              },
            ],
          },
        },
      },
    ],
    leftOut: { decisions: 12 },
    verifications: [
      {
        run: {
          id: 3,
          scope: text,
          state: 'finished',
          started_at: second(41).toISOString(),
          finished_at: second(45).toISOString(),
          result: { asOf: '1767323099.7', equal: 99, different: 1, open: 0, oldestOpenSeconds: 0, text },
        },
        findings: kind,
      },
    ],
    performance: {
      overall_status: 'failed',
      against_old: 'slower',
      timestamp: second(46).toISOString(),
      took_ms: 4200,
      benchmarks: { [text]: { baseline: 100, threshold: 150, measured: 160, old: 90, unit: 'ms', status: 'failed' } },
      results: { query_performance: [{ query: text, collection, status: text, old: { p50: 3 }, new: { p50: 9 } }] },
      regressions: [{ what: text, collection, why: [text] }],
    },
    notes: [text],
  };
}
