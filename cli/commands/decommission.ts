// causeway decommission: takes the old system out of use, after a last snapshot of it that was verified.
import { Command } from 'commander';
import { isOver } from '../../core/state.ts';
import { oldCollections, refuseUnready } from '../../activities/decommission/ready.ts';
import { retiredName } from '../../activities/decommission/retire.ts';
import { openResources } from '../../activities/resources.ts';
import type { decommission as decommissionWorkflow } from '../../workflows/children/decommission.ts';
import { rootId } from '../../workflows/contract.ts';
import { checkName, home, readAddresses, readStatus, withTemporal } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
import { configOption, settingsFor } from '../migration-settings.ts';
import { count, print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly config?: string;
  readonly yes?: boolean;
  readonly removeLedger?: boolean;
}

export const decommission = (): Command =>
  common(
    new Command('decommission').description(
      'after the last stage: save the old collections, verify the snapshot, close and rename them; without --yes only says what it would do',
    ),
  )
    .option('--yes', 'do it; afterwards nothing goes back by itself')
    .option(
      '--remove-ledger',
      'also remove what only served the migration: old ids, guards, the control schema with ledger and audit log',
    )
    .option(...configOption)
    .action((options: Options) => run(options));

async function run(options: Options): Promise<void> {
  const name = checkName(options.migration);
  await withTemporal(async (session) => {
    const settings = await settingsFor(session, name, options.config);
    const status = await readStatus(session, name);
    if (!isOver(status.state))
      throw new UsageError(
        status.waitingFor?.includes('"decommission"')
          ? 'The migration waits for it: `causeway approve decommission`.'
          : `The migration is in ${status.phase}, ${status.state}: the old system is taken out of use after the last stage.`,
      );
    if (!options.yes) return plan(options);
    const done = await session.client.workflow.execute<typeof decommissionWorkflow>('decommission', {
      workflowId: `${rootId(name)}/decommission`,
      taskQueue: await queueFor(session, name),
      args: [
        { migration: name, snapshotDirectory: settings.snapshotDirectory, removeLedger: options.removeLedger === true },
      ],
    });
    if (options.json) return printJson(done);
    print(
      table(
        ['old collection', 'documents saved'],
        Object.entries(done.saved.collections).map(([collection, documents]) => [collection, count(documents)]),
      ),
    );
    print(`Snapshot, verified: ${done.saved.folder}. Renamed and closed: ${done.retired.join(', ')}.`);
    if (done.removed.length > 0) print(`Removed: ${done.removed.join(', ')}.`);
    print('Dropping the renamed collections is yours to do, when nobody misses them.');
  });
}

/** Reads only. */
async function plan(options: Options): Promise<void> {
  const { addresses } = await readAddresses();
  const resources = await openResources(addresses, home(), { host: 'cli', process: 'cli' });
  try {
    await refuseUnready(resources);
    const collections = await oldCollections(resources);
    if (options.json)
      return printJson({
        save: collections,
        rename: Object.fromEntries(collections.map((one) => [one, retiredName(one)])),
      });
    print(
      `Would save ${collections.join(', ')}, verify the snapshot, and rename each to <name>_retired, closed to writers.`,
    );
    print('Nothing was changed. `causeway decommission --yes` does it; afterwards nothing goes back by itself.');
  } finally {
    await resources.close();
  }
}
