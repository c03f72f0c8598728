// The way back, and the end of the old system, begun by a migration, a command, or by hand.
import { getExternalWorkflowHandle, workflowInfo } from '@temporalio/workflow';
import { z } from 'zod';
import { wayBackOfEnded } from '../../core/ended.ts';
import { phases, type Phase, type UndoStep } from '../../core/story.ts';
import * as end from '../children/decommission.ts';
import type { Decommissioned, DecommissionInput } from '../children/decommission.ts';
import * as undoing from '../children/rollback.ts';
import type { RollbackResult, RollbackSettings } from '../children/rollback.ts';
import { rollbackSignal, rootId } from '../contract.ts';
import { begun, isGiven, isObject, one } from '../lib/by-hand.ts';
import { migrationMeant, readInput, refuseInput } from '../lib/inputs.ts';
import { control } from '../proxies.ts';

const rollbackInput = z.strictObject({
  ...one,
  to: z.string().min(1).default('old'),
  everything: z.literal(true, 'give true, or leave it out').optional(),
  reason: z.string().min(1).max(500).default('started by hand'),
});

/** Of a root that runs: it has the order, and what becomes of it stands there. */
export interface PassedOn {
  readonly passedOnTo: string;
}

/** By hand, `{}`: reads and writes to the old system, what was copied stays. A root that runs is given the order; of one that has ended it is undone here. */
export async function rollback(
  given?: unknown,
  steps?: readonly UndoStep[],
  settings?: RollbackSettings,
): Promise<RollbackResult | PassedOn> {
  if (typeof given === 'string' && Array.isArray(steps) && isObject(settings)) {
    const migration = migrationMeant(given);
    // Ordered while no root ran; one may have begun since, and goes on from what this would undo.
    if (
      workflowInfo().parent === undefined &&
      !steps.some((step) => step.to) &&
      (await passOn(migration, backTo(steps), 'ordered before it was started'))
    )
      return { passedOnTo: rootId(migration) };
    return undoing.rollback(migration, steps, settings);
  }
  const asked = readInput(rollbackInput, given, 'to');
  const migration = migrationMeant(asked.migration);
  const { everything, reason } = asked;
  const to = everything ? undefined : asked.to;
  if (await passOn(migration, to, reason)) return { passedOnTo: rootId(migration) };
  const way = wayBackOfEnded(migration, await control.readKnown(), to);
  if (way.is !== 'way') throw refuseInput([way.message.replace(/\.$/, '')]);
  return undoing.rollback(migration, way.steps, (await begun(migration)).settings);
}

/** Whether a root runs, which has the order then. */
const passOn = (migration: string, to: string | undefined, reason: string): Promise<boolean> =>
  getExternalWorkflowHandle(rootId(migration))
    .signal(rollbackSignal, { ...(to !== undefined && { to }), reason })
    .then(
      () => true,
      () => false,
    );

/** The checkpoint that the steps lead back to; undefined: to the beginning. */
function backTo(steps: readonly UndoStep[]): Phase | undefined {
  const oldest = steps.at(-1);
  return oldest && phases[phases.indexOf(oldest.undo) - 1];
}

export async function decommission(given?: unknown): Promise<Decommissioned> {
  if (
    isGiven<DecommissionInput>(given, { migration: 'string', snapshotDirectory: 'string', removeLedger: 'boolean' })
  ) {
    migrationMeant(given.migration);
    return end.decommission(given);
  }
  const schema = z.strictObject({
    ...one,
    /** Nothing is taken out of use by an empty form. */
    confirm: z.literal(true, 'give {"confirm": true}: the old collections are saved, closed and renamed'),
    removeLedger: z.boolean().default(false),
  });
  const asked = readInput(schema, given, 'migration');
  const migration = migrationMeant(asked.migration);
  const { settings } = await begun(migration);
  return end.decommission({
    migration,
    snapshotDirectory: settings.snapshotDirectory,
    removeLedger: asked.removeLedger,
  });
}
