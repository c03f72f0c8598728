// causeway abort, rollback: the ways back. They are answered at once, in every state; `--wait` follows them to the end.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { restoreHint } from '../../core/checkpoints.ts';
import { phaseOf, refusalOfAbort, wayBackOfEnded } from '../../core/ended.ts';
import { stepsBack } from '../../core/lifecycle.ts';
import type { Status } from '../../core/state.ts';
import { phases, type UndoStep } from '../../core/story.ts';
import type { RollbackResult } from '../../workflows/children/rollback.ts';
import * as contract from '../../workflows/contract.ts';
import {
  answerBy,
  answerMs,
  answerTo,
  askStatus,
  checkName,
  handleOf,
  readStatus,
  type TemporalSession,
  withTemporal,
} from '../connect.ts';
import { isTaken, knownNow, runs, undoEnded } from '../ended.ts';
import { OrderRefused, UsageError } from '../errors.ts';
import { tellLeft } from '../order.ts';
import { print, printJson } from '../output.ts';
import { isRootServed, noWorker, queueFor } from '../queue.ts';
import { migrationGoesOn, named, waiting } from '../waiting.ts';
import { common, tell, type Common } from './orders.ts';

interface Back extends Common {
  readonly wait?: boolean;
}

const waitOption = ['--wait', 'follow it to the end; the exit code is the outcome'] as const;

export const abort = (): Command =>
  common(new Command('abort').description('undo everything this migration made, newest first, and end it'))
    .requiredOption('--reason <text>', 'why, for the audit log')
    .option(...waitOption)
    .action((options: Back & { reason: string }) =>
      withTemporal(async (session) => {
        const name = checkName(options.migration);
        if (!(await runs(session, name))) return abortEnded(session, options);
        const order: Ordered = {
          update: contract.abortUpdate,
          signal: contract.abortSignal,
          payload: { reason: options.reason },
        };
        const deadline = Date.now() + answerMs;
        if (!(await isRootServed(session, handleOf(session, name)))) return leave(session, options, order);
        const status = await ordered(session, options, order, deadline);
        if (status) await told(session, options, status, 'Aborting.');
      }),
    );

/** Where no workflow runs the database says whether anything may be removed. */
async function abortEnded(session: TemporalSession, options: Back): Promise<void> {
  const known = await knownNow(options.migration);
  const refusal = refusalOfAbort(options.migration, known);
  if (refusal !== undefined) throw new OrderRefused(refusal);
  await undoSteps(session, options, stepsBack(known.standing!.undo, undefined, known));
}

interface Ordered {
  readonly update: typeof contract.abortUpdate | typeof contract.rollbackUpdate;
  readonly signal: typeof contract.abortSignal | typeof contract.rollbackSignal;
  readonly payload: { readonly reason: string; readonly to?: string };
}

/** The answer of the running migration. undefined: none came until then, and the order was left for whoever takes it. */
async function ordered(
  session: TemporalSession,
  options: Common,
  { update, signal, payload }: Ordered,
  deadline: number,
): Promise<Status | undefined> {
  const handle = handleOf(session, options.migration);
  const status = await answerBy(session, deadline, () =>
    answerTo(() => handle.executeUpdate(update as typeof contract.abortUpdate, { args: [payload] })),
  );
  if (!status) await leave(session, options, { update, signal, payload });
  return status;
}

async function leave(session: TemporalSession, options: Common, { signal, payload }: Ordered): Promise<void> {
  await handleOf(session, options.migration).signal(signal as typeof contract.abortSignal, payload);
  tellLeft(options, signal.name);
}

export const rollback = (): Command =>
  common(new Command('rollback').description('go back: to a stage, to the old system, to a checkpoint, or altogether'))
    .option(
      '--to <where>',
      `a checkpoint (${phases.join(', ')}), a cutover stage that has begun, or \`old\`: reads and writes to the old system, what was copied stays; without it everything is undone`,
    )
    .option('--reason <text>', 'why, for the audit log', 'asked at the command line')
    .option('--dry-run', 'only print what would be undone')
    .option(...waitOption)
    .action((options: RollbackOptions) =>
      withTemporal(async (session) => {
        const name = checkName(options.migration);
        if (!(await runs(session, name))) return rollbackEnded(session, options);
        const payload = { ...(options.to !== undefined && { to: options.to }), reason: options.reason };
        const order: Ordered = { update: contract.rollbackUpdate, signal: contract.rollbackSignal, payload };
        const deadline = Date.now() + answerMs;
        const handle = handleOf(session, name);
        const status = options.dryRun
          ? await askStatus(session, name, answerMs)
          : (await isRootServed(session, handle)) &&
            (await answerBy(session, deadline, () => handle.query(contract.statusQuery)));
        if (!status) return leave(session, options, order);
        // One that has just begun does not know yet what an earlier workflow has left: it judges the order when it does.
        const justBegun = status.phase === 'preparation' && status.checkpoints.length === 0;
        if (options.dryRun || !justBegun) {
          const steps = await stepsOf(session, status, options);
          if (options.dryRun) return would(options, steps);
        }
        const answer = await ordered(session, options, order, deadline);
        if (answer) await told(session, options, answer, 'Rolling back.');
      }),
    );

interface RollbackOptions extends Back {
  readonly to?: string;
  readonly reason: string;
  readonly dryRun?: boolean;
}

