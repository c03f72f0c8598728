// The report as data: what `causeway report --json` prints and what the page is drawn from. No ids, contents, addresses or people.
import { z } from 'zod';

const at = z.iso.datetime().describe('UTC');
const count = z.number().min(0);
const ms = z.number().min(0).nullable();
const verdict = z
  .enum(['good', 'open', 'bad', 'plain'])
  .describe('good: as it should be; open: still to be seen to; bad: wrong; plain: a fact');
export type Verdict = z.infer<typeof verdict>;

const details = z.array(z.strictObject({ name: z.string(), value: z.string() }));
const perCollection = z.array(z.strictObject({ collection: z.string(), kind: z.string(), documents: count }));
const three = z.strictObject({ loaded: count, quarantined: count, skipped: count });

const workflow = z.strictObject({
  note: z.string().nullable().describe('why the workflow was not asked; null: it answered'),
  state: z.string().nullable(),
  phase: z.string().nullable(),
  stagesPassed: count.nullable().describe('stages of the cutover that were passed'),
  waitingFor: z.string().nullable(),
  lastError: z
    .strictObject({ phase: z.string(), type: z.string(), message: z.string(), advice: z.string() })
    .nullable(),
});

const summary = z.strictObject({
  verdict,
  headline: z.string(),
  points: z.array(z.strictObject({ label: z.string(), value: z.string(), verdict })),
  open: z.array(z.string()).describe('what somebody has still to see to'),
});

const collection = z.strictObject({
  collection: z.string(),
  source: count.nullable().describe('documents of the source, as last counted'),
  now: three.nullable().describe('the ledger, now; null where it could not be counted in time'),
  accounted: three
    .extend({ at, status: z.string(), source: count, missing: count, extra: count })
    .nullable()
    .describe('the newest accounting by key: source = loaded + quarantined + skipped, nothing missing or extra'),
  copy: z
    .strictObject({
      documents: count,
      bytes: count,
      batches: count,
      seconds: z.number().min(0),
      from: at,
      to: at,
    })
    .nullable(),
  route: z
    .strictObject({ percentage: count.describe('reads on the new system, %'), writes: z.string(), epoch: count })
    .nullable(),
});

const validation = z.strictObject({
  collection: z.string(),
  at,
  status: z.string(),
  runs: count.describe('validations of this collection so far; this is the newest'),
  checks: z.array(z.strictObject({ check: z.string(), status: z.string(), error: z.string().nullable(), details })),
});

const verification = z.strictObject({
  run: z.string(),
  state: z.string(),
  startedAt: at.nullable(),
  finishedAt: at.nullable(),
  asOf: z.string().nullable().describe('cluster time that the result holds for, seconds.increment'),
  equal: count.nullable(),
  different: count.nullable(),
  open: count.nullable(),
  oldestOpenSeconds: count.nullable(),
  details,
  findings: perCollection,
});

const decision = z.strictObject({
  at,
  decision: z.string(),
  reason: z.string(),
  severity: z.string().nullable(),
  stage: z.string().nullable(),
});

const sideOfStage = z.strictObject({ reads: count, errors: count, meanMs: ms, p95Ms: ms });
const evidence = z.strictObject({
  stages: z.array(
    z.strictObject({
      stage: z.string(),
      samples: count,
      from: at,
      to: at,
      source: z.enum(['traffic', 'probes']).describe("the application's reads, or our own where it reports none"),
      old: sideOfStage,
      new: sideOfStage,
      compared: count.describe('documents compared'),
      failed: count.describe('of these, those that differed'),
      verdicts: z.strictObject({ continue: count, hold: count, rollback: count }),
    }),
  ),
  notable: z
    .array(
      z.strictObject({
        at,
        stage: z.string(),
        action: z.string(),
        mode: z.string().nullable(),
        severity: z.string(),
        reasons: z.array(z.string()),
      }),
    )
    .describe('samples that did not say "continue", newest first'),
});

const routing = z.strictObject({
  at,
  what: z.enum(['route', 'fence', 'writes moved']),
  collections: z.array(z.string()),
  percentage: count.nullable(),
  writes: z.string().nullable(),
  fenceMs: ms.describe('the longest that writers were to wait'),
  pauseMs: ms.describe('how long they waited'),
  reason: z.string(),
});

