// Why something failed, out of Temporal's chain of causes: the failure class and its sentence.
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  TerminatedFailure,
  TimeoutFailure,
  isCancellation,
} from '@temporalio/workflow';
import { failures, isFailureType, type FailureType } from '../../core/failures.ts';

export interface Reason {
  readonly type: FailureType;
  readonly message: string;
}

export function reasonOf(error: unknown): Reason {
  let timeout: string | undefined;
  let child = 'A workflow of the migration';
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof ChildWorkflowFailure) child = at.execution.workflowId ?? child;
    if (at instanceof TerminatedFailure || at instanceof CancelledFailure) {
      const how = at instanceof TerminatedFailure ? 'terminated' : 'cancelled';
      return { type: 'EndedFromOutside', message: `${child} was ${how} from outside.` };
    }
    if (at instanceof ApplicationFailure)
      return { type: isFailureType(at.type) ? at.type : 'Defect', message: at.message };
    if (at instanceof TimeoutFailure) timeout = at.message;
    if (at instanceof ActivityFailure && timeout === undefined && at.cause instanceof TimeoutFailure)
      timeout = `${at.activityType}: ${at.cause.message}`;
  }
  if (timeout !== undefined)
    return {
      type: 'StoreUnreachable',
      message: `No worker finished the step in time (${timeout}). Check that \`causeway worker\` runs.`,
    };
  return { type: 'Defect', message: error instanceof Error ? error.message : String(error) };
}

export const adviceFor = (reason: Reason): string => failures[reason.type].advice;

/** A failure of a child or phase, to be raised to its parent with its class kept. */
export const failure = (reason: Reason): ApplicationFailure =>
  ApplicationFailure.create({ type: reason.type, message: reason.message, nonRetryable: true });

export const isTimeout = (error: unknown): boolean =>
  error instanceof ActivityFailure && error.cause instanceof TimeoutFailure;
export { isCancellation };
