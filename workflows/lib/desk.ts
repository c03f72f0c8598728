// Where orders arrive: handlers only write here, synchronously; the migration's story is the one reader.
import { CancellationScope, condition, log, setHandler, workflowInfo } from '@temporalio/workflow';
import {
  abortOrder,
  approveOrder,
  cutoverOrder,
  examples,
  incidentOrder,
  readOrder,
  rollbackOrder,
  type AbortOrder,
  type CutoverOrder,
  type IncidentOrder,
  type RollbackOrder,
} from '../../core/orders.ts';
import type { Stage } from '../../core/settings.ts';
import { statusOf, type MigrationState } from '../../core/state.ts';
import * as contract from '../contract.ts';
import { showing } from '../proxies.ts';
import { answerOrders } from './answers.ts';
import { hearNews, keepDecision } from './news.ts';
import { refusalsOf, type Refusals } from './refusals.ts';
import { report } from './report.ts';

/** What became of a cutover order, for whoever waits for it. */
export interface PlacedCutover extends CutoverOrder {
  carriedOut: boolean;
  refusal?: string;
}

export interface Desk {
  paused: boolean;
  retries: number;
  advances: number;
  approvals: string[];
  cutovers: PlacedCutover[];
  /** For the stage that is running. */
  incidents: IncidentOrder[];
  rollback: RollbackOrder | undefined;
  abort: AbortOrder | undefined;
  /** An incident while no stage runs that could take the traffic back: parked, paused, or before a gap. */
  emergency: IncidentOrder | undefined;
  /** The root's own workflow was cancelled; what that means is decided by whose data counts. */
  cancelled: boolean;
  /** What the migration, as it stands, does not take. */
  readonly refusals: Refusals;
  /** Puts an order that was not carried out where `status` shows it. */
  refuse(order: string, reason: string): void;
}

const refusedKept = 20;

