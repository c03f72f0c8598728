// Where a migration stands, as it is written down: by a preparation, and before the second stage of a cutover.
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

export const inCutover: Standing = {
  ...begun,
  phase: 'cutover',
  stage: 1,
  undo: [{ undo: 'preparation' }, { undo: 'schema' }, { undo: 'data' }, { undo: 'cutover' }],
};