const capture = z.strictObject({
  position: z.string().describe('cluster time up to which every change stands in the targets, seconds.increment'),
  openedAt: z.string().describe('cluster time from which changes were captured'),
  lanes: count,
  events: count,
  documents: count,
  stale: count.describe('versions that a newer one had overtaken'),
  pendingEvents: count,
  redo: count.describe('documents waiting to be read again'),
  lag: z.strictObject({ p50Ms: ms, p99Ms: ms, mostMs: ms, batches: count, from: at.nullable(), to: at.nullable() }),
  gaps: z.array(
    z.strictObject({
      kind: z.string(),
      collection: z.string().nullable(),
      detail: z.string(),
      openedAt: at,
      closedAt: at.nullable(),
    }),
  ),
});

const reverse = z.strictObject({
  waiting: count,
  lagMs: count,
  documents: count.describe('brought back'),
  unchanged: count.describe('looked at and found equal'),
  conflicts: count,
  lateWrites: count,
  unsaid: count.describe('documents with something that the old system has no form for'),
  conflictsBy: perCollection.describe('kind: the side that was kept'),
  lateBy: perCollection,
  unsaidBy: perCollection,
  closed: z.array(z.string()).describe('old collections closed to writers past the library'),
});

const performance = z.strictObject({
  at,
  status: z.string(),
  againstOld: z.string(),
  tookMs: count,
  benchmarks: z.array(
    z.strictObject({
      name: z.string(),
      baseline: z.number().nullable(),
      threshold: z.number().nullable(),
      measured: z.number().nullable(),
      old: z.number().nullable(),
      unit: z.string(),
      status: z.string(),
    }),
  ),
  queries: z.array(
    z.strictObject({
      query: z.string(),
      collection: z.string(),
      status: z.string(),
      oldP50Ms: ms,
      newP50Ms: ms,
      expectedMs: ms,
    }),
  ),
  regressions: z.array(z.strictObject({ what: z.string(), collection: z.string().nullable(), why: z.string() })),
});

const series = z.strictObject({
  copy: z
    .array(z.strictObject({ collection: z.string(), points: z.array(z.strictObject({ at, documents: count })) }))
    .describe('documents copied so far'),
  lag: z.array(z.strictObject({ at, p50Ms: count, mostMs: count, events: count })),
  latency: z.array(
    z.strictObject({ at, source: z.enum(['traffic', 'probes']), oldMs: ms, newMs: ms, oldP95Ms: ms, newP95Ms: ms }),
  ),
  routes: z
    .array(
      z.strictObject({
        collections: z.array(z.string()),
        points: z.array(z.strictObject({ at, percentage: count, writes: z.string() })),
      }),
    )
    .describe('collections that were always routed alike stand together'),
  differences: z.array(
    z.strictObject({ at, differing: count, missing: count, corrupted: count, shadowDefects: count }),
  ),
});

export const reportSchema = z.strictObject({
  v: z.literal(1),
  migration: z.string(),
  generatedAt: at,
  workflow,
  summary,
  collections: z.array(collection),
  validation: z.array(validation),
  verification: z.array(verification),
  decisions: z.array(decision),
  evidence,
  routing: z.array(routing),
  capture: capture.nullable(),
  reverse: reverse.nullable(),
  divergences: perCollection.describe('documents known to be missing or to differ, now'),
  quarantine: z.array(
    z.strictObject({
      collection: z.string(),
      rule: z.string(),
      path: z.string(),
      open: count,
      resolved: count,
    }),
  ),
  checkpoints: z.array(z.strictObject({ name: z.string(), phase: z.string(), at })),
  snapshots: z.array(
    z.strictObject({
      name: z.string(),
      at,
      records: count,
      bytes: count,
      barrierMs: count.describe('how long writers were kept waiting'),
      manifestSha256: z.string(),
    }),
  ),
  restore: z
    .strictObject({ checkpoint: z.string(), startedAt: at })
    .nullable()
    .describe('a restore that has begun and not ended: the targets are not whole'),
  performance: performance.nullable(),
  traffic: z
    .array(
      z.strictObject({
        collection: z.string(),
        side: z.string(),
        reads: count,
        errors: count,
        meanMs: ms,
        p50Ms: ms,
        p95Ms: ms,
        p99Ms: ms,
        writes: count,
        writeErrors: count,
      }),
    )
    .describe('what routers reported in the last hour'),
  events: z.array(z.strictObject({ at, action: z.string(), details })).describe('the rest of the audit log'),
  series,
  notes: z.array(z.string()).describe('what this report could not tell, and why'),
});

export type Report = z.infer<typeof reportSchema>;
export type Series = Report['series'];
export type Details = z.infer<typeof details>;
