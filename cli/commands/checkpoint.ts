// causeway checkpoint: all stores at one moment, kept, listed and put back.
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { ApplicationFailure } from '@temporalio/common';
import { WorkflowFailedError, WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client';
import { knownSnapshots, unfinishedMessage, unfinishedRestore, type KnownSnapshot } from '../../control/checkpoints.ts';
import { nameAt, refuseName, totalOf } from '../../core/checkpoints.ts';
import { isFailureType, KnownFailure } from '../../core/failures.ts';
import type { Status } from '../../core/state.ts';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { Snapshot, snapshotsIn } from '../../stores/snapshots/snapshot.ts';
import type { restore as restoreWorkflow, Restored } from '../../workflows/children/restore.ts';
import type { snapshot as snapshotWorkflow } from '../../workflows/children/snapshot.ts';
import { restoreId, snapshotId } from '../../workflows/contract.ts';
import { namedAfter } from '../attributes.ts';
import { checkName, home, readAddresses, readStatus, withTemporal, type TemporalSession } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
import { configOption, settingsAnyhow, settingsFor } from '../migration-settings.ts';
import { isUntaken } from '../outcome.ts';
import { bytes, count, print, printJson, table } from '../output.ts';
import { named, waiting, workflowGoesOn } from '../waiting.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly config?: string;
}

const withConfig = (command: Command): Command => common(command).option(...configOption);

export const checkpoint = (): Command =>
  new Command('checkpoint')
    .description('point-in-time recovery: all stores at one cut, while writes go on')
    .addCommand(
      withConfig(new Command('create').description('take a checkpoint of all stores'))
        .argument('[name]', 'its name; the time by default')
        .action(create),
    )
    .addCommand(withConfig(new Command('list').description('checkpoints that there are')).action(list))
    .addCommand(
      withConfig(
        new Command('restore').description(
          'put all stores back as they stood; change capture then brings what was written since',
        ),
      )
        .argument('<name>', 'see `causeway checkpoint list`')
        .option('--dry-run', 'verify the snapshot and say what would be done; nothing is changed')
        .option('--yes', 'the targets are replaced')
        .action(restore),
    );

function checkpointName(name: string): string {
  const refusal = refuseName(name);
  if (refusal) throw new UsageError(refusal);
  return name;
}

