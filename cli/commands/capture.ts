// causeway capture: how far behind change capture is, and ending it. causeway repair: closing a gap.
import { Command } from 'commander';
import type { Repaired } from '../../activities/capture/repair.ts';
import { captureId, repairUpdate, stopCaptureSignal } from '../../workflows/contract.ts';
import type { changeCapture } from '../../workflows/children/change-capture.ts';
import { answerTo, checkName, withTemporal, type TemporalSession } from '../connect.ts';
import { liveCapture } from '../live.ts';
import { UsageError } from '../errors.ts';
import { count, print, printJson, table } from '../output.ts';
import { troublesOf } from '../troubles-text.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
}

export const capture = (): Command =>
  new Command('capture')
    .description('change capture: what it has applied, how far behind it is, who does the work')
    .addCommand(common(new Command('status').description('position, lag, lanes and gaps')).action(show))
    .addCommand(
      common(new Command('stop').description('end change capture; the targets stay as they are'))
        .requiredOption('--yes', 'changes of the source no longer reach the targets')
        .action((options: Options) =>
          withTemporal(async (session) => {
            await captureOf(session, options.migration).signal(stopCaptureSignal);
            print('Change capture ends. `causeway start` opens it again where it stood.');
          }),
        ),
    );

const captureOf = ({ client }: TemporalSession, migration: string) =>
  client.workflow.getHandle<typeof changeCapture>(captureId(checkName(migration)));

async function show(options: Options): Promise<void> {
  const status = await liveCapture();
  if (!status) throw new UsageError('Change capture has not been opened; the data phase of `causeway start` opens it.');
  if (options.json) return printJson(status);
  const ms = (value: number | null) => (value === null ? '' : `${Math.round(value)} ms`);
  print(
    table(
      ['change capture', ''],
      [
        ['position', status.position],
        ['behind', ms(status.lagMs)],
        [
          'lag p50, p99 (a day)',
          status.lagP50Ms === null ? 'none measured yet' : `${ms(status.lagP50Ms)}, ${ms(status.lagP99Ms)}`,
        ],
        ['events applied', count(status.events)],
        ['events waiting', count(status.pendingEvents)],
        ['documents to be read again', count(status.redo)],
      ],
    ),
  );
  print(table(['who', 'process'], Object.entries(status.holders).sort()));
  for (const trouble of troublesOf(status)) print(trouble);
  if (status.gap)
    print(
      `Gap since ${status.gap.openedAt} (${status.gap.kind}): ${status.gap.detail}. Next: \`causeway repair --dry-run\`.`,
    );
}

export const repair = (): Command =>
  common(
    new Command('repair').description(
      'compare the source with what was migrated, write again what differs, and close the gap',
    ),
  )
    .option('--dry-run', 'only count what differs')
    .option(
      '--delete-missing',
      'remove from the targets what is no longer in the source, after a drop, a rename, or where most of a collection is gone',
    )
    .action((options: Options & { dryRun?: boolean; deleteMissing?: boolean }) =>
      withTemporal(async (session) => {
        const found = await answerTo(() =>
          captureOf(session, options.migration).executeUpdate(repairUpdate, {
            args: [{ dryRun: options.dryRun === true, deleteMissing: options.deleteMissing === true }],
          }),
        );
        if (options.json) return printJson(found);
        print(
          table(
            [
              'collection',
              'scanned',
              options.dryRun ? 'to rewrite' : 'rewritten',
              options.dryRun ? 'to delete' : 'deleted',
            ],
            Object.entries(found.collections).map(([name, its]) => [name, its.scanned, its.rewritten, its.deleted]),
          ),
        );
        print(next(found, options.dryRun === true));
      }),
    );

function next({ collections, opened }: Repaired, dryRun: boolean): string {
  if (opened !== undefined)
    return `The gap that stood was repaired, but another one opened meanwhile: ${opened}. Next: \`causeway repair --dry-run\`.`;
  if (!dryRun) return 'The gap is closed; capture goes on from the present, and the migration with it.';
  const asks = Object.entries(collections).flatMap(([name, its]) => (its.asks ? [name] : []));
  return asks.length === 0
    ? 'Nothing was written. `causeway repair` writes it and closes the gap.'
    : `Nothing was written. So much of ${asks.join(', ')} is gone that \`causeway repair\` refuses to delete it: put it back, or add --delete-missing.`;
}
