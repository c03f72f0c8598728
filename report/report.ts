// The report as a pure function of what was read. Texts that people or failures wrote go through `plain`; check results through `detailsOf`.
import type { Reason } from '../core/decision.ts';
import { quantile } from '../core/histogram.ts';
import { sentenceOf } from '../core/sentence.ts';
import type { Status } from '../core/state.ts';
import type { AuditRow } from './collect-audit.ts';
import type { Collected } from './collect.ts';
import { performanceOf, verificationOf } from './proofs.ts';
import { detailsOf, plain } from './plain.ts';
import { seriesOf } from './series.ts';
import type { Report } from './shape.ts';
import { summaryOf } from './summary.ts';

/** What the workflow said of itself, or why it said nothing. */
export type Heard = { readonly status: Status } | { readonly silent: string };

export function buildReport(read: Collected, heard: Heard, now: Date): Report {
  const status = 'status' in heard ? heard.status : undefined;
  const facts: Omit<Report, 'summary'> = {
    v: 1,
    migration: read.migration,
    generatedAt: now.toISOString(),
    workflow: workflowOf(heard),
    collections: collectionsOf(read, status),
    validation: read.validations.map((one) => ({
      collection: one.collection,
      at: iso(one.timestamp),
      status: one.overall_status,
      runs: one.runs,
      checks: Object.entries(one.individual_results).map(([check, its]) => ({
        check,
        status: its.status,
        error: its.error === undefined ? null : plain(its.error),
        details: detailsOf(its.details),
      })),
    })),
    verification: read.verifications.map(verificationOf),
    decisions: read.decisions.map(({ at, detail }) => ({
      at: iso(at),
      decision: plain(text(detail['decision']) ?? ''),
      reason: plain(text(detail['reason']) ?? ''),
      severity: text(detail['severity']) ?? null,
      stage: text(detail['stage']) ?? null,
    })),
    evidence: { stages: stagesOf(read), notable: read.notable.map(notableOf) },
    routing: read.moves.map(moveOf),
    capture: captureOf(read),
    reverse: read.reverse
      ? {
          ...read.reverse,
          conflictsBy: [...read.conflicts],
          lateBy: [...read.late],
          unsaidBy: [...read.unsaid],
          closed: [...read.closed],
        }
      : null,
    divergences: [...read.divergences],
    quarantine: read.rules.map((one) => ({ ...one, path: plain(one.path) })),
    checkpoints: read.checkpoints.map(({ name, phase, created_at }) => ({ name, phase, at: iso(created_at) })),
    // Where a snapshot lies is the name of a host and of a folder.
    snapshots: read.snapshots.map(({ name, createdAt, records, bytes, barrierMs, manifestSha256 }) => ({
      name,
      at: createdAt,
      records,
      bytes,
      barrierMs,
      manifestSha256,
    })),
    restore: read.restore ? { checkpoint: read.restore.checkpoint, startedAt: read.restore.startedAt } : null,
    performance: read.performance ? performanceOf(read.performance) : null,
    traffic: read.traffic.map((one) => ({
      collection: one.collection,
      side: one.side,
      reads: one.reads,
      errors: one.errors,
      meanMs: one.reads > 0 ? one.latency_ms / one.reads : null,
      p50Ms: quantile(one.histogram, 0.5),
      p95Ms: quantile(one.histogram, 0.95),
      p99Ms: quantile(one.histogram, 0.99),
      writes: one.writes,
      writeErrors: one.write_errors,
    })),
    events: read.others.map(({ at, action, detail }) => ({ at: iso(at), action, details: detailsOf(detail) })),
    series: seriesOf(read),
    notes: [
      ...read.notes,
      ...Object.entries(read.leftOut).map(
        ([kind, count]) => `${count} older ${kind} are not shown; they stand in migration_control.audit_log.`,
      ),
    ],
  };
  return { ...facts, summary: summaryOf(facts) };
}

function workflowOf(heard: Heard): Report['workflow'] {
  if ('silent' in heard)
    return {
      note: plain(heard.silent),
      state: null,
      phase: null,
      stagesPassed: null,
      waitingFor: null,
      lastError: null,
    };
  const { state, phase, stage, waitingFor, lastError } = heard.status;
  return {
    note: null,
    state,
    phase,
    stagesPassed: stage,
    waitingFor: waitingFor === null ? null : plain(waitingFor),
    lastError: lastError && {
      phase: lastError.phase,
      type: lastError.type,
      message: plain(lastError.message),
      advice: plain(lastError.advice),
    },
  };
}

