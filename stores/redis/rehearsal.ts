// What later steps will ask of Redis, done once on a key under each prefix: which commands or keys the user is refused, and the statement that grants them.
import { randomUUID } from 'node:crypto';
import { KnownFailure } from '../../core/failures.ts';
import { mastersOf, redis, timeOf, type RedisConnection } from './connection.ts';
import { markKey, markOf } from './identity.ts';
import { loadKeys, retireKeys, scanKeys } from './loader.ts';
import { patternsOf, tombstoneKey } from './tombstone.ts';
import { putRecords, readRecords } from './snapshot.ts';

/** Everything that is sent, scripts included. */
const commands =
  'ping info select time get set del unlink type pttl expire pexpireat hset hget hgetall scan dbsize eval evalsha'.split(
    ' ',
  );
const ofCluster = ['cluster|slots', 'cluster|nodes', 'cluster|info', 'readonly'];

/** In one script, so that nobody ever reads a mark that was only tried, and a mark that is there stays as it is. */
const markAndUnmark = `
  local held = redis.call('hgetall', KEYS[1])
  if #held > 0 then return redis.call('hset', KEYS[1], unpack(held)) end
  redis.call('hset', KEYS[1], 'rehearsal', '1')
  return redis.call('unlink', KEYS[1])`;

/** A sentence per step that the user is refused. Leaves nothing behind. */
export async function refusedSteps(connection: RedisConnection, prefixes: readonly string[]): Promise<string[]> {
  const refused: string[] = [];
  const attempt = async (what: string, run: () => Promise<unknown>) => {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof KnownFailure && error.type === 'PermissionDenied')) throw error;
      refused.push(what);
    }
  };
  const doing = 'rehearsing the target';
  await attempt(`read the mark of the target's owner in ${markKey}`, () => markOf(connection));
  await attempt(`set and remove the mark of the target's owner in ${markKey}`, () =>
    redis(doing, () => connection.eval(markAndUnmark, 1, markKey)),
  );
  for (const prefix of prefixes) {
    const own = `rehearsal-${randomUUID()}`;
    const key = prefix + own;
    const write = { owner: 0, sourceId: own, version: { time: 1n, op: 0 } };
    try {
      await attempt(`set keys ${prefix}* with an expiry by a script`, async () => {
        const row = { key: own, value: {}, expiresAt: (await timeOf(connection)) + 60_000, rank: '0' };
        await loadKeys(connection, prefix, [{ ...row, ...write }]);
      });
      await attempt(`read ${prefix}*`, () =>
        redis(doing, () => Promise.all([connection.get(key), connection.pttl(key)])),
      );
      await attempt(`read and write ${prefix}* for a checkpoint`, async () => {
        const records = await readRecords(connection, [key]);
        await putRecords(
          connection,
          records.filter((record) => record !== undefined),
        );
      });
      await attempt(`remember removals in ${patternsOf(prefix)[1]}`, () =>
        retireKeys(connection, [{ ...write, key, version: { time: 2n, op: 0 } }]),
      );
      await attempt('scan keys', async () => {
        for await (const _ of scanKeys(connection, key)) break;
      });
      await attempt(`remove ${prefix}*`, () =>
        redis(doing, () => Promise.all([connection.unlink(key), connection.unlink(tombstoneKey(key))])),
      );
    } finally {
      await connection.del(key).catch(() => undefined);
      await connection.del(tombstoneKey(key)).catch(() => undefined);
    }
  }
  return refused;
}

/** The statement that grants all that is needed and no more. `user`: the one of the URL, where the server does not tell. */
export async function grantFor(
  connection: RedisConnection,
  prefixes: readonly string[],
  user: string | undefined,
): Promise<string> {
  const who = await (connection.call('ACL', 'WHOAMI') as Promise<string>).catch(() => user ?? 'default');
  const keys = prefixes.flatMap((prefix) => patternsOf(prefix).map((pattern) => `~${pattern}`));
  const all = [...commands, ...(connection.isCluster ? ofCluster : [])].map((command) => `+${command}`);
  return `ACL SETUSER ${who} ${[...new Set([...keys, `~${markKey}`])].join(' ')} ${all.join(' ')}`;
}

/** What the server does when its memory is full; of a cluster, what one of its nodes does that evicts. undefined where it does not tell. */
export async function evictionOf(connection: RedisConnection): Promise<string | undefined> {
  const policies = await Promise.all(
    mastersOf(connection).map(async (node) => {
      const info = await node.info('memory').catch(() => '');
      return /maxmemory_policy:(\S+)/.exec(info)?.[1];
    }),
  );
  return policies.find((policy) => policy !== undefined && policy !== 'noeviction') ?? policies[0];
}

/** A node of a cluster that is opened as a server by itself: it has a part of the keys only. */
export async function isNodeOfCluster(connection: RedisConnection): Promise<boolean> {
  if (connection.isCluster) return false;
  return /^redis_mode:cluster/m.test(await connection.info('server').catch(() => ''));
}

/** A replica takes no writes; it says so only when one is tried. */
export async function isReplica(connection: RedisConnection): Promise<boolean> {
  if (connection.isCluster) return false;
  return /^role:slave/m.test(await connection.info('replication').catch(() => ''));
}
