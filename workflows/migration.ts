// The whole migration of one application, as a story: four phases, each with a checkpoint after it and an undo written down before it.
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  executeChild,
  getExternalWorkflowHandle,
  workflowInfo,
} from '@temporalio/workflow';
import { retreatFrom } from '../core/cutover.ts';
import { consequence, failures } from '../core/failures.ts';
import { begin, isOver, notCaptured, statusOf, type MigrationState } from '../core/state.ts';
import { after, stepsBackTo, writeAhead, type Phase, type UndoStep } from '../core/story.ts';
import { checkpoint } from './children/checkpoint.ts';
import { rollback } from './children/rollback.ts';
import {
  advanceStageSignal,
  approveSignal,
  reportIncidentSignal,
  type MigrationInput,
  type MigrationOutcome,
} from './contract.ts';
import { openDesk, wantsBack, wantsOut, type Desk } from './lib/desk.ts';
import { interruptible } from './lib/interruptible.ts';
import { adviceFor, reasonOf, type Reason } from './lib/reason.ts';
import { report } from './lib/report.ts';
import { runPhase } from './phases/index.ts';
import { control, long, routing } from './proxies.ts';

const now = (): string => new Date().toISOString();

/** Never fails: a step that cannot go on parks and says what to do, or is undone. Ends when it is done, aborted, or rolled back. */
export async function migration(input: MigrationInput, saved?: MigrationState): Promise<MigrationOutcome> {
  const state = saved ?? begin(input.name);
  const desk = openDesk(state, now, input.settings.stages);
  void serveCutover(state, desk);

  while (!isOver(state.state)) {
    report(state);
    const paused = await pauseIfAsked(state, desk);
    if (paused && isFull()) await renew(state, desk, input);
    await waitForRepair(state, desk);
    if (desk.emergency) await flee(state, desk, input);
    else if (desk.abort || desk.rollback) await goBack(state, desk, input);
    else await goOn(state, desk, input);
    if (!isOver(state.state) && isFull()) await renew(state, desk, input);
  }
  report(state);
  await condition(allHandlersFinished);
  return statusOf(state);
}

const isFull = (): boolean => workflowInfo().continueAsNewSuggested;

/** Goes on in a new history, unless an order is waiting that this one has to obey first. */
async function renew(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  if (await quiet(desk)) await continueAsNew<typeof migration>(input, { ...state, runs: state.runs + 1 });
}

/** Whether there was a pause. */
async function pauseIfAsked(state: MigrationState, desk: Desk): Promise<boolean> {
  if (!desk.paused) return false;
  enter(state, 'paused', 'resume');
  await condition(() => !desk.paused || wantsBack(desk));
  enter(state, 'running', null);
  return true;
}

/** While change capture has a gap nothing goes on: what is in the targets is no longer known to be what the source has. */
async function waitForRepair(state: MigrationState, desk: Desk): Promise<void> {
  if (!hasGap(state)) return;
  const { kind, detail } = state.capture.gap!;
  state.lastError = {
    phase: state.phase,
    type: 'CaptureGap',
    message: `${detail} (${kind})`,
    advice: failures.CaptureGap.advice,
  };
  decide(state, 'stop', `gap in change capture: ${detail}`);
  enter(state, 'gap', 'causeway repair');
  await condition(() => !hasGap(state) || wantsBack(desk));
  if (!hasGap(state)) state.lastError = null;
  enter(state, 'running', null);
}

const hasGap = (state: MigrationState): boolean => state.capture.gap !== null;

/** Runs the phase that is due, and takes the step its end calls for. */
async function goOn(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const here = state.phase;
  state.undo = writeAhead(state.undo, here);
  const outcome = await interruptible(
    () => runPhase(here, state, input),
    () => wantsOut(desk) || hasGap(state),
  );
  if (outcome.is === 'stopped') {
    // Nobody asked: the workflow itself was cancelled, which means what an abort means.
    if (!wantsOut(desk) && !hasGap(state)) desk.abort = { reason: 'the workflow was cancelled' };
    return;
  }
  if (outcome.is === 'failed') return fail(state, desk, outcome.reason, input);
  state.lastError = null;
  const next = here === input.until ? undefined : after(here);
  if (!next && !(await comesToRest(state, desk, input))) return;
  await executeChild(checkpoint, {
    workflowId: `${workflowInfo().workflowId}/checkpoint/${here}`,
    args: [state, here, here],
  }).then((entry) => {
    state.checkpoints = [...state.checkpoints.filter((one) => one.name !== entry.name), entry];
  });
  if (next) state.phase = next;
  else enter(state, 'completed', null);
}

