// A child whose history begins anew: its parent's cancellation goes to the run that is there, not to the one it began with.
import { CancellationScope, getExternalWorkflowHandle } from '@temporalio/workflow';

/**
 * `run` executes the child of that id. Temporal sends the cancellation of a child to its first run, where after continue-as-new nobody hears it
 * (temporalio/features, issue 503).
 */
export async function reaching<T>(workflowId: string, run: () => Promise<T>): Promise<T> {
  let ended = false;
  CancellationScope.current().cancelRequested.catch(() => {
    if (ended) return;
    void CancellationScope.nonCancellable(() => getExternalWorkflowHandle(workflowId).cancel()).catch(() => undefined);
  });
  try {
    return await run();
  } finally {
    ended = true;
  }
}
