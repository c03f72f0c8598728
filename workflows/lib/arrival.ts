// How a root begins: it reads what is known durably, takes it over, or refuses where beginning could only do harm.
import { ApplicationFailure } from '@temporalio/workflow';
import { arrive, counts, type Known } from '../../core/lifecycle.ts';
import type { MigrationState } from '../../core/state.ts';
import type { MigrationInput } from '../contract.ts';
import { control } from '../proxies.ts';
import type { Desk } from './desk.ts';
import { interruptible } from './interruptible.ts';
import { reasonOf } from './reason.ts';
import { decide, parkFor } from './root-state.ts';
import { wantsOut } from './desk.ts';

/** Until it is known where the migration stands nothing is done, whatever is ordered. Throws where nothing may be begun. */
export async function takeOver(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  let known: Known;
  try {
    known = await control.readKnown();
  } catch (error) {
    return parkFor(state, desk, { ...reasonOf(error), phase: 'start' });
  }
  const arrival = arrive(known, { until: input.until, stages: input.settings.stages });
  if (arrival.is === 'refused') throw ApplicationFailure.nonRetryable(arrival.message, 'StartRefused');
  state.arrived = arrival.is === 'begins' || counts(known.authority) ? 'yes' : 'unchecked';
  if (arrival.is === 'begins') return;
  const { phase, stage, override, undo, undoing } = arrival;
  const { collections } = known.standing!;
  Object.assign(state, { phase, stage, override, undo: [...undo], undoing, collections: { ...collections } });
  Object.assign(state, { routing: { ...known.routing }, checkpoints: [...known.checkpoints], capture: known.capture });
  decide(state, `go on in ${phase}`, undoing ? 'an earlier workflow was undoing' : 'it stood there');
}

/** What `causeway start` checks beforehand; what an earlier run has made stays, whatever is found. */
export async function checkStores(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  const outcome = await interruptible(
    () => control.preflight(input.name, input.settings, input.until),
    () => wantsOut(desk),
  );
  if (outcome.is === 'done') {
    state.arrived = 'yes';
    state.lastError = null;
  } else if (outcome.is === 'failed')
    await parkFor(state, desk, {
      ...outcome.reason,
      advice: 'Nothing was changed. Correct what the message names, then `causeway retry`.',
    });
}
