// Whether the servers that are asked hold every key between them: in a cluster a replica may take over, and slots may move.
import { Cluster, type Redis } from 'ioredis';
import { KnownFailure } from '../../core/failures.ts';
import { mastersOf, redis, type RedisConnection } from './connection.ts';
import { slots } from './slot.ts';

export interface Layout {
  readonly nodes: readonly Redis[];
  /** Who holds which slots, in the nodes' own words. */
  readonly words: string;
}

/** Throws StoreBusy where the masters that the driver knows do not hold all slots, or some are under way. */
export async function layoutOf(connection: RedisConnection): Promise<Layout> {
  const nodes = mastersOf(connection);
  if (!(connection instanceof Cluster)) return { nodes, words: '' };
  try {
    const lines = await redis('asking which slots each node has', () => Promise.all(nodes.map(ownLine)));
    const count = lines.reduce((sum, line) => sum + slotsIn(line), 0);
    if (count !== slots) throw changing(`the masters known hold ${count} of ${slots} slots`);
    return { nodes, words: lines.sort().join('; ') };
  } catch (error) {
    // The next attempt finds the nodes as they are then.
    connection.refreshSlotsCache(() => undefined);
    throw error;
  }
}

/** Throws StoreBusy where keys may have changed their node since: some may not have been met. */
export async function assertUnmoved(connection: RedisConnection, before: Layout): Promise<void> {
  if (before.words !== (await layoutOf(connection)).words) throw changing('slots changed their node');
}

const changing = (what: string) =>
  new KnownFailure('StoreBusy', `Redis, looking for keys in every node of the cluster: ${what}; it is done again`);

/** The node's line about itself: its id, and its slots, those under way in brackets. */
async function ownLine(node: Redis): Promise<string> {
  const all = String(await node.cluster('NODES')).split('\n');
  const fields = all.find((line) => line.includes('myself'))?.split(' ') ?? [];
  if (!fields[2]?.includes('master')) throw changing('a master has become a replica');
  return [fields[0], ...fields.slice(8)].join(' ');
}

function slotsIn(line: string): number {
  let count = 0;
  for (const range of line.split(' ').slice(1)) {
    if (range.startsWith('[')) throw changing('slots are under way from one node to another');
    const [first, last] = range.split('-').map(Number);
    count += (last ?? first!) - first! + 1;
  }
  return count;
}
