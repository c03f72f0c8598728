// A checkpoint: a row in rollback_checkpoints with the migration's state, written together with where it stands from then on.
import type { Standing } from '../../core/lifecycle.ts';
import type { CheckpointEntry, MigrationState } from '../../core/state.ts';
import { introduce } from '../lib/report.ts';
import { control } from '../proxies.ts';

export interface CheckpointInput {
  readonly state: MigrationState;
  readonly name: string;
  readonly phase: string;
  readonly next: Standing;
}

export async function checkpoint({ state, name, phase, next }: CheckpointInput): Promise<CheckpointEntry> {
  introduce(state.migration, phase, `Checkpoint **${name}** after the ${phase} phase.`);
  const { collections, routing, undo, stage } = state;
  const kept = { phase: state.phase, stage, collections, routing, undo };
  const at = await control.recordCheckpoint({ name, phase, state: kept, next });
  return { name, phase, at };
}
