// A checkpoint: a row in rollback_checkpoints with the migration's state, and an entry in the workflow's own.
import type { CheckpointEntry, MigrationState } from '../../core/state.ts';
import { introduce } from '../lib/report.ts';
import { control } from '../proxies.ts';

export async function checkpoint(state: MigrationState, name: string, phase: string): Promise<CheckpointEntry> {
  introduce(state.migration, phase, `Checkpoint **${name}** after the ${phase} phase.`);
  const { collections, routing, undo, stage } = state;
  const at = await control.recordCheckpoint(name, phase, { phase: state.phase, stage, collections, routing, undo });
  return { name, phase, at };
}