async function create(given: string | undefined, options: Options): Promise<void> {
  const migration = checkName(options.migration);
  const name = checkpointName(given ?? nameAt(new Date()));
  const made = await withTemporal(async (session) => {
    const { snapshotDirectory } = await settingsFor(session, migration, options.config);
    const workflow = await statusThen(session, migration);
    const handle = await session.client.workflow.start<typeof snapshotWorkflow>('snapshot', {
      workflowId: snapshotId(migration, name),
      taskQueue: await queueFor(session, migration),
      ...(await namedAfter(session, migration)),
      args: [{ migration, name, snapshotDirectory, workflow }],
      staticSummary: `checkpoint ${name}`,
      // Asked for twice at once, it is one.
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    const left = workflowGoesOn(
      'checkpoint',
      handle.workflowId,
      `\`causeway checkpoint create ${name}${named(migration)}\` follows it again.`,
    );
    return waiting(left, () => outcome(handle));
  });
  if (options.json) return printJson(made);
  print(
    `Checkpoint ${made.name}: ${count(made.records)} records in ${bytes(made.bytes)}, at ${made.folder}. Writers were held for ${made.barrierMs} ms.`,
  );
  print(
    table(
      ['store', 'parts', 'records', 'size'],
      Object.entries(made.stores).map(([store, its]) => [store, its.parts, its.records, bytes(its.bytes)]),
    ),
  );
}

/** What the migration's workflow says of itself; null where there is none. */
async function statusThen(session: TemporalSession, migration: string): Promise<Status | null> {
  return readStatus(session, migration).catch((error: unknown) => {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  });
}

interface Listed extends Omit<KnownSnapshot, 'host' | 'barrierMs'> {
  readonly kind: 'snapshot';
  readonly barrierMs: number;
  readonly host: string | null;
  /** `complete`: here, its manifest agrees with its digest. `elsewhere`: not in that folder on this host. */
  readonly state: 'complete' | 'damaged' | 'elsewhere';
}

interface PhaseCheckpoint {
  readonly kind: 'phase';
  readonly name: string;
  readonly createdAt: string;
}

async function list(options: Options): Promise<void> {
  const migration = checkName(options.migration);
  const { snapshotDirectory } = await settingsAnyhow(migration, options.config);
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    const snapshots = await found(await knownSnapshots(pool), resolve(home(), snapshotDirectory, migration));
    const phases = await phaseCheckpoints(pool);
    const unfinished = await unfinishedRestore(pool);
    if (options.json)
      return printJson({ checkpoints: [...snapshots, ...phases], unfinishedRestore: unfinished ?? null });
    if (snapshots.length === 0) print('There is no checkpoint of the stores. `causeway checkpoint create` takes one.');
    else
      print(
        table(
          ['checkpoint', 'taken at', 'records', 'size', 'held writers, ms', 'state', 'folder'],
          snapshots.map((one) => [
            one.name,
            one.createdAt,
            one.records,
            bytes(one.bytes),
            one.barrierMs,
            one.state,
            one.folder,
          ]),
        ),
      );
    if (phases.length > 0)
      print(
        `\nEnds of phases, for \`causeway rollback --to\`: ${phases.map((one) => `${one.name} (${one.createdAt})`).join(', ')}`,
      );
    if (unfinished) print(`\n${unfinishedMessage(unfinished)}`);
  } finally {
    await pool.end();
  }
}

/** What the database lists, and what lies in this host's folder though no database lists it any more. */
async function found(known: readonly KnownSnapshot[], folder: string): Promise<Listed[]> {
  const listed: Listed[] = [];
  for (const one of known) listed.push({ ...one, kind: 'snapshot', state: await stateOf(one.folder) });
  for (const name of await snapshotsIn(folder)) {
    const own = join(folder, name);
    if (known.some((one) => one.folder === own)) continue;
    const snapshot = await Snapshot.open(own).catch(() => undefined);
    const { createdAt = '', barrierMs = 0 } = snapshot?.manifest ?? {};
    const size = snapshot ? totalOf(snapshot.manifest) : { records: 0, bytes: 0 };
    const state = snapshot ? ('complete' as const) : ('damaged' as const);
    listed.push({
      kind: 'snapshot',
      name,
      createdAt,
      ...size,
      barrierMs,
      host: null,
      folder: own,
      manifestSha256: snapshot?.sha256 ?? '',
      state,
    });
  }
  return listed;
}

async function stateOf(folder: string): Promise<Listed['state']> {
  try {
    return (await Snapshot.open(folder)) ? 'complete' : 'elsewhere';
  } catch {
    return 'damaged';
  }
}

async function phaseCheckpoints(pool: ReturnType<typeof openPool>): Promise<PhaseCheckpoint[]> {
  const [there] = await query<{ there: boolean }>(
    pool,
    'looking for checkpoints',
    `select to_regclass('migration_control.rollback_checkpoints') is not null as there`,
  );
  if (!there!.there) return [];
  const rows = await query<{ name: string; created_at: Date }>(
    pool,
    'reading checkpoints',
    'select name, created_at from migration_control.rollback_checkpoints order by created_at',
  );
  return rows.map((row) => ({ kind: 'phase', name: row.name, createdAt: row.created_at.toISOString() }));
}

async function restore(given: string, options: Options & { dryRun?: boolean; yes?: boolean }): Promise<void> {
  const migration = checkName(options.migration);
  const name = checkpointName(given);
  const dryRun = options.dryRun === true;
  if (!dryRun && !options.yes)
    throw new UsageError(
      `Restoring replaces what is in the targets with what stood there at checkpoint ${name}. Look first with --dry-run; with --yes it is done.`,
    );
  const restored = await withTemporal(async (session) => {
    const settings = await settingsFor(session, migration, options.config);
    const { host } = (await listedFor(name)) ?? { host: null };
    const input = { migration, name, snapshotDirectory: settings.snapshotDirectory, host, dryRun, settings };
    const left = workflowGoesOn(
      dryRun ? 'verification of the checkpoint' : 'restore',
      restoreId(migration),
      'the same command again follows it.',
    );
    const handle = await begin(session, input);
    return waiting(left, () => outcome(handle));
  });
  if (restored.validation === 'failed' || restored.capture === 'behind') process.exitCode = 1;
  if (options.json) return printJson(restored);
  print(textOf(restored));
}

type Input = Parameters<typeof restoreWorkflow>[0];

/** A restore of the same checkpoint that runs already is followed; another is in the way. */
async function begin(session: TemporalSession, input: Input): Promise<WorkflowHandle<typeof restoreWorkflow>> {
  const { client } = session;
  const workflowId = restoreId(input.migration);
  const memo = { checkpoint: input.name, dryRun: input.dryRun };
  try {
    return await client.workflow.start<typeof restoreWorkflow>('restore', {
      workflowId,
      taskQueue: await queueFor(session, input.migration),
      ...(await namedAfter(session, input.migration)),
      args: [input],
      memo,
      staticSummary: `restore of ${input.name}`,
    });
  } catch (error) {
    if ((error as Error).name !== 'WorkflowExecutionAlreadyStartedError') throw error;
    const handle = client.workflow.getHandle<typeof restoreWorkflow>(workflowId);
    const running = (await handle.describe()).memo ?? {};
    if (running['checkpoint'] === memo.checkpoint && running['dryRun'] === memo.dryRun) return handle;
    throw new UsageError(
      `A ${running['dryRun'] ? 'verification' : 'restore'} of checkpoint ${String(running['checkpoint'])} is running (${workflowId}). Wait for it to end.`,
    );
  }
}

/** Where the control schema is gone, the worker asked looks in its own folder. */
async function listedFor(name: string): Promise<KnownSnapshot | undefined> {
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    return (await knownSnapshots(pool)).find((one) => one.name === name);
  } finally {
    await pool.end();
  }
}

