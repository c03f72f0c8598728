// Opening Redis, single or cluster (comma-separated nodes), errors turned into known failures at this one place.
import { Cluster, Redis } from 'ioredis';
import { removeIfOlder, setIfNewer } from './script.ts';
import { KnownFailure } from '../../core/failures.ts';

export type RedisConnection = Redis | Cluster;

export function openRedis(url: string): RedisConnection {
  const nodes = url.split(',').map((node) => node.trim());
  const first = new URL(nodes[0]!.includes('://') ? nodes[0]! : `redis://${nodes[0]!}`);
  const connection =
    nodes.length === 1
      ? new Redis(first.href, {
          maxRetriesPerRequest: 3,
          connectTimeout: 10_000,
          lazyConnect: true,
          enableReadyCheck: true,
        })
      : new Cluster(
          nodes.map((node) => {
            const at = new URL(node.includes('://') ? node : `redis://${node}`);
            return { host: at.hostname, port: Number(at.port || 6379) };
          }),
          {
            lazyConnect: true,
            redisOptions: {
              connectTimeout: 10_000,
              ...(first.password && { password: decodeURIComponent(first.password) }),
              ...(first.username && { username: decodeURIComponent(first.username) }),
              ...(first.protocol === 'rediss:' && { tls: {} }),
            },
          },
        );
  // Failures surface where a command is awaited; without a listener each lost connection would be printed.
  connection.on('error', () => undefined);
  connection.defineCommand('causewaySet', { numberOfKeys: 2, lua: setIfNewer });
  connection.defineCommand('causewayRemove', { numberOfKeys: 2, lua: removeIfOlder });
  return connection;
}

export const redisAddress = (url: string): string =>
  url
    .split(',')
    .map((node) => node.replace(/^rediss?:\/\//, '').replace(/^[^@/]*@/, ''))
    .join(',');

export function redisFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof KnownFailure) return error;
  const text = error.message;
  if (/NOPERM/.test(text))
    return new KnownFailure('PermissionDenied', `Redis, ${doing}: the user may not run this command`);
  if (/NOAUTH|WRONGPASS/.test(text))
    return new KnownFailure('AuthenticationFailed', `Redis, ${doing}: the user or password is wrong`);
  if (/OOM|BUSY|LOADING|CLUSTERDOWN|READONLY|TRYAGAIN/.test(text))
    return new KnownFailure('StoreBusy', `Redis, ${doing}: ${text.split(' ', 1)[0]}`);
  if (/closed|ECONN|max retries|ETIMEDOUT|timeout|refresh slots/i.test(`${text} ${error.name}`))
    return new KnownFailure('StoreUnreachable', `Redis, ${doing}: the server cannot be reached`);
  return new KnownFailure('Defect', `Redis, ${doing}: ${text.split(' ', 1)[0]}`);
}

export async function redis<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw redisFailure(error, doing);
  }
}

/** The server's time, ms. What Redis is to do at a time is reckoned by its own clock: that of a worker may be another. */
export async function timeOf(connection: RedisConnection): Promise<number> {
  const [seconds, micros] = await redis('asking for the time', () => connection.time());
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** What lives no longer than this may be gone: a key and the server's time are not asked for in one moment, ms. */
export const soonGoneMs = 5000;

/** Every server that holds keys. */
export const mastersOf = (connection: RedisConnection): Redis[] =>
  connection instanceof Cluster ? connection.nodes('master') : [connection];
