// Compensation: undoes phases, newest first, each exactly as far as it had come. Cannot be cancelled; a failed step is reported, not skipped.
import { CancellationScope, patched } from '@temporalio/workflow';
import type { Phase, UndoStep } from '../../core/story.ts';
import { reasonOf, type Reason } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { liveCapture, stopCapture } from '../lib/start-capture.ts';
import { compensation, control } from '../proxies.ts';

export interface RollbackResult {
  readonly undone: UndoStep[];
  readonly failed: { readonly step: UndoStep; readonly reason: Reason } | undefined;
}

const undo: Record<Phase, (migration: string) => Promise<unknown>> = {
  preparation: (migration) => compensation.undoPreparation(migration),
  schema: () => compensation.undoSchema(),
  data: () => compensation.undoData(),
  cutover: () => compensation.undoCutover(),
};

export async function rollback(migration: string, steps: readonly UndoStep[]): Promise<RollbackResult> {
  introduce(migration, 'rollback', `Undoing: ${steps.map((step) => step.undo).join(', ')}`);
  const undone: UndoStep[] = [];
  return CancellationScope.nonCancellable(async () => {
    for (const step of steps) {
      try {
        if (step.undo === 'data' && patched(liveCapture)) await stopCapture(migration);
        await undo[step.undo](migration);
        undone.push(step);
        await control.recordAudit('undone', { phase: step.undo });
      } catch (error) {
        return { undone, failed: { step, reason: reasonOf(error) } };
      }
    }
    return { undone, failed: undefined };
  });
}
