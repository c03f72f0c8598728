// A checkpoint of all stores, asked for by an operator: one step, because its parts belong to one cut.
import { workflowInfo } from '@temporalio/workflow';
import type { CreateOrder, Created } from '../../activities/checkpoint/create.ts';
import { failure, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { long } from '../proxies.ts';

export type SnapshotInput = Omit<CreateOrder, 'run'>;

/** History holds counts, digests and where the snapshot lies. Of what broke off, the next attempt begins anew, at a cut of its own. */
export async function snapshot(input: SnapshotInput): Promise<Created> {
  introduce(input.migration, 'checkpoint', `Checkpoint **${input.name}** of all stores.`);
  try {
    const made = await long.createSnapshot.executeWithOptions({ summary: input.name }, [
      { ...input, run: workflowInfo().runId },
    ]);
    introduce(
      input.migration,
      'checkpoint',
      `## Checkpoint ${made.name}\n\n${made.records} records in ${made.bytes} bytes at \`${made.folder}\`; writers were held for ${made.barrierMs} ms.`,
    );
    return made;
  } catch (error) {
    throw failure(reasonOf(error));
  }
}
