// What the gates of a cutover stage look at, and the watching of a stage.
import { Context, heartbeat } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import { noteAudit } from '../control/audit.ts';
import { captureStatus, currentGap } from '../control/capture.ts';
import { reverseStatus } from '../control/reverse.ts';
import { shutGates, type GateFacts, type GateLimits } from '../core/cutover.ts';
import { decide, sameFinding, windowOf, type DecisionState, type Policy } from '../core/decision.ts';
import type { Evidence } from '../core/evidence.ts';
import { clockOf } from '../stores/mongodb/changes.ts';
import { query } from '../stores/postgres/connection.ts';
import { sampleEvidence } from './evidence.ts';
import { quarantineShare } from './quarantine.ts';
import type { Resources } from './resources.ts';

/** A sentence per gate that is shut. */
export async function gatesOf(resources: Resources, limits: GateLimits): Promise<string[]> {
  const { postgres, source } = resources;
  const capture = await captureStatus(postgres, await clockOf(source.db));
  const validation = await query<{ collection: string; overall_status: 'passed' | 'failed' | 'error' }>(
    postgres,
    'reading the newest validation',
    'select distinct on (collection) collection, overall_status from migration_control.validation_results order by collection, id desc',
  );
  const quarantine = await quarantineShare(resources, limits.collections, limits.quarantineShare);
  const reverse = await reverseStatus(postgres);
  const facts: GateFacts = {
    lagMs: capture?.lagMs ?? null,
    gap: (await currentGap(postgres))?.detail ?? null,
    validation: Object.fromEntries(validation.map((row) => [row.collection, row.overall_status])),
    quarantine: Object.fromEntries(quarantine.collections.map((one) => [one.collection, one.share])),
    reverse: reverse ? { waiting: reverse.waiting, lagMs: reverse.lagMs } : null,
  };
  return shutGates(facts, limits);
}

export interface WatchOrder {
  readonly stage: string;
  readonly collections: readonly string[];
  readonly policy: Policy;
  readonly sampleSeconds: number;
  readonly settings: { readonly zone: string; readonly providers: readonly string[] };
  readonly state: DecisionState;
  /** Evidence that windows reach back to. */
  readonly recent: readonly Evidence[];
  readonly ms: number;
  readonly probeRole?: string;
}

/** What a slice of watching has seen: the state before the newest sample, and that sample with those its windows reach back to. */
export interface Watched {
  readonly before: DecisionState;
  readonly evidence: readonly Evidence[];
}

/**
 * Samples until the time is over, or until the policy finds something else than it had found before. Each sample and what the policy says of
 * it stand in the audit log; the caller decides the newest anew, by the same function. It is told no more than that takes: a week of samples
 * would be more than a history holds.
 */
export async function watchStage(resources: Resources, order: WatchOrder): Promise<Watched> {
  const { cancellationSignal } = Context.current();
  const until = performance.now() + order.ms;
  let before = order.state;
  let { state } = order;
  let recent = [...order.recent];
  do {
    await sleep(order.sampleSeconds * 1000, undefined, { signal: cancellationSignal }).catch(() => undefined);
    if (cancellationSignal.aborted) break;
    heartbeat();
    const evidence = await sampleEvidence(
      resources,
      {
        collections: order.collections,
        windowSeconds: order.sampleSeconds,
        settings: { zone: order.settings.zone, providers: [...order.settings.providers] },
        ...(order.probeRole !== undefined && { probeRole: order.probeRole }),
      },
      () => heartbeat(),
    );
    before = state;
    const decision = decide([...recent, evidence], order.policy, before);
    recent = [...recent, evidence].slice(-windowOf(order.policy));
    state = decision.state;
    const { action, mode, severity, reasons } = decision;
    // The store that would keep it may be what is failing.
    const sampled = { stage: order.stage, evidence, decision: { action, mode, severity, reasons } };
    await noteAudit(resources.postgres, 'sample', sampled).catch(() => undefined);
    if (!sameFinding(decision, order.state.last)) break;
  } while (performance.now() < until);
  return { before, evidence: recent };
}
