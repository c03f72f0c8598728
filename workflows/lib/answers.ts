// Orders as updates, because a caller at a terminal wants the refusal as an answer and the effect before it returns.
import { ApplicationFailure, CancellationScope, condition, setHandler } from '@temporalio/workflow';
import {
  abortOrder,
  approveOrder,
  cutoverOrder,
  examples,
  incidentOrder,
  readOrder,
  rollbackOrder,
  type CutoverOrder,
  type IncidentOrder,
} from '../../core/orders.ts';
import { statusOf, type MigrationState } from '../../core/state.ts';
import * as contract from '../contract.ts';
import type { Desk, PlacedCutover } from './desk.ts';

/** Also after the workflow was cancelled: that is an order, and other orders are still heard. */
const until = (reached: () => boolean): Promise<void> => CancellationScope.nonCancellable(() => condition(reached));

export interface Counter {
  readonly place: (order: CutoverOrder) => PlacedCutover;
  /** The order, carried out; or why it is not. */
  readonly retry: () => Promise<string | undefined>;
  readonly incident: (order: IncidentOrder) => void;
}

/** Each is refused to its caller, or obeyed before the caller is answered; a refused one leaves no history. */
export function answerOrders(state: MigrationState, desk: Desk, counter: Counter): void {
  const { place, retry, incident } = counter;
  const { refusals } = desk;
  const validated = (refusal: string | undefined) => {
    if (refusal !== undefined) throw ApplicationFailure.nonRetryable(refusal, 'OrderRefused');
  };
  const check = <T>(read: { order: T } | { refusal: string }, use: (order: T) => string | undefined) =>
    validated('refusal' in read ? read.refusal : use(read.order));
  setHandler(
    contract.setCutoverPercentageUpdate,
    async (payload) => {
      const placed = place(cutoverOrder.parse(payload));
      await until(() => placed.carriedOut);
      validated(placed.refusal);
      return state.routing;
    },
    {
      validator: (payload) => check(readOrder(cutoverOrder, payload, examples.setCutoverPercentage), refusals.cutover),
      description: 'Send a share of reads to the new system, and wait until it is so',
    },
  );
  setHandler(
    contract.pauseUpdate,
    async () => {
      desk.paused = true;
      await until(() => state.state !== 'running');
      return statusOf(state);
    },
    {
      validator: () => validated(refusals.pause()),
      description: 'Stop at the next safe place, and wait until it stands',
    },
  );
  setHandler(
    contract.resumeUpdate,
    async () => {
      desk.paused = false;
      await until(() => state.state !== 'paused');
      return statusOf(state);
    },
    {
      validator: () => validated(desk.paused ? undefined : refusals.resume()),
      description: 'Go on after a pause',
    },
  );
  setHandler(
    contract.retryUpdate,
    async () => {
      validated(await retry());
      await until(() => state.state !== 'parked');
      return statusOf(state);
    },
    {
      description: 'Try the parked step again, or at once what waits to be tried again by itself',
    },
  );
  setHandler(
    contract.approveUpdate,
    (payload) => {
      desk.approvals.push(approveOrder.parse(payload).gate);
      return statusOf(state);
    },
    {
      validator: (payload) =>
        check(readOrder(approveOrder, payload, examples.approve), ({ gate }) => refusals.gate(gate)),
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
      validator: () => validated(refusals.advance()),
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
      validator: (payload) => check(readOrder(rollbackOrder, payload, examples.rollback), refusals.rollback),
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
      validator: (payload) => check(readOrder(abortOrder, payload, examples.abort), () => refusals.abort()),
      description: 'Undo everything and end',
    },
  );
  setHandler(
    contract.reportIncidentUpdate,
    (payload) => {
      incident(incidentOrder.parse(payload));
      return statusOf(state);
    },
    {
      validator: (payload) => check(readOrder(incidentOrder, payload, examples.reportIncident), () => refusals.pause()),
      description: 'Report an incident: a cutover stage goes back at once, anything else pauses',
    },
  );
}
