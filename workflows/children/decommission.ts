// The end of the old system: a last snapshot that was verified, then its collections closed and renamed. From there nothing goes back by itself.
import { workflowInfo } from '@temporalio/workflow';
import type { Saved } from '../../activities/decommission/save.ts';
import { failures } from '../../core/failures.ts';
import { failure, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { stopCapture } from '../lib/start-capture.ts';
import { bringChangesBack, stopReverse } from '../lib/start-reverse.ts';
import { control, long } from '../proxies.ts';

export interface DecommissionInput {
  readonly migration: string;
  readonly snapshotDirectory: string;
  /** Also what only served the migration: old ids, guards, the control schema. */
  readonly removeLedger: boolean;
}

export interface Decommissioned {
  readonly saved: Saved;
  readonly retired: readonly string[];
  readonly removed: readonly string[];
}

/** Nothing has been taken out of use: the new system's changes go on to the old one. An anchor that stands keeps its own settings. */
async function goOn(migration: string): Promise<void> {
  const standing = await control.writesStand();
  if (!standing || standing.moved.length === 0) return;
  const { settings } = await control.startedWith();
  if (settings) await bringChangesBack(migration, settings);
}

/** Each step can be repeated; until the old collections are renamed nothing has changed but that a snapshot is there. */
export async function decommission(input: DecommissionInput): Promise<Decommissioned> {
  const { migration, snapshotDirectory } = input;
  introduce(migration, 'decommission', '## Decommission\n\nSaving the old collections');
  let saving = true;
  try {
    // The application goes on in the new system; what is saved is the old one as it is now.
    await stopReverse(migration);
    const saved = await long.saveOld({ migration, snapshotDirectory, run: workflowInfo().runId });
    introduce(
      migration,
      'decommission',
      `## Decommission\n\nSaved and verified in \`${saved.folder}\`; taking the old collections out of use`,
    );
    saving = false;
    await stopCapture(migration);
    const retired = await long.retireOld(saved);
    const removed = input.removeLedger ? await long.removeServing() : [];
    introduce(
      migration,
      'decommission',
      `## Decommission\n\nSnapshot: \`${saved.folder}\`. Renamed: ${retired.join(', ')}.`,
    );
    return { saved, retired, removed };
  } catch (error) {
    const reason = reasonOf(error);
    if (saving) await goOn(migration);
    // Whatever it was, the traffic is not moved back for it.
    throw failure(failures[reason.type].then === 'compensate' ? { ...reason, type: 'DecommissionRefused' } : reason);
  }
}
