// causeway stores: which stores these are, which the migration was begun with, and the queue that follows from them.
import { Command } from 'commander';
import { compare, fingerprintOf, identify, identitiesOf, markTargets } from '../../activities/identity.ts';
import { openResources, type Resources } from '../../activities/resources.ts';
import { claimOf, claimStores, type Claim } from '../../control/owner.ts';
import { queueOf, storeNames, type StoreName } from '../../core/owner.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import { checkName, home, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly accept?: boolean;
}

export const stores = (): Command =>
  common(
    new Command('stores').description('which stores these are, whose they are, and the task queue of the migration'),
  )
    .option('--accept', 'they hold the data that the migration was begun with, at another place: go on with them')
    .action((options: Options) => run(options));

async function run(options: Options): Promise<void> {
  const migration = checkName(options.migration);
  const resources = await openResources((await readAddresses()).addresses, home(), { host: '', process: '' });
  try {
    if (options.accept) await accept(resources, migration);
    const claim = await claimOf(resources.postgres);
    const now = await identitiesOf(resources);
    const owner = claim ?? { migration, stores: fingerprintOf(now) };
    const { differing } = claim ? await compare(resources, claim, now.postgres) : { differing: [] };
    if (differing.length > 0 || owner.migration !== migration) process.exitCode = 1;
    const queue = queueOf(owner);
    if (options.json)
      return printJson({ migration: owner.migration, claimed: claim !== undefined, queue, stores: now, differing });
    print(
      `Migration ${owner.migration}: ${claim ? 'it has claimed these stores' : 'it has not begun here'}. Queue: ${queue}`,
    );
    print(
      table(
        ['store', 'is', claim ? 'was, when the migration began' : ''],
        (Object.keys(storeNames) as StoreName[]).map((store) => [
          storeNames[store][0],
          now[store],
          claim
            ? differing.some((one) => one.store === store)
              ? `${claim.identities[store]}: another`
              : 'the same'
            : '',
        ]),
      ),
    );
  } finally {
    await resources.close();
  }
}

/** A store that another migration has claimed or marked is not taken. */
async function accept(resources: Resources, migration: string): Promise<void> {
  const claim: Claim | undefined = await claimOf(resources.postgres);
  if (!claim) throw new UsageError('Nothing was begun in this target PostgreSQL: there is nothing to accept.');
  if (claim.migration !== migration) return void (await identify(resources, migration));
  await markTargets(resources, claim);
  const { collections, ...identities } = await identitiesOf(resources);
  await inTransaction(resources.postgres, 'accepting the stores', (client) =>
    claimStores(client, claim, { ...identities, collections }),
  );
}