/** It is not complete while capture is behind or fails: that is waited for, and said. False: an order came between, or it cannot be waited for. */
async function comesToRest(state: MigrationState, desk: Desk, input: MigrationInput): Promise<boolean> {
  if (state.phase === 'preparation' || state.phase === 'schema') return true;
  // The end of the old system has asked the same, and has stopped capture.
  if (state.phase === 'cutover' && input.settings.decommission) return true;
  enter(state, 'running', 'change capture to catch up and to fail nowhere');
  const outcome = await interruptible(
    () => long.awaitSteady.executeWithOptions({ summary: 'change capture has caught up, and nothing of it fails' }, []),
    () => wantsOut(desk) || hasGap(state),
  );
  enter(state, 'running', null);
  if (outcome.is === 'failed') await fail(state, desk, outcome.reason, input);
  return outcome.is === 'done';
}

/** Where trying again by hand can help, the migration waits as it is; what cannot be retried is undone first. */
async function fail(state: MigrationState, desk: Desk, reason: Reason, input: MigrationInput): Promise<void> {
  const then = consequence(reason.type, state.phase);
  state.lastError = { phase: state.phase, type: reason.type, message: reason.message, advice: adviceFor(reason) };
  decide(state, then === 'compensate' ? `undo ${state.phase}` : 'park', `${reason.type}: ${reason.message}`);
  if (then === 'compensate') await undo(state, desk, [{ undo: state.phase }], input);
  if (then === 'compensate' && !isOver(state.state)) {
    state.lastError = {
      ...state.lastError,
      message: `${reason.message} What the ${state.phase} phase had made was removed.`,
    };
  }
  await park(state, desk);
}

async function park(state: MigrationState, desk: Desk): Promise<void> {
  const seen = desk.retries;
  enter(state, 'parked', 'retry, abort or rollback');
  await condition(() => desk.retries > seen || wantsBack(desk));
  enter(state, 'running', null);
}

async function goBack(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const order = desk.abort
    ? { kind: 'abort' as const, to: undefined, reason: desk.abort.reason }
    : { kind: 'rollback' as const, to: desk.rollback?.to, reason: desk.rollback?.reason ?? 'asked by an operator' };
  desk.rollback = undefined;
  decide(state, order.to === undefined ? order.kind : `rollback to ${order.to}`, order.reason);
  const stage = input.settings.stages.findIndex((one) => one.name === order.to);
  if (stage >= 0) return retreat(state, desk, input, stage);
  const to =
    order.to === 'old'
      ? 'data'
      : (state.checkpoints.find((entry) => entry.name === order.to)?.phase as Phase | undefined);
  await undo(state, desk, stepsBackTo(state.undo, to), input);
  if (to === undefined) {
    enter(state, order.kind === 'abort' ? 'aborted' : 'rolled-back', null);
    return;
  }
  state.phase = after(to) ?? to;
  state.stage = 0;
  state.override = false;
  await park(state, desk);
}

/** An incident where no stage runs: all traffic goes back at once, and somebody is asked. */
async function flee(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const reason = `incident reported: ${desk.emergency!.kind}`;
  desk.emergency = undefined;
  desk.paused = false;
  decide(state, 'rollback, immediate', reason);
  const { stage, standing } = retreatFrom(input.settings.stages, state.stage, 'immediate');
  await undo(state, desk, [{ undo: 'cutover', to: { stage, ...standing, immediate: true } }], input);
  state.stage = stage;
  state.override = false;
  const message = `All traffic went back to the old system: ${reason}.`;
  state.lastError = { phase: state.phase, type: 'StageFailed', message, advice: failures.StageFailed.advice };
  await park(state, desk);
}

/** Back to where a stage had brought the traffic; it is begun again from there when somebody says so. */
async function retreat(state: MigrationState, desk: Desk, input: MigrationInput, stage: number): Promise<void> {
  const { percentage, writes } = input.settings.stages[stage]!;
  await undo(state, desk, [{ undo: 'cutover', to: { stage, percentage, writes, immediate: false } }], input);
  state.phase = 'cutover';
  state.stage = stage;
  state.override = true;
  await park(state, desk);
}

