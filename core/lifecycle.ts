// The life of a migration as rules: what is known durably decides what may be removed, where a root begins, and what an order finds. Pure.
import type { Stage } from './settings.ts';
import {
  notCaptured,
  type CaptureProgress,
  type CheckpointEntry,
  type CollectionProgress,
  type Route,
} from './state.ts';
import { after, phases, stepsBackTo, type Phase, type UndoStep } from './story.ts';

/** What says that the new system's data counts. */
export interface Authority {
  /** Collections whose writes the new system has. */
  readonly moved: readonly string[];
  /** The reverse sync is anchored: writes may move at any moment, or what moved is still on its way back. */
  readonly armed: boolean;
  /** Old collections closed to writers, whose own validation is kept in the control schema alone. */
  readonly closed: readonly string[];
}

export interface Undoing {
  /** What is left, newest first. */
  readonly steps: readonly UndoStep[];
  /** How the migration ends when nothing is left; `parked` where it waits for somebody. */
  readonly then: 'aborted' | 'rolled-back' | 'parked';
}

/** Where the migration stands, as it was written down. */
export interface Standing {
  readonly phase: Phase;
  readonly stage: number;
  readonly override: boolean;
  readonly undo: readonly UndoStep[];
  /** Compensation that has begun and not ended. */
  readonly undoing: Undoing | null;
  readonly completed: boolean;
  readonly until: Phase;
  readonly collections: Readonly<Record<string, CollectionProgress>>;
  readonly settings: { readonly stages?: readonly Pick<Stage, 'name'>[] };
}

/** Everything that is known durably of a migration. */
export interface Known {
  /** null: nothing was begun, or all of it was undone. */
  readonly standing: Standing | null;
  readonly authority: Authority;
  /** The old system was taken out of use, or is being. */
  readonly retired: boolean;
  /** A restore that has not ended, in a sentence. */
  readonly restoring: string | null;
  readonly checkpoints: readonly CheckpointEntry[];
  readonly routing: Readonly<Record<string, Route>>;
  readonly capture: CaptureProgress;
  /** Why it parked, where nothing of it has gone on since: the failure's class and its sentence. */
  readonly parked: string | null;
}

export const nothingKnown: Known = {
  standing: null,
  authority: { moved: [], armed: false, closed: [] },
  retired: false,
  restoring: null,
  checkpoints: [],
  routing: {},
  capture: notCaptured,
  parked: null,
};

export const counts = ({ moved, armed, closed }: Authority): boolean => moved.length > 0 || armed || closed.length > 0;

/** Why the new system counts, as a clause. */
export function why({ moved, armed, closed }: Authority): string {
  if (moved.length > 0) return `the new system has the writes of ${moved.join(', ')}`;
  if (armed) return 'the reverse sync to the old system is anchored';
  return `${closed.join(', ')} of the old system ${closed.length === 1 ? 'is' : 'are'} closed to writers`;
}

const takeBack =
  '`causeway rollback --to old` first takes reads and writes back to the old system, and loses none of them.';

/** Why nothing may be removed; undefined where it may. Every step that removes asks, in the transaction in which it does. */
export const refusalToRemove = (authority: Authority, what: string): string | undefined =>
  counts(authority) ? `${what} is not removed, because ${why(authority)}. Nothing was changed. ${takeBack}` : undefined;

/** Why the old system is not taken out of use; undefined where nothing is read or written there any more. */
export function refusalToRetire(
  routes: Readonly<Record<string, Route>>,
  mappings: readonly string[],
): string | undefined {
  const used = mappings.filter((mapping) => {
    const route = routes[mapping];
    return route?.writeMode !== 'new_system' || route.percentage < 100;
  });
  return used.length === 0
    ? undefined
    : `The old system is still used: reads or writes of ${used.join(', ')} go there. Nothing of it was taken out of use.`;
}

export type Arrival =
  | { readonly is: 'begins' }
  | { readonly is: 'refused'; readonly message: string }
  | {
      readonly is: 'takes-over';
      readonly phase: Phase;
      readonly stage: number;
      readonly override: boolean;
      readonly undo: readonly UndoStep[];
      readonly undoing: Undoing | null;
    };

