// The whole migration of one application, as a story: four phases, each with a checkpoint after it and an undo written down before it.
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  executeChild,
  workflowInfo,
} from '@temporalio/workflow';
import { consequence, failures } from '../core/failures.ts';
import { compensates, onCancel } from '../core/lifecycle.ts';
import { begin, isOver, statusOf, type MigrationState } from '../core/state.ts';
import { after, writeAhead } from '../core/story.ts';
import { checkpoint } from './children/checkpoint.ts';
import type { MigrationInput, MigrationOutcome } from './contract.ts';
import { alone } from './lib/alone.ts';
import { checkStores, takeOver } from './lib/arrival.ts';
import { flee, goBack, resume, undo } from './lib/compensation.ts';
import { openDesk, wantsBack, wantsOut, type Desk } from './lib/desk.ts';
import { interruptible } from './lib/interruptible.ts';
import { reasonOf, type Reason } from './lib/reason.ts';
import { report } from './lib/report.ts';
import { decide, enter, now, parkFor } from './lib/root-state.ts';
import { serveCutover } from './lib/serve-cutover.ts';
import { standingOf } from './lib/standing.ts';
import { captureChanges } from './lib/start-capture.ts';
import { runPhase } from './phases/index.ts';
import { control, long } from './proxies.ts';

/**
 * Fails only where it must not begin; from then on a step that cannot go on parks and says what to do, or is undone. Ends when it is done, aborted,
 * or rolled back. Cancelling it is an order like any other: nothing that runs is torn down by it.
 */
export function migration(input: MigrationInput, saved?: MigrationState): Promise<MigrationOutcome> {
  const state = saved ?? begin(input.name);
  const desk = openDesk(state, now, input.settings.stages);
  CancellationScope.current().cancelRequested.catch(() => void (desk.cancelled = true));
  return CancellationScope.nonCancellable(() => live(state, desk, input));
}

async function live(state: MigrationState, desk: Desk, input: MigrationInput): Promise<MigrationOutcome> {
  void serveCutover(state, desk);
  while (!isOver(state.state)) {
    report(state);
    if (state.arrived === 'no') {
      await takeOver(state, desk, input);
      continue;
    }
    const paused = await pauseIfAsked(state, desk);
    if (paused && isFull()) await renew(state, desk, input);
    await waitForRepair(state, desk);
    if (desk.cancelled) await obeyCancel(state, desk);
    else if (desk.emergency) await flee(state, desk, input);
    else if (desk.abort || desk.rollback) await goBack(state, desk, input);
    else if (state.undoing) await resume(state, desk, input);
    else if (state.arrived === 'unchecked') await checkStores(state, desk, input);
    else await goOn(state, desk, input);
    if (!isOver(state.state) && isFull()) await renew(state, desk, input);
  }
  for (const order of leftOver(state, desk))
    desk.refuse(order, `The migration ended before it could be obeyed: it is ${state.state}.`);
  report(state);
  await condition(allHandlersFinished);
  return statusOf(state);
}

/** By name what was ordered and is not to be carried out any more. An order to abort or go back that was obeyed is not among them. */
const leftOver = ({ state }: MigrationState, desk: Desk): string[] => [
  ...(desk.rollback ? ['rollback'] : []),
  ...(desk.paused && state === 'completed' ? ['pause'] : []),
  ...desk.approvals.map(() => 'approve'),
  ...desk.incidents.map(() => 'reportIncident'),
];

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

/** What cancelling means depends on whose data counts; where that cannot be read, nothing is undone. */
async function obeyCancel(state: MigrationState, desk: Desk): Promise<void> {
  desk.cancelled = false;
  if (desk.abort) return;
  const known = await control.readKnown().catch(() => undefined);
  if (known && onCancel(known.authority) === 'abort') {
    desk.abort = { reason: 'the workflow was cancelled' };
    return;
  }
  const why = known ? 'the new system counts by now' : 'where the writes are cannot be read';
  await parkFor(state, desk, {
    type: 'Cancelled',
    message: `The workflow was cancelled. Nothing was undone, because ${why}.`,
    advice:
      '`causeway retry` goes on; `causeway rollback --to old` takes reads and writes back to the old system and loses none of them.',
  });
}

