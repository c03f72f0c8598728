// What is said of a migration whose workflow does not run: where it stands, and why an order finds nobody. Pure.
import { restoreHint } from './checkpoints.ts';
import { failures, isFailureType } from './failures.ts';
import { counts, stepsBack, why, type Known, type Standing } from './lifecycle.ts';
import { isOver, type Status } from './state.ts';
import { isPhase, type Phase, type UndoStep } from './story.ts';

export interface Ended {
  /** What its last workflow ended with, where Temporal still knows. */
  readonly last?: Status | undefined;
  /** A rollback is at work all the same. */
  readonly isBeingUndone?: boolean;
}

/** Of one that stands, and whose own workflow does not run. */
export function statusOfEnded(
  migration: string,
  known: Known,
  standing: Standing,
  { last, isBeingUndone = false }: Ended,
): Status {
  const completed = standing.completed && standing.undoing === null && !isBeingUndone;
  const told = completed && last?.state === 'completed' ? last : undefined;
  const { routing, checkpoints, capture } = known;
  return {
    migration,
    phase: standing.phase,
    state: completed ? 'completed' : isBeingUndone ? 'compensating' : 'stopped',
    waitingFor: completed || isBeingUndone ? null : 'causeway start',
    collections: told?.collections ?? standing.collections,
    capture,
    routing,
    stage: standing.stage,
    checkpoints,
    refused: last?.refused ?? [],
    lastError: completed || isBeingUndone ? null : stoppedBecause(known, standing, last),
  };
}

/** Of one whose workflow runs, and for which no worker answers: as it was last written down. */
export function statusUnanswered(migration: string, known: Known, standing: Standing): Status {
  const { phase, stage, undoing, collections } = standing;
  const { routing, checkpoints, capture } = known;
  const state = known.parked !== null ? 'parked' : undoing === null ? 'running' : 'compensating';
  const waitingFor = 'a worker: start `causeway worker`';
  return {
    migration,
    phase,
    state,
    waitingFor,
    stage,
    collections,
    capture,
    routing,
    checkpoints,
    refused: [],
    lastError: known.parked === null ? null : parkedBecause(known.parked, standing),
  };
}

/** A decision's reason is the class and the sentence of what failed; where something was being undone, the sentence alone. */
function parkedBecause(reason: string, { phase }: Standing): NonNullable<Status['lastError']> {
  const [, type, message] = /^(\w+): ([^]*)$/.exec(reason) ?? [];
  if (message !== undefined && isFailureType(type)) return { phase, type, message, advice: failures[type].advice };
  const failed = 'CompensationFailed';
  return { phase, type: failed, message: reason, advice: failures[failed].advice };
}

function stoppedBecause(known: Known, standing: Standing, last: Status | undefined): Status['lastError'] {
  const undoing = standing.undoing?.steps.map((step) => step.undo).join(', ');
  const message =
    undoing !== undefined
      ? `No workflow of this migration runs, and ${undoing} has not been undone to its end.`
      : last && isOver(last.state)
        ? 'The cutover was undone after the migration had ended.'
        : 'No workflow of this migration runs: somebody ended it outside of causeway.';
  return { phase: standing.phase, type: 'Stopped', message, advice: waysOut(known, standing) };
}

/** What leads out of where it stands. */
export function waysOut({ authority }: Known, standing: Standing): string {
  const back = '`causeway rollback --to old` takes reads and writes back to the old system and loses none of them';
  if (standing.completed && standing.undoing === null)
    return counts(authority)
      ? `${back}; \`causeway decommission\` takes the old system out of use.`
      : '`causeway start` goes on with the phases that are left, `causeway abort` undoes the migration.';
  const forward =
    standing.undoing === null
      ? `\`causeway start\` goes on in ${standing.phase}, where it stood`
      : '`causeway start` brings that to its end';
  return counts(authority) ? `${forward}; ${back}.` : `${forward}; \`causeway abort\` undoes the migration.`;
}

const begun =
  'nothing of it stands in the targets: it was never begun, or all of it was undone. `causeway start` begins it; `--migration NAME` names another.';

/** Why an order to a workflow that does not run is not obeyed, and what is possible instead. */
export function refusalOfEnded(order: string, migration: string, { standing, ...known }: Known): string {
  if (standing === null) return `The migration ${migration} takes no \`${order}\`: ${begun}`;
  const state = standing.completed
    ? 'is completed, and nothing of it runs'
    : `stands in ${standing.phase}, and nothing of it runs`;
  return `The migration ${migration} ${state}, so \`${order}\` has no effect. ${waysOut({ standing, ...known }, standing)}`;
}

const retiredMessage = (migration: string): string =>
  `The old system of ${migration} was taken out of use: there is nothing to go back to. Nothing was changed. Its last snapshot is named in the audit log; \`causeway decommission restore\` puts it back under the old names.`;

/** Why nothing is undone by `abort`; undefined where everything may be. */
export function refusalOfAbort(migration: string, { standing, authority, retired }: Known): string | undefined {
  if (retired) return retiredMessage(migration);
  if (counts(authority))
    return `The migration ${migration} is not aborted, because ${why(authority)}: what is in the targets would be lost. \`causeway rollback --to old\` first takes reads and writes back to the old system and loses none of them; then abort. Nothing was changed.`;
  return standing === null ? `There is nothing to abort for the migration ${migration}: ${begun}` : undefined;
}

export type WayBack =
  | { readonly is: 'way'; readonly steps: readonly UndoStep[] }
  /** `unknown`: there is no such place to go back to. */
  | { readonly is: 'refused' | 'unknown'; readonly message: string };

/** What a rollback undoes where no root runs, newest first. `to`: `old`, a checkpoint of a phase, or nothing for everything. */
export function wayBackOfEnded(migration: string, known: Known, to: string | undefined): WayBack {
  const { standing, authority, checkpoints, retired } = known;
  if (retired) return { is: 'refused', message: retiredMessage(migration) };
  if (standing === null && !counts(authority))
    return { is: 'refused', message: refusalOfEnded('rollback', migration, known) };
  const back = (phase: Phase | undefined) => stepsBack(standing?.undo ?? [], phase, known);
  const target = to === undefined ? undefined : to === 'old' ? 'data' : phaseOf(checkpoints, to);
  if (to === undefined || target !== undefined) return { is: 'way', steps: back(target) };
  const names = checkpoints.filter((one) => back(phaseOf([one], one.name)).length > 0).map((one) => one.name);
  return { is: 'unknown', message: `${noWayBack(known, names, to)} ${restoreHint(to)}` };
}

export const phaseOf = (checkpoints: Known['checkpoints'], to: string): Phase | undefined => {
  const found = checkpoints.find((one) => one.name === to)?.phase;
  return isPhase(found) ? found : undefined;
};

function noWayBack({ standing }: Known, names: readonly string[], to: string): string {
  const ways = [
    '`--to old` (reads and writes to the old system, what was copied stays)',
    ...names.map((name) => `\`--to ${name}\``),
    'no --to (everything is undone)',
  ];
  return `There is no way back to ${to}: the migration is ${standing?.completed ? 'completed' : 'stopped'}, and its cutover stages have ended with it. There is: ${ways.join(', ')}.`;
}