function collectionsOf(read: Collected, status: Status | undefined): Report['collections'] {
  const names = new Set([
    ...read.enrolled,
    ...read.copied.map((one) => one.collection),
    ...read.routes.map((one) => one.collection),
    ...Object.keys(status?.collections ?? {}),
  ]);
  return [...names].sort().map((collection) => {
    const is = (one: { readonly collection: string }) => one.collection === collection;
    const now = read.counts?.find(is);
    const copied = read.copied.find(is);
    const route = read.routes.find(is);
    const accounted = accountedOf(read, collection);
    return {
      collection,
      source: accounted?.source ?? status?.collections[collection]?.source ?? null,
      now: read.counts
        ? { loaded: now?.loaded ?? 0, quarantined: now?.quarantined ?? 0, skipped: now?.skipped ?? 0 }
        : null,
      accounted,
      copy: copied
        ? {
            documents: copied.documents,
            bytes: copied.bytes,
            batches: copied.batches,
            seconds: Math.max(0, copied.last.getTime() - copied.first.getTime()) / 1000,
            from: iso(copied.first),
            to: iso(copied.last),
          }
        : null,
      route: route ? { percentage: route.percentage, writes: route.write_mode, epoch: route.epoch } : null,
    };
  });
}

function accountedOf(read: Collected, collection: string): Report['collections'][number]['accounted'] {
  const row = read.accountings.find((one) => one.collection === collection);
  const check = row?.individual_results['count_validation'];
  const details = check?.details as Record<string, unknown> | undefined;
  if (!row || !check || !details) return null;
  const number = (key: string) => Number(details[key] ?? 0) || 0;
  return {
    at: iso(row.timestamp),
    status: check.status,
    source: number('source'),
    loaded: number('loaded'),
    quarantined: number('quarantined'),
    skipped: number('skipped'),
    missing: number('missing'),
    extra: number('extra'),
  };
}

function stagesOf(read: Collected): Report['evidence']['stages'] {
  return read.stages.map((one) => {
    const sides = read.sides.filter((side) => side.stage === one.stage);
    // An application whose routers report nothing is known by the migration's own probes.
    const source = sides.some((side) => side.source === 'traffic' && side.reads > 0) ? 'traffic' : 'probes';
    const sideOf = (name: 'old' | 'new') => {
      const found = sides.find((side) => side.source === source && side.side === name);
      return {
        reads: found?.reads ?? 0,
        errors: found?.errors ?? 0,
        meanMs: found?.mean ?? null,
        p95Ms: found?.p95 ?? null,
      };
    };
    const compared = read.compared.find((row) => row.stage === one.stage);
    return {
      stage: one.stage,
      samples: one.samples,
      from: iso(one.first),
      to: iso(one.last),
      source,
      old: sideOf('old'),
      new: sideOf('new'),
      compared: compared?.compared ?? 0,
      failed: compared?.failed ?? 0,
      verdicts: { continue: one.continued, hold: one.held, rollback: one.rolled },
    };
  });
}

function notableOf({ at, detail }: AuditRow): Report['evidence']['notable'][number] {
  const decision = (detail['decision'] ?? {}) as Record<string, unknown>;
  const reasons = Array.isArray(decision['reasons']) ? (decision['reasons'] as Reason[]) : [];
  return {
    at: iso(at),
    stage: text(detail['stage']) ?? '',
    action: text(decision['action']) ?? '',
    mode: text(decision['mode']) ?? null,
    severity: text(decision['severity']) ?? '',
    reasons: reasons.map((one) => plain(sentenceOf(one))),
  };
}

function moveOf({ at, action, detail }: AuditRow): Report['routing'][number] {
  const collections = detail['collections'];
  return {
    at: iso(at),
    what: action as Report['routing'][number]['what'],
    collections: Array.isArray(collections) ? collections.map(String) : [],
    percentage: amount(detail['percentage']),
    writes: text(detail['writeMode']) ?? null,
    fenceMs: amount(detail['ms']),
    pauseMs: amount(detail['pauseMs']),
    reason: plain(text(detail['reason']) ?? ''),
  };
}

function captureOf({ capture }: Collected): Report['capture'] {
  if (!capture) return null;
  return {
    position: clusterTime(capture.position),
    openedAt: clusterTime(capture.opened),
    lanes: capture.lanes,
    events: capture.events,
    documents: capture.documents,
    stale: capture.stale,
    pendingEvents: capture.pending,
    redo: capture.redo,
    lag: {
      p50Ms: capture.p50,
      p99Ms: capture.p99,
      mostMs: capture.most,
      batches: capture.batches,
      from: capture.first && iso(capture.first),
      to: capture.last && iso(capture.last),
    },
    gaps: capture.gaps.map((gap) => ({
      kind: gap.kind,
      collection: gap.collection,
      detail: plain(gap.detail),
      openedAt: iso(gap.opened_at),
      closedAt: gap.closed_at && iso(gap.closed_at),
    })),
  };
}

const iso = (at: Date): string => at.toISOString();
const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const amount = (value: unknown): number | null => (typeof value === 'number' && value >= 0 ? value : null);
/** seconds * 2^32 + increment, as seconds.increment. */
export const clusterTime = (version: string): string => `${BigInt(version) >> 32n}.${BigInt(version) & 0xffffffffn}`;
