// causeway pause, resume, retry, abort, incident, rollback: orders to a running migration, answered by it.
import { Command } from 'commander';
import { restoreHint } from '../../core/checkpoints.ts';
import { incidentOrder } from '../../core/orders.ts';
import { isOver, type Status } from '../../core/state.ts';
import * as contract from '../../workflows/contract.ts';
import type { RollbackResult } from '../../workflows/children/rollback.ts';
import { refusalOfAbort, refusalOfEnded } from '../../core/ended.ts';
import { counts, stepsBack, type Known } from '../../core/lifecycle.ts';
import { isPhase, phases, type Phase } from '../../core/story.ts';
import {
  answerTo,
  askStatus,
  checkName,
  handleOf,
  readStatus,
  type TemporalSession,
  withTemporal,
} from '../connect.ts';
import { knownNow, refuseEnded, runs, undoEnded } from '../ended.ts';
import { OrderRefused, UnreachableError, UsageError } from '../errors.ts';
import { print, printJson } from '../output.ts';

interface Common {
  readonly migration: string;
  readonly json?: boolean;
}

export const common = (command: Command): Command =>
  command.option('--migration <name>', 'which migration', 'default').option('--json', 'print the answer as JSON');

function tell(options: Common, status: Status, done: string): void {
  if (options.json) printJson(status);
  else
    print(
      `${done} The migration is in ${status.phase}, ${status.state}${status.waitingFor ? `; it waits for: ${status.waitingFor}` : ''}.`,
    );
}

type Plain = typeof contract.pauseUpdate;

/** An order that needs no payload. */
export const plain = (name: string, description: string, update: Plain, done: string): Command =>
  common(new Command(name).description(description)).action((options: Common) =>
    withTemporal(async (session) => {
      await refuseEnded(session, checkName(options.migration), name);
      tell(options, await answerTo(handleOf(session, options.migration).executeUpdate(update)), done);
    }),
  );

export const pause = (): Command =>
  plain('pause', 'stop at the next safe place; nothing is undone', contract.pauseUpdate, 'Paused.');
export const resume = (): Command => plain('resume', 'go on after a pause', contract.resumeUpdate, 'Resumed.');
export const retry = (): Command => plain('retry', 'try a parked step again', contract.retryUpdate, 'Trying again.');

export const abort = (): Command =>
  common(new Command('abort').description('undo everything this migration made, newest first, and end it'))
    .requiredOption('--reason <text>', 'why, for the audit log')
    .action((options: Common & { reason: string }) =>
      withTemporal(async (session) => {
        const name = checkName(options.migration);
        const payload = { reason: options.reason };
        if (!(await runs(session, name))) return abortEnded(session, options);
        if (!(await answers(session, name))) return leave(session, name, contract.abortSignal, payload);
        const handle = handleOf(session, name);
        tell(options, await answerTo(handle.executeUpdate(contract.abortUpdate, { args: [payload] })), 'Aborting.');
      }),
    );

/** Where no workflow runs the database says whether anything may be removed. */
async function abortEnded(session: TemporalSession, options: Common): Promise<void> {
  const known = await knownNow(options.migration);
  const refusal = refusalOfAbort(options.migration, known);
  if (refusal !== undefined) throw new OrderRefused(refusal);
  tellUndone(
    options,
    await undoEnded(session, options.migration, stepsBack(known.standing!.undo, undefined, known.authority)),
  );
}

const answers = (session: TemporalSession, name: string): Promise<boolean> =>
  askStatus(session, name).then(
    () => true,
    (error: unknown) => {
      if (error instanceof UnreachableError) return false;
      throw error;
    },
  );

/** As a signal the order outlasts this command, and whatever the workers are missing. */
async function leave(
  session: TemporalSession,
  name: string,
  signal: typeof contract.abortSignal,
  payload: unknown,
): Promise<void> {
  await handleOf(session, name).signal(signal, payload);
  print(
    'No worker answers for the migration now. The order stays with Temporal and is obeyed as soon as one does: start `causeway worker`.',
  );
  process.exitCode = 3;
}

