// causeway verify: every row of every target against the source, while it changes; --repair writes again what differs.
import { setTimeout as sleep } from 'node:timers/promises';
import cliProgress from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import {
  ApplicationFailure,
  WorkflowFailedError,
  WorkflowIdConflictPolicy,
  type WorkflowHandle,
} from '@temporalio/client';
import {
  differencesOf,
  kindsOf,
  verificationProgress,
  type Difference,
  type Kind,
  type Summary,
  type VerificationProgress,
} from '../../control/verification-report.ts';
import { scopeOf } from '../../activities/verify/verifier.ts';
import { isFailureType, KnownFailure } from '../../core/failures.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { verificationId } from '../../workflows/contract.ts';
import type { verification } from '../../workflows/children/verification.ts';
import { namedAfter } from '../attributes.ts';
import { captureRests, notRunning } from '../capture-state.ts';
import { checkName, readAddresses, withTemporal, type TemporalSession } from '../connect.ts';
import { liveCapture } from '../live.ts';
import { isServed, noWorker, queueFor } from '../queue.ts';
import { UnreachableError, UsageError } from '../errors.ts';
import { configOption, settingsFor } from '../migration-settings.ts';
import { count, print, printJson, table } from '../output.ts';
import { waiting, workflowGoesOn } from '../waiting.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly collection?: string;
  readonly config?: string;
  readonly repair?: boolean;
  readonly restart?: boolean;
  readonly rate?: number;
}

/** Printed at most; the rest stands in migration_control.verification_keys. */
const mostShown = 1000;

export const verify = (): Command =>
  common(
    new Command('verify').description(
      'compare every row, document and key of the targets with the source, while it changes; goes on where an earlier run stopped',
    ),
  )
    .option('--collection <name>', 'only this collection')
    .option('--repair', 'write again what differs, and keys that Redis has forgotten, and verify it')
    .option('--restart', 'begin anew, also where an earlier run has not ended')
    .option('--rate <rows>', 'documents or rows compared per second at most', positive)
    .option(...configOption)
    .action((options: Options) => withTemporal((session) => run(session, options)));

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It must be a positive number.');
  return value;
}

async function run(session: TemporalSession, options: Options): Promise<void> {
  const name = checkName(options.migration);
  const { zone, providers, configurationDirectory, verifyRowsPerSecond } = await settingsFor(
    session,
    name,
    options.config,
  );
  const collections = options.collection === undefined ? undefined : [options.collection];
  const taskQueue = await queueFor(session, name);
  await requireWorker(session, name, taskQueue);
  const handle = await session.client.workflow
    .start<typeof verification>('verification', {
      workflowId: verificationId(name),
      taskQueue,
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
      ...(await namedAfter(session, name)),
      staticSummary: `verification of ${name}`,
      args: [
        {
          migration: name,
          order: {
            ...(collections && { collections }),
            zone,
            providers,
            configurationDirectory,
            rowsPerSecond: options.rate ?? verifyRowsPerSecond ?? 0,
            ...(options.repair && { restoreKeys: true }),
          },
          repair: options.repair === true,
          restart: options.restart === true,
        },
      ],
    })
    .catch((error: Error) => {
      if (error.name === 'WorkflowExecutionAlreadyStartedError')
        throw new UsageError(
          `A verification of ${name} is running already: ${verificationId(name)} in the web UI shows how far it is. Terminate it there to begin another; it goes on where that one stood.`,
        );
      throw error;
    });
  const gap = (await liveCapture().catch(() => undefined))?.gap;
  if (gap) process.stderr.write(gapText(gap.detail));
  else if (await captureRests(session, name)) process.stderr.write(`Change capture: ${notRunning}\n`);
  const pool = openPool((await readAddresses()).addresses.postgres, 2);
  try {
    const left = workflowGoesOn(
      'verification',
      verificationId(name),
      'what differs stands in migration_control.verification_keys, and in `causeway report`.',
    );
    const summary = await waiting(left, () =>
      follow(handle, () => verificationProgress(pool, scopeOf(collections)), options.json === true),
    );
    const differences = await differencesOf(pool, summary.run, mostShown);
    const kinds = await kindsOf(pool, summary.run);
    const nothing = summary.equal + summary.different + summary.open === 0;
    if (summary.different > 0 || summary.open > 0 || nothing) process.exitCode = 1;
    if (options.json) printJson({ ...summary, kinds, differences });
    else if (nothing) print(nothingCompared);
    else show(summary, kinds, differences);
  } finally {
    await pool.end();
  }
}

const gapText = (detail: string): string =>
  `Change capture has a gap (${detail}): what the source has changed since does not come, so that each key that differs is looked at again and again before it counts, which takes long. \`causeway repair\` closes the gap; verify afterwards.\n`;

const nothingCompared =
  'Nothing was compared: neither the source nor the targets hold anything of these collections, so nothing is verified. See `causeway assess`: the database in SOURCE_MONGODB_URL may be another one.';

