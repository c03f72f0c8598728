// How the root says what it does: its state, its decisions, and what it is parked for.
import { condition } from '@temporalio/workflow';
import { failures, isFailureType } from '../../core/failures.ts';
import type { MigrationState } from '../../core/state.ts';
import { control } from '../proxies.ts';
import { wantsBack, type Desk } from './desk.ts';
import { report } from './report.ts';

export const now = (): string => new Date().toISOString();

export function enter(state: MigrationState, name: MigrationState['state'], waitingFor: string | null): void {
  state.state = name;
  state.waitingFor = waitingFor;
  if (name !== 'running') state.soaking = false;
  report(state);
}

export function decide(state: MigrationState, decision: string, reason: string): void {
  state.decisions = [...state.decisions, { at: now(), decision, reason }].slice(-200);
  void control.recordAudit('decision', { decision, reason }).catch(() => undefined);
}

/** Until somebody says how it goes on. A way back that was ordered meanwhile and is none any more is refused, and not taken for a word to go on. */
export async function park(state: MigrationState, desk: Desk): Promise<void> {
  const seen = desk.retries;
  refuseStale(desk);
  enter(state, 'parked', 'retry, abort or rollback');
  await condition(() => desk.retries > seen || wantsBack(desk));
  // What it was parked for is over, or is about to be tried again: nobody reads it as if it still stood.
  state.lastError = null;
  enter(state, 'running', null);
}

/** Whether the rollback that was ordered is none any more, because of what has been undone since. */
export function refuseStale(desk: Desk): boolean {
  const refusal = desk.rollback && desk.refusals.rollback(desk.rollback);
  if (refusal === undefined) return false;
  desk.refuse('rollback', refusal);
  desk.rollback = undefined;
  return true;
}

export interface Cause {
  readonly type: string;
  readonly message: string;
  /** That of the table of failures where none is given. */
  readonly advice?: string;
  readonly phase?: string;
}

export function say(state: MigrationState, { type, message, advice, phase }: Cause): void {
  state.lastError = {
    phase: phase ?? state.phase,
    type,
    message,
    advice: advice ?? (isFailureType(type) ? failures[type].advice : failures.Defect.advice),
  };
}

/**
 * Each parking is a decision, and written down: a task that leaves nothing in history is run together with the next one when it is replayed, and an
 * order that comes then would find the state from before.
 */
export async function parkFor(state: MigrationState, desk: Desk, cause: Cause): Promise<void> {
  say(state, cause);
  decide(state, 'park', `${cause.type}: ${cause.message}`);
  await park(state, desk);
}