/** A bad payload is refused with a reason that shows in `status`; as an update (`answers.ts`) it is refused to the caller. */
export function openDesk(state: MigrationState, now: () => string, stages: readonly Stage[]): Desk {
  const refuse = (order: string, reason: string) => {
    log.warn('order refused', { order, reason });
    state.refused = [...state.refused, { at: now(), order, reason }].slice(-refusedKept);
    report(state);
  };
  const refusals = refusalsOf(state, stages);
  const desk: Desk = {
    paused: state.state === 'paused',
    retries: 0,
    advances: 0,
    approvals: [],
    cutovers: [],
    incidents: [],
    rollback: undefined,
    abort: undefined,
    emergency: undefined,
    cancelled: false,
    refusals,
    refuse,
  };
  const take = <T>(order: string, read: { order: T } | { refusal: string }, use: (order: T) => string | undefined) => {
    const refusal = 'refusal' in read ? read.refusal : use(read.order);
    if (refusal !== undefined) refuse(order, refusal);
  };

  const place = (order: CutoverOrder): PlacedCutover => {
    const placed = { ...order, carriedOut: false };
    desk.cutovers.push(placed);
    return placed;
  };
  const cutover = (order: CutoverOrder) => refusals.cutover(order) ?? void place(order);
  /** An order that comes with the end of a compensation is read before that end is: what its sender saw parked is so a moment later. */
  const endOfCompensation = async (): Promise<void> => {
    if (state.state === 'compensating')
      await CancellationScope.nonCancellable(() => condition(() => state.state !== 'compensating', '5s'));
  };
  const retry = async (): Promise<string | undefined> => {
    await endOfCompensation();
    if (state.state !== 'parked') {
      const { migration } = state;
      // What outlives whoever started it is no pending child of anybody.
      const roots = [
        workflowInfo().workflowId,
        contract.rollbackId(migration),
        contract.captureId(migration),
        contract.reverseId(migration),
      ];
      const ended = await CancellationScope.nonCancellable(() => showing.endBackOffs(roots)).catch(() => []);
      // One that had used up its attempts meanwhile is parked.
      if (ended.length > 0 && refusals.retry() !== undefined) return undefined;
    }
    const refusal = refusals.retry();
    if (refusal === undefined) desk.retries++;
    return refusal;
  };
  const incident = (order: IncidentOrder): void => {
    keepDecision(state, { decision: `incident reported: ${order.kind}`, reason: order.detail });
    // A stage judges it at once; elsewhere in the cutover the traffic goes back; before it somebody has to look.
    if (state.phase === 'cutover' && state.state === 'running') desk.incidents.push(order);
    else if (state.phase === 'cutover' && state.state !== 'compensating') desk.emergency = order;
    else desk.paused = true;
  };

  setHandler(contract.statusQuery, () => statusOf(state), {
    description: 'Where the migration stands, and what it waits for',
  });
  setHandler(contract.routingQuery, () => state.routing, {
    description: 'Where reads and writes of each collection go',
  });
  setHandler(contract.checkpointsQuery, () => state.checkpoints, { description: 'Points to roll back to' });
  setHandler(contract.waysBackQuery, refusals.waysBack, { description: 'Where `rollback` may go' });
  setHandler(contract.decisionsQuery, () => state.decisions, { description: 'What was decided, and why' });

  setHandler(
    contract.pauseSignal,
    () => (desk.paused ? refuse('pause', pausedAlready(state)) : void (desk.paused = true)),
    { description: 'Stop at the next safe place; resume goes on from there' },
  );
  setHandler(
    contract.resumeSignal,
    () => {
      const refusal = desk.paused ? undefined : refusals.resume();
      if (refusal !== undefined) refuse('resume', refusal);
      desk.paused = false;
    },
    { description: 'Go on after a pause' },
  );
  setHandler(
    contract.retrySignal,
    async () => {
      const refusal = await retry();
      if (refusal !== undefined) refuse('retry', refusal);
    },
    { description: 'Try the parked step again, or at once what waits to be tried again by itself' },
  );
  setHandler(
    contract.advanceStageSignal,
    () => {
      const refusal = refusals.advance();
      if (refusal === undefined) desk.advances++;
      else refuse('advanceStage', refusal);
    },
    { description: 'End the soak of this cutover stage now' },
  );
  setHandler(
    contract.setCutoverPercentageSignal,
    (payload) => take('setCutoverPercentage', readOrder(cutoverOrder, payload, examples.setCutoverPercentage), cutover),
    {
      description: `Send a share of reads to the new system: ${examples.setCutoverPercentage}`,
    },
  );
  setHandler(
    contract.approveSignal,
    (payload) =>
      take(
        'approve',
        readOrder(approveOrder, payload, examples.approve),
        ({ gate }) => refusals.gate(gate) ?? void desk.approvals.push(gate),
      ),
    {
      description: `Open a gate: ${examples.approve}`,
    },
  );
  setHandler(
    contract.rollbackSignal,
    (payload) =>
      take(
        'rollback',
        readOrder(rollbackOrder, payload, examples.rollback),
        (order) => refusals.rollback(order) ?? void (desk.rollback = order),
      ),
    {
      description: `Undo, newest first, to a checkpoint or altogether: ${examples.rollback}`,
    },
  );
  setHandler(
    contract.abortSignal,
    (payload) =>
      take(
        'abort',
        readOrder(abortOrder, payload, examples.abort),
        (order) => refusals.abort() ?? void (desk.abort = order),
      ),
    {
      description: `Undo everything and end: ${examples.abort}`,
    },
  );
  setHandler(
    contract.reportIncidentSignal,
    (payload) =>
      take(
        'reportIncident',
        readOrder(incidentOrder, payload, examples.reportIncident),
        (order) => void incident(order),
      ),
    {
      description: `Report an incident: a cutover stage goes back at once, anything else pauses: ${examples.reportIncident}`,
    },
  );
  hearNews(state, refuse);
  answerOrders(state, desk, { place, retry, incident });
  return desk;
}

const pausedAlready = ({ state }: MigrationState): string =>
  state === 'paused'
    ? 'The migration is paused already.'
    : 'A pause is ordered already; it comes at the next safe place.';

/** Whether somebody has ordered a way back. */
export const wantsBack = (desk: Desk): boolean =>
  desk.rollback !== undefined || desk.abort !== undefined || desk.emergency !== undefined || desk.cancelled;

/** Whether the running phase has to stop for an order. */
export const wantsOut = (desk: Desk): boolean => desk.paused || wantsBack(desk);
