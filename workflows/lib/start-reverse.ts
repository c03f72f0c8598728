// The reverse sync is a child that outlives its phase: started once, found again by its id, stopped by a signal.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { getExternalWorkflowHandle, ParentClosePolicy, sleep, startChild } from '@temporalio/workflow';
import type { Settings } from '../../core/settings.ts';
import { reverseSync, type ReverseInput } from '../children/reverse-sync.ts';
import { keepReverseSignal, reverseId, stopReverseSignal } from '../contract.ts';
import { control } from '../proxies.ts';

/** Anchored, and durable, before it returns: only then may a write be admitted to the new system alone (invariant I14). */
export async function bringChangesBack(
  migration: string,
  { zone, providers }: Pick<Settings, 'zone' | 'providers'>,
): Promise<void> {
  const settings = await control.armReverse({ zone, providers });
  for (;;) {
    if (await started(migration, settings)) return;
    await sleep(500);
  }
}

/** One that is there may be about to end; it is told that it is wanted. One that has just ended is not there any more: false. */
async function started(migration: string, settings: ReverseInput['settings']): Promise<boolean> {
  try {
    await startChild(reverseSync, {
      workflowId: reverseId(migration),
      args: [{ migration, settings }],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      cancellationType: 'ABANDON',
      staticSummary: 'reverse sync',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return getExternalWorkflowHandle(reverseId(migration))
      .signal(keepReverseSignal)
      .then(
        () => true,
        () => false,
      );
  }
  return true;
}

export async function stopReverse(migration: string): Promise<void> {
  await getExternalWorkflowHandle(reverseId(migration))
    .signal(stopReverseSignal)
    .catch(() => undefined);
}
