// causeway pause, resume, retry, incident: orders to a running migration, answered by it.
import { Command } from 'commander';
import type { SignalDefinition } from '@temporalio/common';
import { incidentOrder } from '../../core/orders.ts';
import type { Status } from '../../core/state.ts';
import * as contract from '../../workflows/contract.ts';
import { checkName, withTemporal, type MigrationHandle } from '../connect.ts';
import { refuseEnded } from '../ended.ts';
import { UsageError } from '../errors.ts';
import { give } from '../order.ts';
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

interface Plain {
  readonly update: typeof contract.pauseUpdate;
  /** Where it may be left for a worker that is still to come. */
  readonly signal?: SignalDefinition;
}

/** An order that needs no payload. */
export const plain = (name: string, description: string, { update, signal }: Plain, done: string): Command =>
  common(new Command(name.split(' ').at(-1)!).description(description)).action((options: Common) =>
    withTemporal(async (session) => {
      await refuseEnded(session, checkName(options.migration), name);
      const status = await give(session, options, {
        name,
        ask: (handle) => handle.executeUpdate(update),
        ...(signal && { leave: (handle: MigrationHandle) => handle.signal(signal) }),
      });
      if (status) tell(options, status, done);
    }),
  );

export const pause = (): Command =>
  plain(
    'pause',
    'stop at the next safe place; nothing is undone',
    { update: contract.pauseUpdate, signal: contract.pauseSignal },
    'Paused.',
  );
export const resume = (): Command =>
  plain('resume', 'go on after a pause', { update: contract.resumeUpdate, signal: contract.resumeSignal }, 'Resumed.');
export const retry = (): Command =>
  plain(
    'retry',
    'try a parked step again',
    { update: contract.retryUpdate, signal: contract.retrySignal },
    'Trying again.',
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
        await refuseEnded(session, checkName(options.migration), 'incident');
        const status = await give(session, options, {
          name: 'incident',
          ask: (handle) => handle.executeUpdate(contract.reportIncidentUpdate, { args: [order.data] }),
          leave: (handle) => handle.signal(contract.reportIncidentSignal, order.data),
        });
        if (status) tell(options, status, 'Reported; `causeway decisions` tells what follows from it.');
      }),
    );