/** What a root that begins does. It takes over whatever was left standing, and refuses where a new beginning could only do harm. */
export function arrive(
  { standing, authority, retired, restoring }: Known,
  order: { readonly until: Phase; readonly stages: readonly Pick<Stage, 'name'>[] },
): Arrival {
  const refused = (message: string): Arrival => ({ is: 'refused', message });
  if (restoring !== null) return refused(restoring);
  if (retired)
    return refused(
      'The old system of this migration was taken out of use: nothing is left to migrate. Another migration needs target databases of its own.',
    );
  if (standing === null)
    return counts(authority) ? refused(`Nothing is begun, because ${why(authority)}. ${takeBack}`) : { is: 'begins' };
  // What was being undone is brought to its end, whatever had been completed before.
  if (standing.completed && standing.undoing === null && counts(authority))
    return refused(
      `The migration is completed: ${why(authority)}. There is nothing to start. \`causeway rollback --to old\` takes reads and writes back to the old system and loses none of them; \`causeway decommission\` takes the old system out of use.`,
    );
  const due = standing.completed ? (after(standing.phase) ?? standing.phase) : standing.phase;
  if (!counts(authority))
    return takesOver(standing, phases.indexOf(due) > phases.indexOf(order.until) ? order.until : due, order.stages);
  return order.until === 'cutover'
    ? takesOver(standing, due, order.stages)
    : refused(
        `The migration stands in its cutover, and ${why(authority)}: it cannot end before, with ${order.until}. Start it without \`--until\` and it goes on. ${takeBack}`,
      );
}

function takesOver(standing: Standing, phase: Phase, stages: readonly Pick<Stage, 'name'>[]): Arrival {
  const before = standing.settings.stages ?? [];
  const same = stages.findIndex((stage, i) => stage.name !== before[i]?.name);
  // A stage that was passed under another name has not been passed.
  const stage = Math.min(standing.stage, same < 0 ? stages.length : same);
  return {
    is: 'takes-over',
    phase,
    stage,
    override: standing.override && stage === standing.stage,
    undo: standing.undo,
    undoing: standing.undoing,
  };
}

/** What a phase that failed for good has its own run undo: only what this run has made, never what it found. */
export const compensates = (failed: Phase, made: readonly Phase[]): boolean => made.includes(failed);

/** What cancelling the root's workflow means. */
export const onCancel = (authority: Authority): 'abort' | 'park' => (counts(authority) ? 'park' : 'abort');

/**
 * The steps back to the end of `to`, newest first: what was written down, and the cutover wherever the new system counts, or is read: an operator's order
 * moves reads also after the phase that was written down was undone.
 */
export function stepsBack(
  undo: readonly UndoStep[],
  to: Phase | undefined,
  { authority, routing }: Pick<Known, 'authority' | 'routing'>,
): UndoStep[] {
  const steps = stepsBackTo(undo, to);
  const isUsed = counts(authority) || Object.values(routing).some((route) => route.percentage > 0);
  const isMissing = isUsed && to !== 'cutover' && !steps.some((step) => step.undo === 'cutover');
  return isMissing ? [{ undo: 'cutover' }, ...steps] : steps;
}

/** The log after a step was undone. One that only took traffic back to a stage has undone nothing that was written down. */
export const withoutUndone = (undo: readonly UndoStep[], step: UndoStep): UndoStep[] =>
  step.to ? [...undo] : undo.filter((one) => one.undo !== step.undo);

/** Where a migration stands whose step was undone. */
export function afterUndone(standing: Standing, step: UndoStep): Standing {
  const undo = withoutUndone(standing.undo, step);
  const left = standing.undoing?.steps.filter((one) => one.undo !== step.undo) ?? [];
  const undoing = left.length > 0 ? { ...standing.undoing!, steps: left } : null;
  const [phase, stage] = step.to ? (['cutover', step.to.stage] as const) : ([step.undo, 0] as const);
  return { ...standing, phase, stage, override: false, completed: false, undo, undoing };
}
