// Reaching Temporal and the stores from a command: the environment over the embedded stack, and clear words when there is nobody.
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, type WorkflowHandleWithSignaledRunId } from '@temporalio/client';
import { refuseMigrationName } from '../core/owner.ts';
import { environment as stackEnvironment, homeOf } from '../stack/index.ts';
import { readEnvironment, type Environment } from '../workers/environment.ts';
import { reach, readTemporal, type TemporalSettings } from '../workers/temporal.ts';
import { rootId, statusQuery } from '../workflows/contract.ts';
import type { Status } from '../core/state.ts';
import type { migration } from '../workflows/migration.ts';
import { keyVariable } from '../control/vault.ts';
import { runs, statusOfStopped } from './ended.ts';
import { UnreachableError, UsageError } from './errors.ts';
import { waiting } from './waiting.ts';

/** The embedded stack's key goes where every writer and reader of the quarantine looks for one: into this process's environment. */
export async function readAddresses(): Promise<Environment> {
  const values = { ...(await stackEnvironment()) };
  if (values[keyVariable] !== undefined) process.env[keyVariable] = values[keyVariable];
  return readEnvironment({ ...process.env, ...values });
}

export interface TemporalSession {
  readonly client: Client;
  readonly connection: Connection;
  readonly settings: TemporalSettings;
}

/** Runs `work` with a client and closes it. */
export async function withTemporal<T>(work: (session: TemporalSession) => Promise<T>): Promise<T> {
  const values: Record<string, string | undefined> = { ...process.env, ...(await stackEnvironment()) };
  const settings = readTemporal(values);
  if (!settings)
    throw new UnreachableError(
      'There is no Temporal server: TEMPORAL_ADDRESS is not set and the embedded stack is not running. Try `causeway stack up`.',
    );
  const { address, namespace, options } = settings;
  const connection = await reach(settings, () => Connection.connect({ address, connectTimeout: '5s', ...options }));
  try {
    return await work({ connection, settings, client: new Client({ connection, namespace }) });
  } finally {
    await connection.close();
  }
}

export const handleOf = ({ client }: TemporalSession, name: string) =>
  client.workflow.getHandle<typeof migration>(rootId(name));
export type MigrationHandle = ReturnType<typeof handleOf> | WorkflowHandleWithSignaledRunId<typeof migration>;

const silenceMs = 4000;

/** The answer to an order. Without a worker an order waits for one, and whoever gave it is told what it waits for. */
export function answerTo<T>(order: () => Promise<T>): Promise<T> {
  return waiting(
    'Whether the order was taken, `causeway status` says; what was taken is carried out without this command.',
    () => answered(untilTaken(order)),
  );
}

const askedAgain = 5;

/**
 * Temporal lets go of an order where the task that was to take it fails: a worker dies then, or the workflow was about to end when a signal came.
 * Such an order has not been taken, and is given again.
 */
export async function untilTaken<T>(order: () => Promise<T>): Promise<T> {
  for (let left = askedAgain; ; left--)
    try {
      return await order();
    } catch (error) {
      if (left === 0 || !isLetGo(error)) throw error;
      await sleep(100 * (askedAgain - left + 1));
    }
}

function isLetGo(error: unknown): boolean {
  const { code, details } = ((error as { cause?: unknown }).cause ?? {}) as { code?: unknown; details?: unknown };
  return code === 9 && /workflow task failure/.test(String(details));
}

async function answered<T>(order: Promise<T>): Promise<T> {
  const timer = setTimeout(
    () =>
      process.stderr.write(
        'No answer yet. The order stays with Temporal until a worker takes it: if none runs, start one with `causeway worker`. This command waits.\n',
      ),
    silenceMs,
  );
  try {
    return await order;
  } finally {
    clearTimeout(timer);
  }
}

/** A worker that is alive answers sooner; a command that is promised to answer within 5 s has more to do than to ask. */
export const answerMs = 3000;
/** `status` has something to tell without one, from the database, and has to ask that as well. */
export const statusMs = 2000;
/** One that takes the place of a worker that was killed may need this long: what was handed to the dead one has to be missed first. */
export const patientMs = 15_000;

/** Of a running migration its workflow's answer, which takes a worker; of any other what the database says of it. */
export async function readStatus(session: TemporalSession, name: string, within = patientMs): Promise<Status> {
  checkName(name);
  if (!(await runs(session, name))) return statusOfStopped(session, name);
  return askStatus(session, name, within);
}

/** Throws UnreachableError where no worker answers `within` so many ms. */
export async function askStatus(session: TemporalSession, name: string, within: number): Promise<Status> {
  const status = await answerBy(session, Date.now() + within, () => handleOf(session, name).query(statusQuery));
  if (status) return status;
  throw new UnreachableError(`The migration ${name} runs, but no worker answers for it. Start \`causeway worker\`.`);
}

/** What is asked of a running migration takes a worker; undefined where none has answered until then. */
export async function answerBy<T>(
  { client }: TemporalSession,
  deadline: number,
  ask: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await client.withDeadline(deadline, ask);
  } catch (error) {
    for (let at: unknown = error; at instanceof Error; at = at.cause)
      if (noAnswer.has((at as { code?: unknown }).code) || at.name === 'WorkflowUpdateRPCTimeoutOrCancelledError')
        return undefined;
    throw error;
  }
}

/** gRPC: deadline exceeded, a call that was cancelled because of it, and what the server says at once where it has seen no worker for minutes. */
const noAnswer: ReadonlySet<unknown> = new Set([4, 1, 9]);

export const home = (): string => homeOf().folder;

export function checkName(name: string): string {
  const refusal = refuseMigrationName(name);
  if (refusal !== undefined) throw new UsageError(refusal);
  return name;
}