function textOf(restored: Restored): string {
  const rows = Object.entries(restored.stores).map(([store, its]) => [
    store,
    its.parts,
    its.records,
    its.expired ?? null,
  ]);
  const done = restored.dryRun ? 'Would put back' : 'Put back, and equal to the manifest';
  return [
    `${done}: checkpoint ${restored.name} of ${restored.cut.at}.`,
    table(['store', 'parts', 'records', 'expired since'], rows),
    ...(restored.dryRun ? [] : [`Change capture: ${restored.capture}. Validation: ${restored.validation}.`]),
    ...restored.next,
  ].join('\n');
}

const pauseMs = 500;
const nobodyMs = 10_000;
const untakenMs = 3000;

/** Waits for the end; what the step at work says goes to the terminal. Throws what the workflow failed with, by its class. */
async function outcome<R>(handle: Pick<WorkflowHandle, 'describe'> & { result(): Promise<R> }): Promise<R> {
  let ended = false;
  const result = handle.result().finally(() => (ended = true));
  result.catch(() => undefined);
  let said = '';
  for (const since = Date.now(); !ended; await sleep(pauseMs)) {
    const described = await handle.describe();
    const { raw } = described;
    const [step] = raw.pendingActivities ?? [];
    // 1: scheduled, and nobody has taken it.
    const waits = step?.state === 1 && Date.now() - since > nobodyMs;
    const data = step?.heartbeatDetails?.payloads?.[0]?.data;
    const word = waits ? 'no worker takes the work; start `causeway worker`' : data ? wordOf(data) : '';
    const untaken = isUntaken(described) && Date.now() - since > untakenMs;
    const line = step
      ? `  ${step.activityType?.name ?? ''}${word ? `: ${word}` : ''}`
      : untaken
        ? '  no worker has taken it up yet; start `causeway worker`'
        : '';
    if (line !== said && line !== '') process.stderr.write(`${line}\n`);
    said = line;
    if (ended) break;
  }
  return result.catch((error: unknown) => {
    throw plain(error);
  });
}

function wordOf(data: Uint8Array): string {
  try {
    return String(JSON.parse(Buffer.from(data).toString('utf8')));
  } catch {
    return '';
  }
}

/** The sentence and class of what failed, out of Temporal's wrapping. */
function plain(error: unknown): unknown {
  const cause = error instanceof WorkflowFailedError ? error.cause : undefined;
  if (!(cause instanceof ApplicationFailure)) return error;
  return isFailureType(cause.type) ? new KnownFailure(cause.type, cause.message) : new Error(cause.message);
}