/** Runs the phase that is due, and takes the step its end calls for. */
async function goOn(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const here = state.phase;
  if (!state.undo.some((step) => step.undo === here)) state.made = [...state.made, here];
  state.undo = writeAhead(state.undo, here);
  if (!state.passed) {
    const outcome = await interruptible(
      async () => {
        await control.writeStanding(standingOf(state, input));
        await runPhase(here, state, input);
      },
      () => wantsOut(desk) || hasGap(state),
    );
    if (outcome.is === 'stopped') return stopped(state, desk);
    if (outcome.is === 'failed') return fail(state, desk, outcome.reason, input);
    state.passed = true;
  }
  state.lastError = null;
  const isLast = here === input.until || after(here) === undefined;
  if (isLast && !(await comesToRest(state, desk, input))) return;
  try {
    await passOn(state, desk, input);
  } catch (error) {
    // The phase is done: nothing of it is undone because its checkpoint could not be written.
    const reason = reasonOf(error);
    await parkFor(state, desk, { ...reason, phase: `checkpoint of ${here}` });
  }
}

/** The phase's checkpoint, and in the same transaction what comes next. */
async function passOn(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const here = state.phase;
  const next = here === input.until ? undefined : after(here);
  const workflowId = `${workflowInfo().workflowId}/checkpoint/${here}`;
  const standing = standingOf(state, input, next ? { phase: next } : { completed: true });
  const args = { state, name: here, phase: here, next: standing };
  const entry = await alone(workflowId, () => executeChild(checkpoint, { workflowId, args: [args] }));
  state.checkpoints = [...state.checkpoints.filter((one) => one.name !== entry.name), entry];
  state.passed = false;
  if (next) state.phase = next;
  // Who has ordered a way back meanwhile is not told that it is completed.
  else if (!wantsBack(desk)) enter(state, 'completed', null);
}

/** It is not complete while capture is behind or fails: that is waited for, and said. False: an order came between, or it cannot be waited for. */
async function comesToRest(state: MigrationState, desk: Desk, input: MigrationInput): Promise<boolean> {
  if (state.phase === 'preparation' || state.phase === 'schema') return true;
  // The end of the old system has asked the same, and has stopped capture.
  if (state.phase === 'cutover' && input.settings.decommission) return true;
  enter(state, 'running', 'change capture to catch up and to fail nowhere');
  const outcome = await interruptible(
    async () => {
      // Whoever ended it from outside would be waited for in vain.
      await captureChanges(input);
      await long.awaitSteady.executeWithOptions(
        { summary: 'change capture has caught up, and nothing of it fails' },
        [],
      );
    },
    () => wantsOut(desk) || hasGap(state),
  );
  enter(state, 'running', null);
  if (outcome.is === 'failed') await parkFor(state, desk, outcome.reason);
  return outcome.is === 'done';
}

/** For an order, or for a gap; or because somebody cancelled the phase's own workflow, which is no order to undo anything. */
async function stopped(state: MigrationState, desk: Desk): Promise<void> {
  if (wantsOut(desk) || hasGap(state)) return;
  await parkFor(state, desk, {
    type: 'Cancelled',
    message: `The workflow of the ${state.phase} phase was cancelled from outside. Nothing was undone.`,
    advice: '`causeway retry` begins it again where it stood; `causeway abort` undoes the migration.',
  });
}

/** Where trying again by hand can help, the migration waits as it is; what cannot be retried is undone first, as far as this run has made it. */
async function fail(state: MigrationState, desk: Desk, reason: Reason, input: MigrationInput): Promise<void> {
  const undoes = consequence(reason.type, state.phase) === 'compensate' && compensates(state.phase, state.made);
  if (undoes) decide(state, `undo ${state.phase}`, `${reason.type}: ${reason.message}`);
  const message = undoes ? `${reason.message} What the ${state.phase} phase had made was removed.` : reason.message;
  if (undoes) await undo(state, desk, { steps: [{ undo: state.phase }], then: 'parked' }, input);
  await parkFor(state, desk, { ...reason, message });
}

/** Renewal waits until no handler is running; one that waits for a pause only ends with it. */
async function quiet(desk: Desk): Promise<boolean> {
  await condition(() => allHandlersFinished() || wantsOut(desk));
  return !wantsOut(desk) && desk.cutovers.length + desk.approvals.length + desk.advances + desk.incidents.length === 0;
}