/** Whoever polls the queue: without a worker nothing would happen, and nobody would say so. */
async function requireWorker(session: TemporalSession, name: string, queue: string): Promise<void> {
  if (!(await isServed(session, queue))) throw new UnreachableError(noWorker(name, queue));
}

type Progress = () => Promise<VerificationProgress | undefined>;

/** A bar on a terminal, elsewhere a line per tenth. A worker that died a moment ago still counts as one: silence is said. */
async function follow(
  handle: WorkflowHandle<typeof verification>,
  progress: Progress,
  silent: boolean,
): Promise<Summary> {
  const ended = new AbortController();
  const result = handle.result().finally(() => ended.abort());
  const bar =
    !silent && process.stderr.isTTY
      ? new cliProgress.SingleBar(
          {
            format: '  {what} [{bar}] {percentage}% {value}/{total}  {note}',
            hideCursor: true,
            stream: process.stderr,
          },
          cliProgress.Presets.legacy,
        )
      : undefined;
  bar?.start(1, 0, { what: 'verify', note: '' });
  const watching = watch(handle, progress, ended.signal, silent, bar);
  try {
    return await result;
  } catch (error) {
    throw reasonOf(error);
  } finally {
    await watching;
    bar?.stop();
  }
}

/** The workflow names the failure's class and says a sentence; around it Temporal says only that it failed. */
function reasonOf(error: unknown): unknown {
  const cause = error instanceof WorkflowFailedError ? error.cause : undefined;
  return cause instanceof ApplicationFailure && isFailureType(cause.type)
    ? new KnownFailure(cause.type, cause.message)
    : error;
}

const silenceMs = 10_000;

async function watch(
  handle: WorkflowHandle<typeof verification>,
  progress: Progress,
  signal: AbortSignal,
  silent: boolean,
  bar: cliProgress.SingleBar | undefined,
): Promise<void> {
  let said = '';
  let warned = false;
  const started = performance.now();
  while (!signal.aborted) {
    const now = await progress().catch(() => undefined);
    if (!warned && performance.now() - started > silenceMs) {
      warned = true;
      const { historyLength } = await handle.describe();
      if (historyLength < 4)
        process.stderr.write(
          '  No worker has taken the verification up yet. Start `causeway worker`; it then goes on.\n',
        );
    }
    if (now) {
      const note = `${now.scan ?? `generation ${now.generation}`}; ${count(now.suspects)} to look at again, ${count(now.different)} different`;
      bar?.setTotal(Math.max(1, now.total));
      bar?.update(now.compared, { what: 'verify', note });
      const line = `${now.total === 0 ? 0 : Math.floor((now.compared * 10) / now.total) * 10} %, ${note.split(';', 1)[0]}`;
      if (!bar && !silent && line !== said) print(`  ${line}`);
      said = line;
    }
    await sleep(500, undefined, { signal }).catch(() => undefined);
  }
}

const states = { different: 'different', suspect: 'open', repaired: 'repaired' } as const;

/** `3 different (missing), 1 open (extra)`: a list of a thousand does not say it. */
export const kindsText = (kinds: readonly Kind[]): string =>
  kinds
    .map(({ state, finding, keys }) => `${count(keys)} ${states[state]}${finding === null ? '' : ` (${finding})`}`)
    .join(', ');

function show(summary: Summary, kinds: readonly Kind[], differences: readonly Difference[]): void {
  print(
    `Verified as of clusterTime ${summary.asOf}: ${count(summary.equal)} keys equal, ${count(summary.different)} different, ${count(summary.open)} open, oldest open ${summary.oldestOpenSeconds} s.`,
  );
  print(
    `${count(summary.documents)} documents and ${count(summary.rows)} rows and keys read in ${summary.seconds} s; ${count(summary.judged)} looked at again in ${summary.generations} generations.`,
  );
  if (summary.evicted > 0)
    print(
      `${count(summary.evicted)} keys are not in Redis; their rows are in PostgreSQL, so they may be evicted. \`causeway verify --repair\` sets them again.`,
    );
  if (summary.restored > 0) print(`${count(summary.restored)} keys were not in Redis and have been set again.`);
  if (kinds.length > 0) print(`Found: ${kindsText(kinds)}.`);
  if (differences.length > 0)
    print(
      table(
        ['collection', 'source', 'key', 'state', 'finding', 'what differs', 'since'],
        differences.map((one) => [
          one.collection,
          one.source ?? one.kind,
          one.id,
          states[one.state],
          one.finding,
          one.differs.join(', '),
          one.since,
        ]),
      ),
    );
  if (differences.length === mostShown) print('There are more; all stand in migration_control.verification_keys.');
  if (summary.different > 0) print('`causeway verify --repair` writes again what is different.');
  else if (summary.repaired > 0) print(`${count(summary.repaired)} were repaired and are equal now.`);
}
