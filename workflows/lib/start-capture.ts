// Change capture is a child that outlives its phase, and every renewal: started once, found again by its id, stopped by a signal.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { getExternalWorkflowHandle, ParentClosePolicy, startChild } from '@temporalio/workflow';
import { changeCapture } from '../children/change-capture.ts';
import { captureId, rootId, stopCaptureSignal, type MigrationInput } from '../contract.ts';
import { control } from '../proxies.ts';

/** Histories recorded before there was change capture replay without it. */
export const liveCapture = 'change-capture';

/** Opens the stream, or finds it open, and has it followed from where it stands. */
export async function captureChanges({ name, settings }: MigrationInput): Promise<void> {
  const { lanes } = await control.openCapture(settings);
  const { zone, providers, clashSeconds, configurationDirectory } = settings;
  const input = {
    migration: name,
    root: rootId(name),
    lanes,
    settings: { zone, providers, clashSeconds, configurationDirectory },
  };
  try {
    await startChild(changeCapture, {
      workflowId: captureId(name),
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      // A phase that is stopped does not stop capture: the source goes on changing.
      cancellationType: 'ABANDON',
      staticSummary: `change capture, ${lanes} lanes`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}

/** Where there is none to stop, it has ended already. Its lanes are fenced when their positions are removed. */
export async function stopCapture(name: string): Promise<void> {
  await getExternalWorkflowHandle(captureId(name))
    .signal(stopCaptureSignal)
    .catch(() => undefined);
}
