// What the root writes down of itself before it acts.
import type { Standing } from '../../core/lifecycle.ts';
import type { MigrationState } from '../../core/state.ts';
import type { MigrationInput } from '../contract.ts';

export function standingOf(state: MigrationState, input: MigrationInput, more: Partial<Standing> = {}): Standing {
  const { phase, stage, override, undo, undoing, collections } = state;
  const { until, settings } = input;
  return { phase, stage, override, undo, undoing, completed: false, until, collections, settings, ...more };
}
