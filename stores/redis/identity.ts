// Which Redis this is. A server keeps no identity of its own over a restart, so a single one is known by its address and database, and once a
// migration has claimed it by the mark that it carries.
import { plainHost } from '../../core/store-address.ts';
import { readRedisUrl, redis, type RedisConnection } from './connection.ts';

export async function redisIdentity(connection: RedisConnection, url: string): Promise<string> {
  if (!connection.isCluster) {
    const { nodes, database } = readRedisUrl(url);
    await redis('reaching it', () => connection.ping());
    return `redis ${plainHost(nodes[0]!.host, nodes[0]!.port)}/${database}`;
  }
  const nodes = String(await redis('asking which nodes it has', () => connection.cluster('NODES')));
  // A node that is being met has a passing id.
  const ids = nodes
    .split('\n')
    .flatMap((line) => (/^[0-9a-f]{40} \S+ (?!\S*handshake)/.test(line) ? [line.slice(0, 40)] : []));
  return `redis-cluster ${ids.sort()[0] ?? 'without nodes'}`;
}

export const markKey = 'causeway:owner';

/** Whose target this is; undefined: nobody has marked it, or an eviction took the mark. */
export async function markOf(connection: RedisConnection): Promise<Record<string, string> | undefined> {
  const mark = await redis('reading its owner', () => connection.hgetall(markKey));
  return Object.keys(mark).length === 0 ? undefined : mark;
}

const setIfNobody = `if #redis.call('hgetall', KEYS[1]) == 0 then redis.call('hset', KEYS[1], unpack(ARGV)) end return 1`;

/** Where nobody has: who asks afterwards learns whose it is. */
export async function setMark(connection: RedisConnection, mark: Readonly<Record<string, string>>): Promise<void> {
  await redis('marking its owner', () => connection.eval(setIfNobody, 1, markKey, ...Object.entries(mark).flat()));
}

export async function removeMark(connection: RedisConnection): Promise<void> {
  await redis('removing the mark of its owner', () => connection.unlink(markKey));
}
