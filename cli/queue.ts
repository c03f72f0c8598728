// Where a migration's work is done: the queue of its root, as far as Temporal knows one, else that of the stores in this environment.
import { WorkflowNotFoundError } from '@temporalio/client';
import { identify, type Identity } from '../activities/identity.ts';
import { openResources, type Addresses } from '../activities/resources.ts';
import { ownerOf, queueOf } from '../core/owner.ts';
import { rootId } from '../workflows/contract.ts';
import { home, readAddresses, type MigrationHandle, type TemporalSession } from './connect.ts';
import { named } from './waiting.ts';

/** Of the stores that these addresses lead to. */
export async function identityAt(addresses: Addresses, migration: string): Promise<Identity> {
  const resources = await openResources(addresses, home(), { host: '', process: '' });
  try {
    return await identify(resources, migration);
  } finally {
    await resources.close();
  }
}

export const identityHere = async (migration: string): Promise<Identity> =>
  identityAt((await readAddresses()).addresses, migration);

/** For what is started beside the root, or after it has ended: it goes to the workers that have the root's stores, whatever this environment leads to. */
export async function queueFor({ client }: TemporalSession, migration: string): Promise<string> {
  const root = await client.workflow
    .getHandle(rootId(migration))
    .describe()
    .catch((error: Error) => {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    });
  return root && ownerOf(root.taskQueue) ? root.taskQueue : queueOf((await identityHere(migration)).owner);
}

/** A poll lasts a minute; the server tells of whoever has asked within five. The rest is for clocks that differ. */
const pollMs = 90_000;

/** Whether a worker has asked the queue for workflow tasks within the time that a poll lasts. */
export async function isServed({ client }: TemporalSession, queue: string): Promise<boolean> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: queue },
    taskQueueType: 1,
  });
  return (pollers ?? []).some(
    ({ lastAccessTime }) => Date.now() - Number(lastAccessTime?.seconds ?? 0) * 1000 < pollMs,
  );
}

/** Asks no store. */
export const isRootServed = async (session: TemporalSession, root: MigrationHandle): Promise<boolean> =>
  isServed(session, (await root.describe()).taskQueue);

export const noWorker = (migration: string, queue: string): string =>
  `No worker serves ${queue}, where the work of this migration waits: start \`causeway worker${named(migration)}\` with the same stores. A worker prints its queue and what each store says it is.`;
