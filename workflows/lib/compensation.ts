// The root's ways back: what is undone, how far, and what the migration is afterwards.
import { condition } from '@temporalio/workflow';
import { retreatFrom } from '../../core/cutover.ts';
import { failures } from '../../core/failures.ts';
import { stepsBack, withoutUndone, type Authority, type Undoing } from '../../core/lifecycle.ts';
import { notCaptured, type MigrationState } from '../../core/state.ts';
import { after, type Phase, type UndoStep } from '../../core/story.ts';
import type { MigrationInput } from '../contract.ts';
import { control } from '../proxies.ts';
import type { Desk } from './desk.ts';
import { goBack as rollBack } from './go-back.ts';
import { reasonOf } from './reason.ts';
import { report } from './report.ts';
import { decide, enter, park, parkFor, refuseStale, say } from './root-state.ts';
import { standingOf } from './standing.ts';

export async function goBack(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  if (!desk.abort && refuseStale(desk)) return;
  const order = desk.abort
    ? { kind: 'abort' as const, to: undefined, reason: desk.abort.reason }
    : { kind: 'rollback' as const, to: desk.rollback?.to, reason: desk.rollback?.reason ?? 'asked by an operator' };
  desk.rollback = undefined;
  state.lastError = null;
  decide(state, order.to === undefined ? order.kind : `rollback to ${order.to}`, order.reason);
  const stage = input.settings.stages.findIndex((one) => one.name === order.to);
  if (stage >= 0) return retreat(state, desk, input, stage);
  // One that is being carried out is waited for: it may have moved reads that have to go back first. From here on none is begun.
  enter(state, 'compensating', null);
  await condition(() => desk.cutovers.length === 0);
  const to =
    order.to === 'old'
      ? 'data'
      : (state.checkpoints.find((entry) => entry.name === order.to)?.phase as Phase | undefined);
  const ends = order.kind === 'abort' ? 'aborted' : 'rolled-back';
  const steps = stepsBack(state.undo, to, { authority: authorityAsTold(state), routing: state.routing });
  await undo(state, desk, { steps, then: to === undefined ? ends : 'parked' }, input);
  if (to === undefined) return enter(state, ends, null);
  state.phase = after(to) ?? to;
  state.stage = 0;
  state.override = false;
  await park(state, desk);
}

/** As the workflow knows it; the steps themselves ask the database. */
const authorityAsTold = ({ routing }: MigrationState): Authority => ({
  moved: Object.keys(routing).filter((name) => routing[name]!.writeMode === 'new_system'),
  armed: false,
  closed: [],
});

/** What an earlier root was undoing, to its end. */
export async function resume(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const { then } = state.undoing!;
  await undo(state, desk, state.undoing!, input);
  if (then !== 'parked') return enter(state, then, null);
  await park(state, desk);
}

/** An incident where no stage runs: all traffic goes back at once, and somebody is asked. */
export async function flee(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const reason = `incident reported: ${desk.emergency!.kind}`;
  desk.emergency = undefined;
  desk.paused = false;
  decide(state, 'rollback, immediate', reason);
  const { stage, standing } = retreatFrom(input.settings.stages, state.stage, 'immediate');
  await undo(
    state,
    desk,
    { steps: [{ undo: 'cutover', to: { stage, ...standing, immediate: true } }], then: 'parked' },
    input,
  );
  state.override = false;
  await parkFor(state, desk, {
    type: 'StageFailed',
    message: `All traffic went back to the old system: ${reason}.`,
  });
}

/** Back to where a stage had brought the traffic; it is begun again from there when somebody says so. */
async function retreat(state: MigrationState, desk: Desk, input: MigrationInput, stage: number): Promise<void> {
  const { percentage, writes } = input.settings.stages[stage]!;
  const step: UndoStep = { undo: 'cutover', to: { stage, percentage, writes, immediate: false } };
  await undo(state, desk, { steps: [step], then: 'parked' }, input);
  state.phase = 'cutover';
  state.override = true;
  await park(state, desk);
}

/** Written down, then carried out by a workflow of its own. A step that fails parks, and is tried again; none is skipped. */
export async function undo(
  state: MigrationState,
  desk: Desk,
  { steps, then }: Undoing,
  input: MigrationInput,
): Promise<void> {
  enter(state, 'compensating', null);
  state.passed = false;
  const why = state.lastError;
  for (let left = [...steps]; left.length > 0;) {
    state.undoing = { steps: left, then };
    const failed = await attempt(state, input);
    left = [...(state.undoing?.steps ?? [])];
    report(state);
    if (!failed) continue;
    say(state, { ...failed, advice: failures.CompensationFailed.advice });
    decide(state, 'park', failed.message);
    const seen = desk.retries;
    enter(state, 'parked', 'retry');
    await condition(() => desk.retries > seen);
    state.lastError = why;
    enter(state, 'compensating', null);
  }
  state.undoing = null;
}

/** Returns why it came no further. */
async function attempt(
  state: MigrationState,
  input: MigrationInput,
): Promise<{ phase: string; type: string; message: string } | undefined> {
  const { steps, then } = state.undoing!;
  try {
    await control.writeStanding(standingOf(state, input));
  } catch (error) {
    return { phase: 'rollback', type: 'CompensationFailed', message: (error as Error).message };
  }
  // Its workflow reports what fails; it fails itself where somebody ended it from outside.
  const result = await rollBack(input.name, steps, input.settings).catch((error: unknown) => ({
    undone: [],
    routing: {},
    failed: { step: steps[0]!, reason: reasonOf(error) },
  }));
  Object.assign(state.routing, result.routing);
  for (const step of result.undone) forget(state, step);
  const left = steps.filter((step) => !result.undone.some((done) => done.undo === step.undo));
  state.undoing = { steps: left, then };
  if (!result.failed) return undefined;
  const { step, reason } = result.failed;
  return { phase: `rollback of ${step.undo}`, type: 'CompensationFailed', message: reason.message };
}

function forget(state: MigrationState, step: UndoStep): void {
  state.undo = withoutUndone(state.undo, step);
  if (step.to) {
    state.stage = step.to.stage;
    return;
  }
  state.made = state.made.filter((phase) => phase !== step.undo);
  state.checkpoints = state.checkpoints.filter((entry) => entry.phase !== step.undo);
  if (step.undo === 'data') {
    state.collections = {};
    state.capture = notCaptured;
  }
  if (step.undo === 'cutover') {
    state.stage = 0;
    for (const [collection, its] of Object.entries(state.routing))
      state.routing[collection] = { ...its, percentage: 0, writeMode: 'old' };
  }
}
