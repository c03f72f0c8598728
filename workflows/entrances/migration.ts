// A migration that is begun by a command, or by hand from Temporal's web UI or its CLI: `{}` is the default migration with the strategy's settings.
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { executeChild, ParentClosePolicy, workflowInfo } from '@temporalio/workflow';
import type { MigrationState } from '../../core/state.ts';
import { rootId, type MigrationInput, type MigrationOutcome } from '../contract.ts';
import { adoptAttributes } from '../lib/by-hand.ts';
import { readMigration, refuseInput } from '../lib/inputs.ts';
import * as story from '../migration.ts';

/** `saved`: of a run that goes on in a new history. */
export function migration(given?: unknown, saved?: MigrationState): Promise<MigrationOutcome> {
  // A promise, never a throw: what is wrong with the input fails the workflow.
  const read = reading(() => readMigration(given));
  if (!('input' in read)) return Promise.reject(read.error as Error);
  const { input } = read;
  if (workflowInfo().workflowId !== rootId(input.name)) return underItsName(input);
  void adoptAttributes(input.name);
  return story.migration(input, saved);
}

function reading<T>(read: () => T): { readonly input: T } | { readonly error: unknown } {
  try {
    return { input: read() };
  } catch (error) {
    return { error };
  }
}

/** Every command looks for the root by its id: one that was started under another begins the root, and ends as that ends. */
async function underItsName(input: MigrationInput): Promise<MigrationOutcome> {
  const workflowId = rootId(input.name);
  try {
    return await executeChild(migration, {
      workflowId,
      args: [input],
      parentClosePolicy: ParentClosePolicy.ABANDON,
      cancellationType: 'ABANDON',
      staticSummary: `migration ${input.name}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw refuseInput([`the migration ${input.name} is running already, as ${workflowId}`]);
  }
}