/** Compensation runs as a workflow of its own. A step that fails parks, and is tried again; none is skipped. */
async function undo(
  state: MigrationState,
  desk: Desk,
  steps: readonly UndoStep[],
  input: MigrationInput,
): Promise<void> {
  enter(state, 'compensating', null);
  const why = state.lastError;
  for (let left = [...steps]; left.length > 0;) {
    const result = await executeChild(rollback, {
      workflowId: `${workflowInfo().workflowId}/rollback`,
      args: [input.name, left, input.settings],
      cancellationType: 'ABANDON',
    });
    Object.assign(state.routing, result.routing);
    for (const step of result.undone) if (!step.to) forgetPhase(state, step.undo);
    left = left.filter((step) => !result.undone.some((done) => done.undo === step.undo));
    state.lastError = why;
    if (!result.failed) continue;
    state.lastError = {
      phase: `rollback of ${result.failed.step.undo}`,
      type: 'CompensationFailed',
      message: result.failed.reason.message,
      advice: failures.CompensationFailed.advice,
    };
    const seen = desk.retries;
    enter(state, 'parked', 'retry');
    await condition(() => desk.retries > seen);
    enter(state, 'compensating', null);
  }
}

function forgetPhase(state: MigrationState, phase: Phase): void {
  state.undo = state.undo.filter((step) => step.undo !== phase);
  state.checkpoints = state.checkpoints.filter((entry) => entry.phase !== phase);
  if (phase === 'data') {
    state.collections = {};
    state.capture = notCaptured;
  }
  if (phase === 'cutover') {
    state.stage = 0;
    for (const [collection, its] of Object.entries(state.routing))
      state.routing[collection] = { ...its, percentage: 0, writeMode: 'old' };
  }
}

/** Carries out cutover orders the moment they come, whatever the phase's own workflow is doing, and passes on what is meant for it. */
async function serveCutover(state: MigrationState, desk: Desk): Promise<void> {
  const stages = () => getExternalWorkflowHandle(`${workflowInfo().workflowId}/cutover`);
  for (;;) {
    await condition(
      () => desk.cutovers.length > 0 || desk.approvals.length > 0 || desk.advances > 0 || desk.incidents.length > 0,
    );
    const order = desk.cutovers.shift();
    if (order) {
      const collections = order.collection === undefined ? Object.keys(state.collections) : [order.collection];
      await routing.route
        .executeWithOptions({ summary: `${order.percentage} % ${order.collection ?? ''}` }, [
          { collections, percentage: order.percentage, reason: 'operator' },
        ])
        .then(
          (routes) => {
            state.override = true;
            Object.assign(state.routing, routes);
            decide(
              state,
              `reads to ${order.percentage} %`,
              `operator${order.collection ? `, ${order.collection}` : ''}`,
            );
          },
          (error: unknown) => {
            order.refusal = notMoved(reasonOf(error));
            desk.refuse('setCutoverPercentage', order.refusal);
          },
        );
      order.carriedOut = true;
      report(state);
    }
    const gate = desk.approvals.shift();
    if (gate !== undefined)
      await stages()
        .signal(approveSignal, { gate })
        .catch(() => undefined);
    const incident = desk.incidents.shift();
    if (incident)
      await stages()
        .signal(reportIncidentSignal, incident)
        .catch(() => undefined);
    if (desk.advances > 0) {
      desk.advances--;
      await stages()
        .signal(advanceStageSignal)
        .catch(() => undefined);
    }
  }
}

const notMoved = ({ message }: Reason): string =>
  `The traffic was not moved. ${message}${message.endsWith('.') ? '' : '.'} When that has passed, send the order again; \`causeway status\` shows where the traffic goes.`;

function enter(state: MigrationState, name: MigrationState['state'], waitingFor: string | null): void {
  state.state = name;
  state.waitingFor = waitingFor;
  report(state);
}

function decide(state: MigrationState, decision: string, reason: string): void {
  state.decisions = [...state.decisions, { at: now(), decision, reason }].slice(-200);
  void control.recordAudit('decision', { decision, reason }).catch(() => undefined);
}

/** Renewal waits until no handler is running; one that waits for a pause only ends with it. */
async function quiet(desk: Desk): Promise<boolean> {
  await condition(() => allHandlersFinished() || wantsOut(desk));
  return !wantsOut(desk) && desk.cutovers.length + desk.approvals.length + desk.advances + desk.incidents.length === 0;
}
