// The phases of a migration, in the strategy's order, and what undoes each. Undo is data: closures cannot cross continue-as-new.

import type { WriteMode } from './state.ts';

export const phases = ['preparation', 'schema', 'data', 'cutover'] as const;
export type Phase = (typeof phases)[number];

export const after = (phase: Phase): Phase | undefined => phases[phases.indexOf(phase) + 1];
export const isPhase = (text: unknown): text is Phase => phases.includes(text as Phase);

/** One compensation. `phase` is what it undoes; running it twice is the same as once. */
export interface UndoStep {
  readonly undo: Phase;
  /** Only so far: the cutover goes back to where this stage begins. Without it the phase is undone as a whole. */
  readonly to?: Retreat;
}

export interface Retreat {
  readonly stage: number;
  readonly percentage: number;
  readonly writes: WriteMode;
  /** Do not wait for what cannot be drained in time; it follows. */
  readonly immediate: boolean;
}

/** The log with the phase's compensation written down, before the phase acts; once, however often the phase is tried. */
export const writeAhead = (log: readonly UndoStep[], phase: Phase): UndoStep[] =>
  log.some((step) => step.undo === phase) ? [...log] : [...log, { undo: phase }];

/** The steps to take, newest first, to get back to the end of `to`; all of them without `to`. */
export function stepsBackTo(log: readonly UndoStep[], to: Phase | undefined): UndoStep[] {
  const kept = to === undefined ? -1 : phases.indexOf(to);
  return log.filter((step) => phases.indexOf(step.undo) > kept).reverse();
}
