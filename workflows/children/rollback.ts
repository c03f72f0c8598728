// Compensation: undoes phases, newest first, each exactly as far as it had come. Cannot be cancelled; a failed step is reported, not skipped.
import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { Settings } from '../../core/settings.ts';
import type { Route } from '../../core/state.ts';
import type { Phase, UndoStep } from '../../core/story.ts';
import { reasonOf, type Reason } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { captureChanges, stopCapture } from '../lib/start-capture.ts';
import { bringChangesBack, stopReverse } from '../lib/start-reverse.ts';
import { compensation, control, long, switchingBack } from '../proxies.ts';

export type RollbackSettings = Pick<Settings, 'zone' | 'providers' | 'fenceMs'>;

export interface RollbackResult {
  readonly undone: UndoStep[];
  readonly failed: { readonly step: UndoStep; readonly reason: Reason } | undefined;
  /** Where the collections' reads and writes go now, if the cutover was undone in part. */
  readonly routing?: Record<string, Route>;
}

const undo: Record<Phase, (migration: string) => Promise<unknown>> = {
  preparation: (migration) => compensation.undoPreparation(migration),
  schema: () => compensation.undoSchema(),
  data: () => compensation.undoData(),
  cutover: () => compensation.undoCutover(),
};

/** Ends when each step's validation has passed. Run again, also by another, it changes nothing. */
export async function rollback(
  migration: string,
  steps: readonly UndoStep[],
  settings: RollbackSettings,
): Promise<RollbackResult> {
  introduce(migration, 'rollback', `Undoing: ${steps.map(nameOf).join(', ') || 'nothing'}`);
  const undone: UndoStep[] = [];
  let routing: Record<string, Route> | undefined;
  return CancellationScope.nonCancellable(async () => {
    for (const [index, step] of steps.entries()) {
      try {
        if (index === 0) await control.noteUndoing(steps);
        if (step.undo === 'cutover') routing = await undoCutover(migration, step, settings);
        else {
          if (step.undo === 'data') {
            // Where it must not be removed, capture goes on.
            await control.mayRemove('What was copied');
            await stopCapture(migration);
          }
          await undo[step.undo](migration);
        }
        await control.noteUndone(step);
        undone.push(step);
        await control.recordAudit('undone', { phase: step.undo, to: step.to ?? null });
      } catch (error) {
        const failed = { step, reason: reasonOf(error) };
        setCurrentDetails(
          `${story(undone)} ${nameOf(step)} could not be undone (${failed.reason.type}): ${failed.reason.message}`,
        );
        return { undone, failed, ...(routing && { routing }) };
      }
    }
    setCurrentDetails(story(undone));
    return { undone, failed: undefined, ...(routing && { routing }) };
  });
}

/** Writes first, behind a fence and drained; then reads; then it is looked whether the old system has everything. */
async function undoCutover(
  migration: string,
  step: UndoStep,
  settings: RollbackSettings,
): Promise<Record<string, Route> | undefined> {
  const standing = await control.writesStand();
  if (!standing) return undefined;
  const { percentage, writes, immediate } = step.to ?? { percentage: 0, writes: 'old' as const, immediate: false };
  if (writes !== 'new_system' && standing.moved.length > 0) {
    // In an emergency nobody reads from the new system any longer, whatever the writes still wait for.
    if (immediate)
      await control.route({ collections: standing.collections, percentage: 0, reason: 'rollback, immediate' });
    // Whoever started this may have no reverse sync running: it is what drains.
    await bringChangesBack(migration, settings);
    await switchBackPatiently({ ...standing, percentage, writes, immediate, fenceMs: settings.fenceMs });
  }
  const to = { collections: standing.collections, percentage, onlyBack: true, reason: 'rollback' };
  const routes = await control.route(writes === 'new_system' ? to : { ...to, writeMode: writes });
  // What is written to the old system from now on reaches the new one through capture, and somebody may have ended that.
  const { settings: begunWith } = await control.startedWith();
  if (begunWith !== null) await captureChanges({ name: migration, settings: begunWith, until: 'cutover' });
  await long.validateRollback(standing.collections);
  if (writes !== 'new_system') {
    await control.awaitBroughtBack();
    await stopReverse(migration);
    await control.disarmReverse();
  }
  if (!step.to) await compensation.undoCutover();
  return routes;
}

interface Order {
  readonly moved: readonly string[];
  readonly percentage: number;
  readonly writes: 'old' | 'dual_write';
  readonly immediate: boolean;
  readonly fenceMs: number;
}

/** A fence that passed too early is raised again for longer; writers wait meanwhile at most that long. */
async function switchBackPatiently({ moved, percentage, writes, immediate, fenceMs }: Order): Promise<void> {
  for (let fence = fenceMs; ; fence = Math.min(fence * 2, 30_000)) {
    try {
      await switchingBack.switchBack.executeWithOptions({ summary: 'writes move back to the old system' }, [
        { collections: moved, percentage, writeMode: writes, fenceMs: fence, immediate },
      ]);
      return;
    } catch (error) {
      if (reasonOf(error).type !== 'SwitchRefused' || fence >= 30_000) throw error;
    }
  }
}

const story = (undone: readonly UndoStep[]): string => `Undone: ${undone.map(nameOf).join(', ') || 'nothing'}.`;
const nameOf = (step: UndoStep): string => (step.to ? `${step.undo} back to ${step.to.percentage} %` : step.undo);
