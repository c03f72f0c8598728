// Compensation as a child that outlives whoever started it: what has begun to go back does not stop half way.
import { executeChild, ParentClosePolicy } from '@temporalio/workflow';
import type { UndoStep } from '../../core/story.ts';
import { rollback, type RollbackResult, type RollbackSettings } from '../children/rollback.ts';
import { rollbackId } from '../contract.ts';
import { alone } from './alone.ts';

/** One that an earlier root has left at work is waited for; what it has undone is undone again, which changes nothing. */
export function goBack(
  migration: string,
  steps: readonly UndoStep[],
  settings: RollbackSettings,
): Promise<RollbackResult> {
  const workflowId = rollbackId(migration);
  const { zone, providers, fenceMs } = settings;
  return alone(
    workflowId,
    () =>
      executeChild(rollback, {
        workflowId,
        args: [migration, steps, { zone, providers, fenceMs }],
        cancellationType: 'ABANDON',
        parentClosePolicy: ParentClosePolicy.ABANDON,
      }),
    { patient: true },
  );
}
