// A migration whose workflow does not run: what the database knows of it, and ways back that need no root.
import { isGrpcDeadlineError, WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client';
import type pg from 'pg';
import { unfinishedMessage, unfinishedRestore } from '../control/checkpoints.ts';
import { controlSchemaOf } from '../control/schema.ts';
import { knownOf } from '../control/lifecycle.ts';
import { nothingKnown, type Known } from '../core/lifecycle.ts';
import { refusalOfEnded, statusOfEnded } from '../core/ended.ts';
import { begin, notCaptured, statusOf, type Status } from '../core/state.ts';
import type { UndoStep } from '../core/story.ts';
import { openPool } from '../stores/postgres/connection.ts';
import type { RollbackResult } from '../workflows/children/rollback.ts';
import type { PassedOn, rollback as rollbackWorkflow } from '../workflows/entrances/back.ts';
import { rollbackId } from '../workflows/contract.ts';
import { namedAfter } from './attributes.ts';
import { handleOf, readAddresses, type TemporalSession } from './connect.ts';
import { OrderRefused } from './errors.ts';
import { settingsFor } from './migration-settings.ts';
import { isUntaken, outcomeOf } from './outcome.ts';
import { queueFor } from './queue.ts';
import { named, waiting } from './waiting.ts';

const patienceMs = 3000;

/** Nothing where the control schema is not there, or another migration's. */
export const knownNow = async (name: string): Promise<Known> => (await fromOwn(name, knownOf)) ?? nothingKnown;

/** What a restore that has not ended leaves to be done; undefined: there is none. */
export async function unfinishedNow(name: string): Promise<string | undefined> {
  const unfinished = await fromOwn(name, unfinishedRestore);
  return unfinished && unfinishedMessage(unfinished);
}

/** Read from the migration's own control schema; undefined: there is none of its. */
async function fromOwn<T>(name: string, read: (pool: pg.Pool) => Promise<T>): Promise<T | undefined> {
  const pool = openPool((await readAddresses()).addresses.postgres, 1, { statementTimeoutMs: patienceMs });
  try {
    return (await controlSchemaOf(pool, name)).is === 'ours' ? await read(pool) : undefined;
  } finally {
    await pool.end();
  }
}

/** Whether the root's workflow runs; a migration that Temporal does not know does not. */
export async function runs(session: TemporalSession, name: string): Promise<boolean> {
  return (await descriptionOf(session, name))?.status.name === 'RUNNING';
}

export async function descriptionOf(session: TemporalSession, name: string) {
  try {
    return await handleOf(session, name).describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

/** Throws, with what stands and what is possible, where no workflow takes the order. */
export async function refuseEnded(session: TemporalSession, name: string, order: string): Promise<void> {
  if (!(await runs(session, name))) throw new OrderRefused(refusalOfEnded(order, name, await knownNow(name)));
}

/** From the database, and from Temporal what it still knows. Throws WorkflowNotFoundError where neither knows of it. */
export async function statusOfStopped(session: TemporalSession, name: string): Promise<Status> {
  const handle = handleOf(session, name);
  const description = await descriptionOf(session, name);
  const last = description?.status.name === 'COMPLETED' ? await handle.result() : undefined;
  const known = await knownNow(name).catch((error: unknown) => {
    if (!last) throw error;
    process.stderr.write(
      'PostgreSQL does not answer: this is what the migration ended with, and may have changed since.\n',
    );
    return undefined;
  });
  if (known?.standing)
    return statusOfEnded(name, known, known.standing, { last, isBeingUndone: await isBeingUndone(session, name) });
  const isUndone = known !== undefined && (await wasUndone(session, name));
  if (last) return isUndone && last.state === 'completed' ? { ...last, ...undone } : last;
  if (isUndone) return { ...statusOf(begin(name)), ...undone };
  if (!description) throw new WorkflowNotFoundError('not found', handle.workflowId, undefined);
  const why = description.status.name === 'FAILED' ? await reasonOf(handle) : '';
  throw new OrderRefused(
    `Of the migration ${name} nothing stands in the targets; its workflow is ${description.status.name.toLowerCase()}.${why} \`causeway start\` begins it.`,
  );
}

/** Nothing of it stands, and nothing that was said of it holds. */
const undone = {
  state: 'rolled-back' as const,
  collections: {},
  capture: notCaptured,
  routing: {},
  checkpoints: [],
  refused: [],
  lastError: null,
} satisfies Partial<Status>;

const reasonOf = (handle: Pick<WorkflowHandle, 'result'>): Promise<string> =>
  handle.result().then(
    () => '',
    (error: { cause?: Error }) => ` ${error.cause?.message ?? ''}`,
  );

/** Whether a rollback is at work, although no root is. */
const isBeingUndone = async ({ client }: TemporalSession, name: string): Promise<boolean> =>
  (
    await client.workflow
      .getHandle(rollbackId(name))
      .describe()
      .catch(() => undefined)
  )?.status.name === 'RUNNING';

/** Whether a rollback removed everything after the root had ended. */
async function wasUndone({ client }: TemporalSession, name: string): Promise<boolean> {
  const handle = client.workflow.getHandle<typeof rollbackWorkflow>(rollbackId(name));
  const description = await handle.describe().catch(() => undefined);
  if (description?.status.name !== 'COMPLETED') return false;
  const result = await handle.result();
  return 'undone' in result && result.undone.some((step) => step.undo === 'preparation');
}

/**
 * Compensation without a root. One that runs already is followed; what it leaves is undone after it. undefined: it has not ended within `patienceMs`,
 * and goes on by itself.
 */
export async function undoEnded(
  session: TemporalSession,
  name: string,
  steps: readonly UndoStep[],
  patienceMs?: number,
): Promise<RollbackResult | PassedOn | undefined> {
  const { zone, providers, fenceMs } = await settingsFor(session, name);
  const workflowId = rollbackId(name);
  const taskQueue = await queueFor(session, name);
  const { workflow } = session.client;
  const ended = (handle: WorkflowHandle<typeof rollbackWorkflow>): Promise<RollbackResult | PassedOn | undefined> =>
    patienceMs === undefined ? outcomeOf(session, handle) : resultWithin(session, handle, patienceMs);
  const attributes = await namedAfter(session, name);
  process.stderr.write(`Rolling back: ${workflowId} undoes ${steps.map((step) => step.undo).join(', ')}.\n`);
  const left = `The way back goes on; only this command has ended. \`causeway status${named(name)}\` says where the migration stands; the same command again follows the way back to its end.`;
  return waiting(left, async () => {
    for (;;)
      try {
        const handle = await workflow.start<typeof rollbackWorkflow>('rollback', {
          workflowId,
          taskQueue,
          ...attributes,
          args: [name, steps, { zone, providers, fenceMs }],
        });
        return await ended(handle);
      } catch (error) {
        if ((error as Error).name !== 'WorkflowExecutionAlreadyStartedError') throw error;
        if ((await ended(workflow.getHandle<typeof rollbackWorkflow>(workflowId))) === undefined) return undefined;
      }
  });
}

/** Whether a worker has taken up the rollback. */
export const isTaken = async ({ client }: TemporalSession, name: string): Promise<boolean> =>
  !isUntaken(await client.workflow.getHandle(rollbackId(name)).describe());

/** The question itself ends: one that is left open would keep the command from ending. */
async function resultWithin<T>(
  { client }: TemporalSession,
  handle: { result(): Promise<T> },
  ms: number,
): Promise<T | undefined> {
  try {
    return await client.withDeadline(Date.now() + ms, () => handle.result());
  } catch (error) {
    if (isGrpcDeadlineError(error) || isGrpcDeadlineError((error as Error).cause)) return undefined;
    throw error;
  }
}
