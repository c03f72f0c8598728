// A child that outlives whoever started it: started once, found again by its id, told to stay where it was about to end, stopped by a signal.
import { WorkflowExecutionAlreadyStartedError, type SignalDefinition } from '@temporalio/common';
import { getExternalWorkflowHandle, ParentClosePolicy, sleep, startChild } from '@temporalio/workflow';

export interface Standing<Input> {
  readonly workflow: (input: Input) => Promise<void>;
  readonly id: string;
  readonly input: Input;
  readonly summary: string;
  /** Tells one that is about to end that it is wanted again. */
  readonly keep: SignalDefinition;
}

/** Returns when the child runs and will not end by an order given before. */
export async function keepRunning<Input>(child: Standing<Input>): Promise<void> {
  while (!(await started(child)) && !(await kept(child))) await sleep(500);
}

/** false: it is there already. */
async function started<Input>({ workflow, id, input, summary }: Standing<Input>): Promise<boolean> {
  try {
    await startChild(workflow, {
      workflowId: id,
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      // Whoever is cancelled after starting it does not stop it.
      cancellationType: 'ABANDON',
      staticSummary: summary,
    });
    return true;
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return false;
  }
}

/** false: it has ended meanwhile. */
const kept = <Input>({ id, keep }: Standing<Input>): Promise<boolean> =>
  getExternalWorkflowHandle(id)
    .signal(keep)
    .then(
      () => true,
      () => false,
    );
