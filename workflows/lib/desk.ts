// Where orders arrive: handlers only write here, synchronously; the migration's story is the one reader.
import { ApplicationFailure, condition, log, patched, setHandler } from '@temporalio/workflow';
import { restoreHint } from '../../core/checkpoints.ts';
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
import { isOver, statusOf, type CollectionProgress, type MigrationState } from '../../core/state.ts';
import * as contract from '../contract.ts';

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
  /** Cutover orders taken from the desk and carried out. */
  carriedOut: number;
  rollback: RollbackOrder | undefined;
  abort: AbortOrder | undefined;
  /** Puts an order that was not carried out where `status` shows it. */
  refuse(order: string, reason: string): void;
}

/** Histories recorded before each caller waited for its own order replay with the turns counted then. */
const ownAnswer = 'own-answer';

const refusedKept = 20;

/** A bad payload is refused with a reason that shows in `status`; as an update it is refused to the caller, and leaves no history. */
export function openDesk(state: MigrationState, now: () => string, stages: readonly Stage[]): Desk {
  const refuse = (order: string, reason: string) => {
    log.warn('order refused', { order, reason });
    state.refused = [...state.refused, { at: now(), order, reason }].slice(-refusedKept);
  };
  const desk: Desk = {
    paused: state.state === 'paused',
    retries: 0,
    advances: 0,
    approvals: [],
    cutovers: [],
    incidents: [],
    carriedOut: 0,
    rollback: undefined,
    abort: undefined,
    refuse,
  };
  const take = <T>(order: string, read: { order: T } | { refusal: string }, use: (order: T) => string | undefined) => {
    const refusal = 'refusal' in read ? read.refusal : use(read.order);
    if (refusal !== undefined) refuse(order, refusal);
  };

  const refuseCutover = (order: CutoverOrder): string | undefined => {
    if (state.capture?.gap && order.percentage > 0)
      return `Change capture has a gap (${state.capture.gap.detail}): run \`causeway repair\` first. Traffic can only be taken back, with 0 %.`;
    if (state.phase !== 'cutover' || isOver(state.state))
      return `Traffic can be moved only in the cutover phase; the migration is in ${state.phase}, ${state.state}.`;
    if (order.collection !== undefined && !(order.collection in state.collections))
      return `collection: there is no ${order.collection}; known are ${Object.keys(state.collections).join(', ')}.`;
    return undefined;
  };
  const place = (order: CutoverOrder): PlacedCutover => {
    const placed = { ...order, carriedOut: false };
    desk.cutovers.push(placed);
    return placed;
  };
  const cutover = (order: CutoverOrder) => refuseCutover(order) ?? void place(order);
  const refuseGate = (gate: string): string | undefined =>
    state.waitingFor?.includes(`"${gate}"`)
      ? undefined
      : `gate: nothing waits for "${gate}" now${state.waitingFor ? `; the migration waits for ${state.waitingFor}` : ''}.`;
  const refuseRetry = (): string | undefined =>
    state.state === 'parked' ? undefined : `Nothing is parked; the migration is ${state.state}.`;
  /** An order that comes with the end of a compensation is read before that end is: what its sender saw parked is so a moment later. */
  const endOfCompensation = async (): Promise<void> => {
    if (state.state === 'compensating') await condition(() => state.state !== 'compensating', '5s');
  };
  /** Checkpoints, in the cutover the stages that have begun, and `old`: everything to the old system, what was copied stays. */
  const waysBack = (): string[] => [
    ...state.checkpoints.map((checkpoint) => checkpoint.name),
    ...(state.phase === 'cutover' ? ['old', ...stages.slice(0, state.stage + 1).map((stage) => stage.name)] : []),
  ];
  const refuseRollback = (order: RollbackOrder): string | undefined =>
    order.to === undefined || waysBack().includes(order.to)
      ? undefined
      : `to: there is no checkpoint ${order.to}; known are ${waysBack().join(', ') || 'none'}. ${restoreHint(order.to)}`;

  setHandler(contract.statusQuery, () => statusOf(state), {
    description: 'Where the migration stands, and what it waits for',
  });
  setHandler(contract.routingQuery, () => state.routing, {
    description: 'Where reads and writes of each collection go',
  });
  setHandler(contract.checkpointsQuery, () => state.checkpoints, { description: 'Points to roll back to' });
  setHandler(contract.decisionsQuery, () => state.decisions, { description: 'What was decided, and why' });

  setHandler(contract.pauseSignal, () => void (desk.paused = true), {
    description: 'Stop at the next safe place; resume goes on from there',
  });
  setHandler(contract.resumeSignal, () => void (desk.paused = false), { description: 'Go on after a pause' });
  setHandler(
    contract.retrySignal,
    async () => {
      await endOfCompensation();
      take('retry', { order: undefined }, () => refuseRetry() ?? void desk.retries++);
    },
    { description: 'Try the parked step again' },
  );
  setHandler(contract.advanceStageSignal, () => void desk.advances++, {
    description: 'End the soak of this cutover stage now',
  });
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
        ({ gate }) => refuseGate(gate) ?? void desk.approvals.push(gate),
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
        (order) => refuseRollback(order) ?? void (desk.rollback = order),
      ),
    {
      description: `Undo, newest first, to a checkpoint or altogether: ${examples.rollback}`,
    },
  );
  setHandler(
    contract.abortSignal,
    (payload) => take('abort', readOrder(abortOrder, payload, examples.abort), (order) => void (desk.abort = order)),
    {
      description: `Undo everything and end: ${examples.abort}`,
    },
  );
  setHandler(
    contract.reportIncidentSignal,
    (payload) =>
      take('reportIncident', readOrder(incidentOrder, payload, examples.reportIncident), (order) => {
        state.decisions = [
          ...state.decisions,
          { at: now(), decision: `incident reported: ${order.kind}`, reason: order.detail },
        ];
        // A stage judges it at once; outside of one somebody has to.
        if (state.phase === 'cutover' && state.state === 'running') desk.incidents.push(order);
        else desk.paused = true;
        return undefined;
      }),
    {
      description: `Report an incident: a cutover stage goes back at once, anything else pauses: ${examples.reportIncident}`,
    },
  );
  setHandler(contract.progressSignal, (collection, progress) => {
    // Signals sent together may arrive in another order; progress only grows until the data phase is undone.
    const known = state.collections[collection];
    if (!known || amountOf(known) <= amountOf(progress!)) state.collections[collection] = progress!;
  });
  setHandler(contract.captureProgressSignal, (progress) => void (state.capture = progress));
  setHandler(contract.stageProgressSignal, ({ stage, waitingFor, routing, back, decision }) => {
    if (stage > state.stage) state.override = false;
    state.stage = back ? stage : Math.max(state.stage, stage);
    state.waitingFor = waitingFor;
    if (decision) state.decisions = [...state.decisions, { at: now(), ...decision }].slice(-200);
    for (const [collection, its] of Object.entries(routing)) {
      const known = state.routing[collection];
      if (!known || known.epoch < its.epoch) state.routing[collection] = its;
    }
  });

  setHandler(contract.restoredSignal, ({ checkpoint, routing }) => {
    Object.assign(state.routing, routing);
    const decision = `stores restored to checkpoint ${checkpoint}`;
    state.decisions = [...state.decisions, { at: now(), decision, reason: 'asked by an operator' }].slice(-200);
  });

  // Updates, because a caller at a terminal wants the refusal as an answer and the effect before it returns.
  const validated = (refusal: string | undefined) => {
    if (refusal !== undefined) throw ApplicationFailure.nonRetryable(refusal, 'OrderRefused');
  };
  const check = <T>(read: { order: T } | { refusal: string }, use: (order: T) => string | undefined) =>
    validated('refusal' in read ? read.refusal : use(read.order));
  setHandler(
    contract.setCutoverPercentageUpdate,
    async (payload) => {
      const placed = place(cutoverOrder.parse(payload));
      const turn = desk.carriedOut + desk.cutovers.length;
      const own = patched(ownAnswer);
      await condition(() => (own ? placed.carriedOut : desk.carriedOut >= turn));
      validated(placed.refusal);
      return state.routing;
    },
    {
      validator: (payload) => check(readOrder(cutoverOrder, payload, examples.setCutoverPercentage), refuseCutover),
      description: 'Send a share of reads to the new system, and wait until it is so',
    },
  );
  setHandler(
    contract.pauseUpdate,
    async () => {
      desk.paused = true;
      await condition(() => state.state !== 'running');
      return statusOf(state);
    },
    {
      validator: () => validated(isOver(state.state) ? `The migration is ${state.state}.` : undefined),
      description: 'Stop at the next safe place, and wait until it stands',
    },
  );
  setHandler(
    contract.resumeUpdate,
    async () => {
      desk.paused = false;
      await condition(() => state.state !== 'paused');
      return statusOf(state);
    },
    {
      validator: () =>
        validated(state.state === 'paused' ? undefined : `Nothing is paused; the migration is ${state.state}.`),
      description: 'Go on after a pause',
    },
  );
  setHandler(
    contract.retryUpdate,
    async () => {
      await endOfCompensation();
      validated(refuseRetry());
      desk.retries++;
      await condition(() => state.state !== 'parked');
      return statusOf(state);
    },
    {
      validator: () => validated(state.state === 'compensating' ? undefined : refuseRetry()),
      description: 'Try the parked step again',
    },
  );
  setHandler(
    contract.approveUpdate,
    (payload) => {
      desk.approvals.push(approveOrder.parse(payload).gate);
      return statusOf(state);
    },
    {
      validator: (payload) => check(readOrder(approveOrder, payload, examples.approve), ({ gate }) => refuseGate(gate)),
      description: 'Open a gate',
    },
  );
  setHandler(
    contract.advanceStageUpdate,
    () => {
      desk.advances++;
      return statusOf(state);
    },
    {
      validator: () =>
        validated(
          state.phase === 'cutover' && state.state === 'running'
            ? undefined
            : `No stage is soaking; the migration is in ${state.phase}, ${state.state}.`,
        ),
      description: 'End the soak of this cutover stage now',
    },
  );
  setHandler(
    contract.rollbackUpdate,
    (payload) => {
      desk.rollback = rollbackOrder.parse(payload ?? {});
      return statusOf(state);
    },
    {
      validator: (payload) => check(readOrder(rollbackOrder, payload, examples.rollback), refuseRollback),
      description: 'Undo, to a checkpoint or altogether',
    },
  );
  setHandler(
    contract.abortUpdate,
    (payload) => {
      desk.abort = abortOrder.parse(payload);
      return statusOf(state);
    },
    {
      validator: (payload) => check(readOrder(abortOrder, payload, examples.abort), () => undefined),
      description: 'Undo everything and end',
    },
  );
  return desk;
}

const amountOf = (its: CollectionProgress): number =>
  its.loaded + its.quarantined + its.skipped + its.chunksDone + its.chunksTotal;

/** Whether the running phase has to stop for an order. */
export const wantsOut = (desk: Desk): boolean => desk.paused || desk.rollback !== undefined || desk.abort !== undefined;
