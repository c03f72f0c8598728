// causeway pause, resume, retry, abort, incident, rollback: orders to a running migration, answered by it.
import { Command } from 'commander';
import { restoreHint } from '../../core/checkpoints.ts';
import { incidentOrder } from '../../core/orders.ts';
import { isOver, type Status } from '../../core/state.ts';
import * as contract from '../../workflows/contract.ts';
import type { rollback as rollbackWorkflow } from '../../workflows/children/rollback.ts';
import { phases } from '../../core/story.ts';
import { answerTo, checkName, handleOf, readStatus, type TemporalSession, withTemporal } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
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
    withTemporal(async (session) =>
      tell(options, await answerTo(handleOf(session, checkName(options.migration)).executeUpdate(update)), done),
    ),
  );

export const pause = (): Command =>
  plain('pause', 'stop at the next safe place; nothing is undone', contract.pauseUpdate, 'Paused.');
export const resume = (): Command => plain('resume', 'go on after a pause', contract.resumeUpdate, 'Resumed.');
export const retry = (): Command => plain('retry', 'try a parked step again', contract.retryUpdate, 'Trying again.');

export const abort = (): Command =>
  common(new Command('abort').description('undo everything this migration made, newest first, and end it'))
    .requiredOption('--reason <text>', 'why, for the audit log')
    .action((options: Common & { reason: string }) =>
      withTemporal(async (session) =>
        tell(
          options,
          await answerTo(
            handleOf(session, checkName(options.migration)).executeUpdate(contract.abortUpdate, {
              args: [{ reason: options.reason }],
            }),
          ),
          'Aborting.',
        ),
      ),
    );

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
    .action((options: Common & { to?: string; reason: string; dryRun?: boolean }) =>
      withTemporal(async (session) => {
        const handle = handleOf(session, checkName(options.migration));
        const status = await readStatus(session, options.migration);
        const to = options.to === 'old' ? 'data' : options.to;
        // A stage is known to the running migration alone.
        const staged = to !== undefined && isStage(status, to);
        if (staged && options.dryRun) await checkWay(handle, to);
        const steps = staged ? [`cutover back to ${to}`] : stepsFor(status, to);
        if (options.dryRun)
          return options.json
            ? printJson({ undo: steps })
            : print(
                steps.length === 0 ? 'Nothing would be undone.' : `Would undo, in this order: ${steps.join(', ')}.`,
              );
        if (isOver(status.state)) return rollbackEnded(session, options, steps);
        const order = { ...(options.to !== undefined && { to: options.to }), reason: options.reason };
        tell(
          options,
          await answerTo(handle.executeUpdate(contract.rollbackUpdate, { args: [order] })),
          'Rolling back.',
        );
      }),
    );

const isStage = (status: Status, to: string): boolean =>
  status.phase === 'cutover' && !isOver(status.state) && !status.checkpoints.some((one) => one.name === to);

async function checkWay(handle: ReturnType<typeof handleOf>, to: string): Promise<void> {
  const ways = await handle.query(contract.waysBackQuery);
  if (!ways.includes(to))
    throw new UsageError(`There is no way back to ${to}. Known: ${ways.join(', ')}. ${restoreHint(to)}`);
}

/** Phases that were begun, newest first, back to the end of `to`. */
function stepsFor(status: Status, to: string | undefined): string[] {
  const target =
    to === undefined ? -1 : phases.indexOf((status.checkpoints.find((one) => one.name === to)?.phase ?? '') as never);
  if (to !== undefined && target < 0) throw new UsageError(`${noWayBack(status, to)} ${restoreHint(to)}`);
  return phases.slice(target + 1, phases.indexOf(status.phase) + 1).reverse();
}

function noWayBack(status: Status, to: string): string {
  const names = status.checkpoints.map((one) => one.name);
  if (!isOver(status.state)) return `There is no checkpoint ${to}. Known: ${names.join(', ') || 'none'}.`;
  const ways = [
    ...(names.includes('data') ? ['`--to old` (reads and writes to the old system, what was copied stays)'] : []),
    ...names.filter((name) => stepsFor(status, name).length > 0).map((name) => `\`--to ${name}\``),
    'no --to (everything is undone)',
  ];
  return `There is no way back to ${to}: the migration is ${status.state}, and its cutover stages have ended with it. There is: ${ways.join(', ')}.`;
}

/** A migration that has ended has nobody to take orders: compensation is started by itself. */
async function rollbackEnded(session: TemporalSession, options: Common, steps: readonly string[]): Promise<void> {
  if (steps.length === 0) {
    if (options.json) printJson({ undone: [] });
    else print('Nothing to undo: the migration stands there.');
    return;
  }
  const workflowId = `${contract.rootId(options.migration)}/rollback`;
  const args: Parameters<typeof rollbackWorkflow> = [options.migration, steps.map((undo) => ({ undo }) as never)];
  const result = await session.client.workflow.execute<typeof rollbackWorkflow>('rollback', {
    workflowId,
    taskQueue: await queueFor(session, options.migration),
    args,
  });
  if (options.json) printJson(result);
  else
    print(
      result.failed
        ? `Undone: ${result.undone.map((one) => one.undo).join(', ') || 'nothing'}. ${result.failed.step.undo} could not be undone: ${result.failed.reason.message}`
        : `Undone: ${result.undone.map((one) => one.undo).join(', ')}.`,
    );
  if (result.failed) process.exitCode = 1;
}
