// How a root begins: it reads what is known durably, takes it over, or refuses where beginning could only do harm.
import { ApplicationFailure, condition } from '@temporalio/workflow';
import { arrive, counts, type Arrival, type Known } from '../../core/lifecycle.ts';
import type { MigrationState } from '../../core/state.ts';
import type { MigrationInput } from '../contract.ts';
import { control } from '../proxies.ts';
import { wantsBack, wantsOut, type Desk } from './desk.ts';
import { goBack } from './go-back.ts';
import { interruptible } from './interruptible.ts';
import { reasonOf } from './reason.ts';
import { decide, enter, parkFor, say, type Cause } from './root-state.ts';

/** Until it is known where the migration stands nothing is done, whatever is ordered. Throws where nothing may be begun. */
export async function takeOver(state: MigrationState, desk: Desk, input: MigrationInput): Promise<void> {
  let known: Known;
  let arrival: Arrival;
  const order = { until: input.until, stages: input.settings.stages };
  try {
    known = await control.readKnown();
    arrival = arrive(known, order);
    if (arrival.is === 'takes-over' && arrival.undoing === null) {
      // A way back that was ordered while no root ran, and has written nothing down yet, would take away what this one stands on. One that begins
      // from now on finds this root, and leaves the order to it.
      await goBack(input.name, [], input.settings);
      known = await control.readKnown();
      arrival = arrive(known, order);
    }
  } catch (error) {
    return lookAgain(state, desk, { ...reasonOf(error), phase: 'start' });
  }
  if (arrival.is === 'refused') throw ApplicationFailure.nonRetryable(arrival.message, 'StartRefused');
  state.arrived = arrival.is === 'begins' || counts(known.authority) ? 'yes' : 'unchecked';
  if (arrival.is === 'begins') return;
  const { phase, stage, override, undo, undoing } = arrival;
  const { collections } = known.standing!;
  Object.assign(state, { phase, stage, override, undo: [...undo], undoing, collections: { ...collections } });
  Object.assign(state, { routing: { ...known.routing }, checkpoints: [...known.checkpoints], capture: known.capture });
  decide(state, `go on in ${phase}`, undoing ? 'an earlier workflow was undoing' : 'it stood there');
}

const lookAgainAfter = '1 minute';

/** An order that waits is not obeyed before; it must not make the root ask as fast as it can. */
async function lookAgain(state: MigrationState, desk: Desk, cause: Cause): Promise<void> {
  if (!wantsBack(desk)) return parkFor(state, desk, cause);
  say(state, cause);
  enter(state, 'parked', 'retry');
  const seen = desk.retries;
  await condition(() => desk.retries > seen, lookAgainAfter);
  enter(state, 'running', null);
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
