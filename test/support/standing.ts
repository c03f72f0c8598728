// Where a migration stands that has just begun: what a preparation writes down.
import type { Standing } from '../../core/lifecycle.ts';

export const begun: Standing = {
  phase: 'preparation',
  stage: 0,
  override: false,
  undo: [{ undo: 'preparation' }],
  undoing: null,
  completed: false,
  until: 'cutover',
  collections: {},
  settings: {},
};
