// A child whose id may still be taken by one that an earlier root has left behind.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { CancellationScope, getExternalWorkflowHandle, sleep } from '@temporalio/workflow';

const lookAgain = '500ms';

/**
 * `run` executes the child of that id. One that is there already is asked to end and waited for; with `patient` it is not asked, because what it
 * does must not be left half done.
 */
export async function alone<T>(workflowId: string, run: () => Promise<T>, { patient = false } = {}): Promise<T> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      if (!patient)
        await CancellationScope.nonCancellable(() => getExternalWorkflowHandle(workflowId).cancel()).catch(
          () => undefined,
        );
      await sleep(lookAgain, { summary: 'what an earlier root had begun ends first' });
    }
  }
}
