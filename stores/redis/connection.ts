// Opening Redis, single or cluster (comma-separated nodes), errors turned into known failures at this one place.
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { Cluster, Redis } from 'ioredis';
import { removeIfOlder, setIfNewer } from './script.ts';
import { KnownFailure } from '../../core/failures.ts';
import { AddressError, hostText, readAddresses, type Address } from '../address.ts';
import { Endpoints, reasonOf } from '../endpoints.ts';

export type RedisConnection = Redis | Cluster;

const endpoints = new Endpoints();
/** Why the server, as last asked, did not let this process into the database that it is to use. */
let unselected: KnownFailure | undefined;

/** Who owes an answer and says nothing for so long is gone, whatever its connection looks like; what was asked is asked again. */
const lostAfterMs = 10_000;
const longestPauseMs = 500;

export function openRedis(url: string, silentMs = lostAfterMs): RedisConnection {
  const { nodes, database, login, tls } = readRedisUrl(url);
  const options = {
    connectTimeout: 10_000,
    socketTimeout: silentMs,
    keepAlive: 10_000,
    ...(login.user && { username: login.user }),
    ...(login.password && { password: login.password }),
    ...(tls && { tls }),
  };
  const connection =
    nodes.length === 1
      ? new Redis({
          ...options,
          ...nodes[0]!,
          db: database,
          maxRetriesPerRequest: 3,
          // A server that comes back is seen this soon, and one that does not come back fails what was asked within two seconds.
          retryStrategy: (times) => Math.min(times * 50, longestPauseMs),
          lazyConnect: true,
        })
      : new Cluster(nodes, {
          lazyConnect: true,
          redisOptions: options,
          // Commands to a node that hangs are sent anew once another has taken over.
          slotsRefreshInterval: 5000,
          // Certificates are made for names: a name that was resolved first could not be checked.
          ...(tls && { dnsLookup: (name, found) => found(null, name) }),
        });
  endpoints.open(
    'target Redis',
    nodes.map(({ host, port }) => hostText({ name: host, port })),
  );
  // Failures surface where a command is awaited; without a listener each lost connection would be printed.
  connection.on('error', (error: Error & { readonly command?: { readonly name?: string } }) => {
    if (error.command?.name !== 'select') return;
    // The driver goes on, in database 0: what is asked then is not to be answered from there, nor written to it.
    unselected = /NOPERM/.test(error.message)
      ? new KnownFailure('PermissionDenied', 'the user may not choose a database (select)')
      : new KnownFailure(
          'NoSuchDatabase',
          `the server has no database ${database}; correct the number of the database in TARGET_REDIS_URL`,
        );
    connection.disconnect(true);
  });
  connection.on('ready', () => (unselected = undefined));
  connection.defineCommand('causewaySet', { numberOfKeys: 2, lua: setIfNewer });
  connection.defineCommand('causewayRemove', { numberOfKeys: 2, lua: removeIfOlder });
  return connection;
}

interface RedisUrl {
  readonly nodes: { readonly host: string; readonly port: number }[];
  readonly database: number;
  readonly login: Pick<Address, 'user' | 'password'>;
  readonly tls: ConnectionOptions | undefined;
}

/** One server, or nodes of a cluster separated by commas, each with or without `redis://`. Throws ConfigurationInvalid. */
export function readRedisUrl(url: string): RedisUrl {
  const refuse = (why: string): never => {
    throw new KnownFailure('ConfigurationInvalid', `The Redis URL ${why}.`);
  };
  try {
    const parts = readAddresses(url);
    const nodes = parts.flatMap(({ hosts }) => hosts.map(({ name, port }) => ({ host: name, port: port ?? 6379 })));
    if (nodes.length === 0) refuse('names no host');
    const path = parts.find((part) => part.path)?.path ?? '0';
    if (!/^\d{1,9}$/.test(path)) refuse('has a path that is not the number of a database, as in redis://host:6379/0');
    if (nodes.length > 1 && Number(path) !== 0)
      refuse('asks a cluster for a database other than 0; a cluster has only that');
    const options = new Map(parts.flatMap((part) => [...part.options]));
    const unknown = [...options.keys()].filter((option) => !['cacert', 'cert', 'key'].includes(option));
    if (unknown.length > 0) refuse(`has the option ${unknown[0]}; known are cacert, cert and key, files for TLS`);
    const secure = parts.some((part) => part.scheme === 'rediss');
    if (options.size > 0 && !secure) refuse('names files for TLS but begins with redis://; TLS is rediss://');
    const file = (option: string) => (options.has(option) ? readFileSync(options.get(option)!) : undefined);
    const [ca, cert, key] = [file('cacert'), file('cert'), file('key')];
    return {
      nodes,
      database: Number(path),
      login: parts.find((part) => part.password !== undefined) ?? parts[0]!,
      tls: secure ? { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } : undefined,
    };
  } catch (error) {
    if (error instanceof AddressError) return refuse(error.message);
    const { code, path } = error as NodeJS.ErrnoException;
    if (path) return refuse(`names the file ${path}, which cannot be read (${code})`);
    throw error;
  }
}

/** What a server answers that will do the same later, by itself or by its operators. A script's error has them in the middle of its text. */
const busyReplies =
  /\b(OOM|BUSY|UNBLOCKED|max number of clients|LOADING|CLUSTERDOWN|READONLY|TRYAGAIN|MASTERDOWN|NOREPLICAS|MISCONF)\b/;

export function redisFailure(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof KnownFailure) return error;
  const text = error.message;
  if (/NOPERM|user executing the script can't/i.test(text))
    return new KnownFailure('PermissionDenied', `Redis, ${doing}: the user may not run this command`);
  if (/NOAUTH|WRONGPASS/.test(text))
    return new KnownFailure('AuthenticationFailed', `Redis, ${doing}: the user or password is wrong`);
  if (text.startsWith('FOREIGN'))
    return new KnownFailure('TargetConflict', `Redis, ${doing}: a key of another type than a string is in the way`);
  if (/Too many Cluster redirections/i.test(text))
    return new KnownFailure(
      'StoreBusy',
      `Redis, ${doing}: the cluster is moving its slots, or another node takes over`,
    );
  if (/^(MOVED|ASK) /.test(text))
    return new KnownFailure(
      'StoreBusy',
      `Redis, ${doing}: the server is one node of a cluster, and the key is kept by another; name several nodes in TARGET_REDIS_URL, separated by commas`,
    );
  const busy = busyReplies.exec(text)?.[0];
  if (busy) return new KnownFailure('StoreBusy', `Redis, ${doing}: ${busy}`);
  if (unselected) return new KnownFailure(unselected.type, `Redis, ${doing}: ${unselected.message}`);
  const reason = reasonOf((error as { lastNodeError?: unknown }).lastNodeError) ?? reasonOf(error);
  if (
    reason !== undefined ||
    /closed|connection close|max retries|timeout|refresh slots|startup nodes|Cluster is (ended|disconnect)|Node is disconnected/i.test(
      `${text} ${error.name}`,
    )
  )
    return new KnownFailure(
      'StoreUnreachable',
      `Redis, ${doing}: ${endpoints.name()} cannot be reached or closed the connection${reason ? ` (${reason})` : ''}`,
    );
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

/** Every server that holds keys. Of a cluster as the driver knows it: who needs all of them asks `layoutOf` too. */
export const mastersOf = (connection: RedisConnection): Redis[] =>
  connection instanceof Cluster ? connection.nodes('master') : [connection];
