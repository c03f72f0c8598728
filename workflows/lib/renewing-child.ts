// A child whose history begins anew: its parent's cancellation goes to the run that is there, not to the one it began with.
import { CancellationScope, getExternalWorkflowHandle, patched } from '@temporalio/workflow';

/** Histories from before replay as they were: a pause or an abort did not reach a child that had begun anew. */
const cancelsLatest = 'cancels-latest';

/**
 * `run` executes the child of that id. Temporal sends the cancellation of a child to its first run, where after continue-as-new nobody hears it
 * (temporalio/features, issue 503).
 */
export async function reaching<T>(workflowId: string, run: () => Promise<T>): Promise<T> {
  let ended = false;
  CancellationScope.current().cancelRequested.catch(() => {
    if (ended || !patched(cancelsLatest)) return;
    void CancellationScope.nonCancellable(() => getExternalWorkflowHandle(workflowId).cancel()).catch(() => undefined);
  });
  try {
    return await run();
  } finally {
    ended = true;
  }
}