/** What the order undoes. Throws a sentence where there is no such way. */
async function stepsOf(session: TemporalSession, status: Status, options: RollbackOptions): Promise<string[]> {
  if (options.to === 'old' && !status.checkpoints.some((one) => one.phase === 'data'))
    throw new OrderRefused(
      `There is nothing to take back: the migration is in ${status.phase}, and reads and writes have not left the old system. \`causeway rollback\` without --to undoes what was done.`,
    );
  const to = options.to === 'old' ? 'data' : options.to;
  if (to === undefined || !isStage(status, to)) return stepsFor(status, to);
  // A stage is known to the running migration alone.
  if (options.dryRun) await checkWay(handleOf(session, checkName(options.migration)), to);
  return [`cutover back to ${to}`];
}

function would(options: Common, steps: readonly string[]): void {
  if (options.json) printJson({ undo: steps });
  else print(steps.length === 0 ? 'Nothing would be undone.' : `Would undo, in this order: ${steps.join(', ')}.`);
}

const isStage = (status: Status, to: string): boolean =>
  status.phase === 'cutover' && !status.checkpoints.some((one) => one.name === to);

async function checkWay(handle: ReturnType<typeof handleOf>, to: string): Promise<void> {
  const ways = await handle.query(contract.waysBackQuery);
  if (!ways.includes(to))
    throw new UsageError(`There is no way back to ${to}. Known: ${ways.join(', ')}. ${restoreHint(to)}`);
}

/** Phases that were begun, newest first, back to the end of `to`. */
function stepsFor({ checkpoints, phase }: Status, to: string | undefined): string[] {
  const target = to === undefined ? undefined : phaseOf(checkpoints, to);
  if (to !== undefined && target === undefined)
    throw new UsageError(
      `There is no checkpoint ${to}. Known: ${checkpoints.map((one) => one.name).join(', ') || 'none'}. ${restoreHint(to)}`,
    );
  return phases.slice(target === undefined ? 0 : phases.indexOf(target) + 1, phases.indexOf(phase) + 1).reverse();
}

/** A migration without a workflow has nobody to take orders: compensation is started by itself, as far as the database says. */
async function rollbackEnded(session: TemporalSession, options: RollbackOptions): Promise<void> {
  const { to, migration } = options;
  const way = wayBackOfEnded(migration, await knownNow(migration), to);
  if (way.is !== 'way') throw new (way.is === 'refused' ? OrderRefused : UsageError)(way.message);
  const { steps } = way;
  if (options.dryRun)
    return would(
      options,
      steps.map((step) => step.undo),
    );
  if (steps.length > 0) return undoSteps(session, options, steps);
  if (options.json) printJson({ undone: [] });
  else print('Nothing to undo: the migration stands there.');
}

function tellUndone(options: Common, { undone, failed }: RollbackResult): void {
  const names = undone.map((one) => one.undo).join(', ') || 'nothing';
  if (options.json) printJson({ undone, failed });
  else
    print(
      failed
        ? `Undone: ${names}. ${failed.step.undo} could not be undone: ${failed.reason.message}`
        : `Undone: ${names}.`,
    );
  if (failed) process.exitCode = 1;
}

const lookEveryMs = 500;

/** Of one whose workflow runs: the answer, or where it has come to rest. */
async function told(session: TemporalSession, options: Back, status: Status, done: string): Promise<void> {
  if (!options.wait) return accepted(options, status, done);
  const at = await waiting(migrationGoesOn(options.migration), async () => {
    let now = status;
    for (; now.state === 'running' || now.state === 'compensating'; await sleep(lookEveryMs))
      now = await readStatus(session, options.migration);
    return now;
  });
  tell(options, at, 'It has come to rest.');
  // Another order may have come before it.
  const before = status.refused.at(-1)?.at ?? '';
  const refused = at.refused.find((one) => one.order === 'rollback' && one.at > before);
  if (refused) process.stderr.write(`The rollback had no effect. ${refused.reason}\n`);
  if (at.lastError || refused) process.exitCode = 1;
}

/** The answer comes before what was ordered begins: where the migration stood is no news. */
function accepted(options: Back, status: Status, done: string): void {
  if (options.json) printJson(status);
  else
    print(
      `${done} \`causeway status${named(options.migration)}\` tells how far it is; with --wait this command follows it.`,
    );
}

/** What has not ended by then is told to be under way, ms. */
const patienceMs = 1500;

/** Without a root. */
async function undoSteps(session: TemporalSession, options: Back, steps: readonly UndoStep[]): Promise<void> {
  const result = await undoEnded(session, options.migration, steps, options.wait ? undefined : patienceMs);
  if (result && 'passedOnTo' in result) {
    if (options.json) return printJson(result);
    return print('The migration was started meanwhile and has the order now. `causeway status` tells how far it is.');
  }
  if (result) return tellUndone(options, result);
  const names = steps.map((step) => step.undo).join(', ');
  if (options.json) printJson({ undoing: steps });
  else print(`Under way: ${names}. \`causeway status\` tells how far it is; with --wait this command follows it.`);
  if (await isTaken(session, options.migration)) return;
  const queue = await queueFor(session, options.migration);
  process.stderr.write(`Nobody has begun with it yet. ${noWorker(options.migration, queue)}\n`);
}
