// causeway decommission: takes the old system out of use, after a last snapshot of it that was verified.
import { resolve } from 'node:path';
import { Command } from 'commander';
import { isOver } from '../../core/state.ts';
import { oldCollections, refuseUnready, retiredName } from '../../activities/decommission/ready.ts';
import { openLast, refuseTaken, restoreOld } from '../../activities/decommission/restore.ts';
import { openResources } from '../../activities/resources.ts';
import type { decommission as decommissionWorkflow } from '../../workflows/children/decommission.ts';
import { rootId } from '../../workflows/contract.ts';
import { namedAfter } from '../attributes.ts';
import { checkName, home, readAddresses, readStatus, withTemporal } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
import { configOption, settingsFor } from '../migration-settings.ts';
import { outcomeOf } from '../outcome.ts';
import { count, print, printJson, table } from '../output.ts';
import { named, waiting, workflowGoesOn } from '../waiting.ts';
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
    .addCommand(restore())
    .action((options: Options) => run(options));

const restore = (): Command =>
  new Command('restore')
    .description(
      'put the last snapshot of the old system back under the old names, in the database of SOURCE_MONGODB_URL; without --yes only says what it would do',
    )
    .argument('<folder>', 'the folder that `causeway decommission` named')
    // `--yes` and `--json` are those of `decommission`.
    .action((folder: string, _own: unknown, command: Command) => putBack(folder, command.optsWithGlobals()));

/** It serves the old system alone: no other store, and no worker. */
async function putBack(
  folder: string,
  { yes, json }: { readonly yes?: boolean; readonly json?: boolean },
): Promise<void> {
  const { addresses } = await readAddresses();
  const resources = await openResources(addresses, home(), { host: 'cli', process: 'cli' });
  const say = (what: string) => void (process.stderr.isTTY && process.stderr.write(`\r\u001b[K${what}`));
  try {
    const { db } = resources.source;
    const snapshot = await openLast(resolve(folder), say);
    const parts = snapshot.parts('mongodb');
    await refuseTaken(db, parts);
    const restored = yes
      ? await restoreOld(db, snapshot, say)
      : Object.fromEntries(parts.map((part) => [part.name, part.records]));
    say('');
    if (json) return printJson({ restored: yes === true, collections: restored });
    print(
      table(
        ['old collection', 'documents'],
        Object.entries(restored).map(([name, n]) => [name, count(n)]),
      ),
    );
    print(
      yes
        ? 'Put back and compared with the snapshot, with the options and indexes of before. What the new system was given since is not in them.'
        : `The snapshot of ${snapshot.manifest.createdAt} is whole. Nothing was changed: with --yes these are put back.`,
    );
  } finally {
    await resources.close();
  }
}

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
    const workflowId = `${rootId(name)}/decommission`;
    const handle = await session.client.workflow.start<typeof decommissionWorkflow>('decommission', {
      workflowId,
      taskQueue: await queueFor(session, name),
      ...(await namedAfter(session, name)),
      args: [
        { migration: name, snapshotDirectory: settings.snapshotDirectory, removeLedger: options.removeLedger === true },
      ],
    });
    const left = workflowGoesOn(
      'decommission',
      workflowId,
      `\`causeway status${named(name)}\` says what has become of the migration.`,
    );
    const done = await waiting(left, () => outcomeOf(session, handle));
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