export const incident = (): Command =>
  common(
    new Command('incident').description(
      'report that something terrible has happened: in the cutover all traffic goes back at once, any other phase pauses',
    ),
  )
    .argument('<kind>', incidentOrder.shape.kind.options.join(', '))
    .option('--detail <text>', 'what was seen, for the decisions; no personal data', '')
    .action((kind: string, options: Common & { detail: string }) =>
      withTemporal(async (session) => {
        const order = incidentOrder.safeParse({ kind, detail: options.detail });
        if (!order.success)
          throw new UsageError(
            `Of an incident the kind is one of ${incidentOrder.shape.kind.options.join(', ')}, and the detail at most 500 characters.`,
          );
        const { state } = await readStatus(session, options.migration);
        if (isOver(state))
          throw new UsageError(
            `The migration is ${state}, and nothing watches its traffic.${state === 'completed' ? ' `causeway rollback --to old` takes it back, while the old system is kept.' : ''}`,
          );
        tell(
          options,
          await answerTo(
            handleOf(session, options.migration).executeUpdate(contract.reportIncidentUpdate, { args: [order.data] }),
          ),
          'Reported; `causeway decisions` tells what follows from it.',
        );
      }),
    );

export const rollback = (): Command =>
  common(new Command('rollback').description('go back: to a stage, to the old system, to a checkpoint, or altogether'))
    .option(
      '--to <where>',
      `a checkpoint (${phases.join(', ')}), a cutover stage that has begun, or \`old\`: reads and writes to the old system, what was copied stays; without it everything is undone`,
    )
    .option('--reason <text>', 'why, for the audit log', 'asked at the command line')
    .option('--dry-run', 'only print what would be undone')
    .action((options: RollbackOptions) =>
      withTemporal(async (session) => {
        const name = checkName(options.migration);
        if (!(await runs(session, name))) return rollbackEnded(session, options);
        const order = { ...(options.to !== undefined && { to: options.to }), reason: options.reason };
        if (!options.dryRun && !(await answers(session, name)))
          return leave(session, name, contract.rollbackSignal, order);
        const handle = handleOf(session, name);
        const status = await askStatus(session, name);
        const to = options.to === 'old' ? 'data' : options.to;
        // A stage is known to the running migration alone.
        const staged = to !== undefined && isStage(status, to);
        if (staged && options.dryRun) await checkWay(handle, to);
        const steps = staged ? [`cutover back to ${to}`] : stepsFor(status, to);
        if (options.dryRun) return would(options, steps);
        tell(
          options,
          await answerTo(handle.executeUpdate(contract.rollbackUpdate, { args: [order] })),
          'Rolling back.',
        );
      }),
    );

interface RollbackOptions extends Common {
  readonly to?: string;
  readonly reason: string;
  readonly dryRun?: boolean;
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

const phaseOf = (checkpoints: Status['checkpoints'], to: string): Phase | undefined => {
  const found = checkpoints.find((one) => one.name === to)?.phase;
  return isPhase(found) ? found : undefined;
};

/** A migration without a workflow has nobody to take orders: compensation is started by itself, as far as the database says. */
async function rollbackEnded(session: TemporalSession, options: RollbackOptions): Promise<void> {
  const { to, migration } = options;
  const known = await knownNow(migration);
  if (known.standing === null && !counts(known.authority))
    throw new OrderRefused(refusalOfEnded('rollback', migration, known));
  const undo = known.standing?.undo ?? [];
  const back = (phase: Phase | undefined) => stepsBack(undo, phase, known.authority);
  const target = to === undefined ? undefined : to === 'old' ? 'data' : phaseOf(known.checkpoints, to);
  if (to !== undefined && target === undefined) {
    const names = known.checkpoints.filter((one) => back(phaseOf([one], one.name)).length > 0).map((one) => one.name);
    throw new UsageError(`${noWayBack(known, names, to)} ${restoreHint(to)}`);
  }
  const steps = back(target);
  if (options.dryRun)
    return would(
      options,
      steps.map((step) => step.undo),
    );
  if (steps.length > 0) return tellUndone(options, await undoEnded(session, migration, steps));
  if (options.json) printJson({ undone: [] });
  else print('Nothing to undo: the migration stands there.');
}

function noWayBack({ standing }: Known, names: readonly string[], to: string): string {
  const ways = [
    '`--to old` (reads and writes to the old system, what was copied stays)',
    ...names.map((name) => `\`--to ${name}\``),
    'no --to (everything is undone)',
  ];
  return `There is no way back to ${to}: the migration is ${standing?.completed ? 'completed' : 'stopped'}, and its cutover stages have ended with it. There is: ${ways.join(', ')}.`;
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
