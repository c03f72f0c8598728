// Change capture is a child that outlives its phase, and every renewal: started once, found again by its id, stopped by a signal.
import { getExternalWorkflowHandle } from '@temporalio/workflow';
import { changeCapture, type CaptureInput } from '../children/change-capture.ts';
import { captureId, keepCaptureSignal, rootId, stopCaptureSignal, type MigrationInput } from '../contract.ts';
import { control } from '../proxies.ts';
import { keepRunning, type Standing } from './standing-child.ts';

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
  const child: Standing<CaptureInput> = {
    workflow: changeCapture,
    id: captureId(name),
    input,
    summary: `change capture, ${lanes} lanes`,
    keep: keepCaptureSignal,
  };
  // A phase that is stopped does not stop capture: the source goes on changing.
  await keepRunning(child);
}

/** Where there is none to stop, it has ended already. Its lanes are fenced when their positions are removed. */
export async function stopCapture(name: string): Promise<void> {
  await getExternalWorkflowHandle(captureId(name))
    .signal(stopCaptureSignal)
    .catch(() => undefined);
}
