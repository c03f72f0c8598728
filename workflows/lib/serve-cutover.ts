// Cutover orders, carried out the moment they come, whatever the phase's own workflow is doing; and what is meant for that, passed on.
import { condition, getExternalWorkflowHandle, workflowInfo } from '@temporalio/workflow';
import type { MigrationState } from '../../core/state.ts';
import { advanceStageSignal, approveSignal, reportIncidentSignal } from '../contract.ts';
import { routing } from '../proxies.ts';
import type { Desk, PlacedCutover } from './desk.ts';
import { reasonOf, type Reason } from './reason.ts';
import { report } from './report.ts';
import { decide } from './root-state.ts';

export async function serveCutover(state: MigrationState, desk: Desk): Promise<void> {
  const stages = () => getExternalWorkflowHandle(`${workflowInfo().workflowId}/cutover`);
  for (;;) {
    await condition(
      () => desk.cutovers.length > 0 || desk.approvals.length > 0 || desk.advances > 0 || desk.incidents.length > 0,
    );
    const order = desk.cutovers[0];
    if (order) {
      await carryOut(state, desk, order);
      // Not before: whoever undoes the migration waits for the one that is being carried out.
      desk.cutovers.shift();
    }
    const gate = desk.approvals.shift();
    if (gate !== undefined)
      await stages()
        .signal(approveSignal, { gate })
        .catch(() => desk.refuse('approve', nobody));
    const incident = desk.incidents.shift();
    // Where the phase's own workflow does not run, nobody else takes the traffic back.
    if (incident)
      await stages()
        .signal(reportIncidentSignal, incident)
        .catch(() => void (desk.emergency = incident));
    if (desk.advances > 0) {
      desk.advances--;
      await stages()
        .signal(advanceStageSignal)
        .catch(() => desk.refuse('advanceStage', nobody));
    }
  }
}

async function carryOut(state: MigrationState, desk: Desk, order: PlacedCutover): Promise<void> {
  // What was possible when it came may not be any more.
  const refusal = desk.refusals.cutover(order);
  if (refusal === undefined) await move(state, desk, order);
  else desk.refuse('setCutoverPercentage', (order.refusal = refusal));
  order.carriedOut = true;
  report(state);
}

async function move(state: MigrationState, desk: Desk, order: PlacedCutover): Promise<void> {
  const collections = order.collection === undefined ? Object.keys(state.collections) : [order.collection];
  await routing.route
    .executeWithOptions({ summary: `${order.percentage} % ${order.collection ?? ''}` }, [
      { collections, percentage: order.percentage, reason: 'operator' },
    ])
    .then(
      (routes) => {
        state.override = true;
        Object.assign(state.routing, routes);
        decide(state, `reads to ${order.percentage} %`, `operator${order.collection ? `, ${order.collection}` : ''}`);
      },
      (error: unknown) => {
        order.refusal = notMoved(reasonOf(error));
        desk.refuse('setCutoverPercentage', order.refusal);
      },
    );
}

const notMoved = ({ message }: Reason): string =>
  `The traffic was not moved. ${message}${message.endsWith('.') ? '' : '.'} When that has passed, send the order again; \`causeway status\` shows where the traffic goes.`;

const nobody = 'No cutover runs that it could reach.';
