// Checkpoints, taken and put back, begun by a phase, a command, or by hand.
import { z } from 'zod';
import type { Created } from '../../activities/checkpoint/create.ts';
import { nameAt, refuseName } from '../../core/checkpoints.ts';
import type { CheckpointEntry } from '../../core/state.ts';
import * as phaseEnd from '../children/checkpoint.ts';
import type { CheckpointInput } from '../children/checkpoint.ts';
import * as back from '../children/restore.ts';
import type { Restored, RestoreInput } from '../children/restore.ts';
import * as stores from '../children/snapshot.ts';
import type { SnapshotInput } from '../children/snapshot.ts';
import { begun, isGiven, nameInId, one } from '../lib/by-hand.ts';
import { migrationMeant, readInput } from '../lib/inputs.ts';

const checkpointName = z.string().superRefine((text, context) => {
  const refusal = refuseName(text);
  if (refusal) context.addIssue({ code: 'custom', message: refusal.replace(/\.$/, '') });
});

/** By hand: `{}`, or the checkpoint's name. */
export async function snapshot(given?: unknown): Promise<Created> {
  if (
    isGiven<SnapshotInput>(given, {
      migration: 'string',
      name: 'string',
      snapshotDirectory: 'string',
      workflow: 'object',
    })
  ) {
    migrationMeant(given.migration);
    return stores.snapshot(given);
  }
  const asked = readInput(z.strictObject({ ...one, name: checkpointName.optional() }), given, 'name');
  const migration = migrationMeant(asked.migration);
  const { settings } = await begun(migration);
  const name = asked.name ?? nameInId() ?? nameAt(new Date());
  return stores.snapshot({ migration, name, snapshotDirectory: settings.snapshotDirectory, workflow: null });
}

/** By hand: the checkpoint's name verifies it; `{"name": "…", "dryRun": false}` puts it back. */
export async function restore(given?: unknown): Promise<Restored> {
  if (
    isGiven<RestoreInput>(given, {
      migration: 'string',
      name: 'string',
      snapshotDirectory: 'string',
      settings: 'object',
    })
  ) {
    migrationMeant(given.migration);
    return back.restore(given);
  }
  const schema = z.strictObject({ ...one, name: checkpointName, dryRun: z.boolean().default(true) });
  const asked = readInput(schema, given, 'name');
  const migration = migrationMeant(asked.migration);
  const { settings } = await begun(migration);
  const { snapshotDirectory } = settings;
  return back.restore({ migration, name: asked.name, dryRun: asked.dryRun, snapshotDirectory, host: null, settings });
}

/** A migration takes it at the end of each phase. By hand, `{}` or a name, it is one of all stores, as `causeway checkpoint create` takes it. */
export async function checkpoint(given?: unknown): Promise<CheckpointEntry | Created> {
  if (isGiven<CheckpointInput>(given, { state: 'object', name: 'string', phase: 'string', next: 'object' }))
    return phaseEnd.checkpoint(given);
  return snapshot(given);
}
