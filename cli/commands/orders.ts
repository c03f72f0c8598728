// causeway pause, resume, retry, incident: orders to a running migration, answered by it.
import { Command } from 'commander';
import { incidentOrder } from '../../core/orders.ts';
import { isOver, type Status } from '../../core/state.ts';
import * as contract from '../../workflows/contract.ts';
import { answerTo, checkName, handleOf, readStatus, withTemporal } from '../connect.ts';
import { refuseEnded } from '../ended.ts';
import { UsageError } from '../errors.ts';
import { print, printJson } from '../output.ts';

export interface Common {
  readonly migration: string;
  readonly json?: boolean;
}

export const common = (command: Command): Command =>
  command.option('--migration <name>', 'which migration', 'default').option('--json', 'print the answer as JSON');

export function tell(options: Common, status: Status, done: string): void {
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
