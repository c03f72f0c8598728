// Checks of the preflight on the targets: what the protocol assumes of each server, and every operation that later steps need, tried once.
import { readAddress, readAddresses, safeAddress } from '../../stores/address.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { grantFor as mongoGrant, refusedTarget } from '../../stores/mongodb/rehearsal.ts';
import { replicaSetOf } from '../../stores/mongodb/surroundings.ts';
import { query } from '../../stores/postgres/connection.ts';
import { refusedSteps as refusedByPostgres } from '../../stores/postgres/rehearsal.ts';
import { timescaleOf } from '../../stores/postgres/schema.ts';
import { surroundingsOf } from '../../stores/postgres/surroundings.ts';
import { redis } from '../../stores/redis/connection.ts';
import {
  evictionOf,
  grantFor,
  isNodeOfCluster,
  isReplica,
  refusedSteps as refusedByRedis,
} from '../../stores/redis/rehearsal.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import { mappingOf, type Resources } from '../resources.ts';
import { chosen, unnoted, unreachable, type Asked, type Checks, type Reachable } from './check.ts';

const prefixesOf = (resources: Resources, { settings }: Asked): string[] => [
  ...new Set(
    chosen(resources, settings)
      .flatMap((collection) => mappingOf(resources, collection).targets)
      .filter((target): target is KeysTarget => target.store === 'redis')
      .map((target) => target.prefix),
  ),
];

export const reachableTargets = {
  'target PostgreSQL is reachable': async ({ postgres, addresses }) => {
    const address = safeAddress(addresses.postgres);
    await query(postgres, 'reaching the target', 'select 1').catch((error: unknown) =>
      unreachable(error, { what: 'The target PostgreSQL', address, variable: 'TARGET_POSTGRES_URL' }),
    );
    return address;
  },
  'target MongoDB is reachable': async ({ mongodb, addresses }) => {
    await mongo('reaching the target', () => mongodb.db.command({ ping: 1 })).catch((error: unknown) =>
      unreachable(error, {
        what: 'The target MongoDB',
        address: safeAddress(addresses.mongodb),
        variable: 'TARGET_MONGODB_URL',
      }),
    );
    return safeAddress(addresses.mongodb);
  },
  'target Redis is reachable': async ({ redis: connection, addresses }) => {
    await redis('reaching it', () => connection.ping()).catch((error: unknown) =>
      unreachable(error, {
        what: 'The target Redis',
        address: safeAddress(addresses.redis),
        variable: 'TARGET_REDIS_URL',
      }),
    );
    return connection.isCluster ? 'cluster' : 'single server';
  },
} satisfies Record<string, Reachable>;

const timescaleIs = {
  loaded: 'TimescaleDB: hypertables',
  none: 'no TimescaleDB: native partitions by month',
} as const;

export const targetChecks: Checks = {
  'target PostgreSQL is as the migration needs it': async ({ postgres }) => {
    const { refused, warnings: found, version } = await surroundingsOf(postgres);
    const warnings = [...found];
    if (refused.length > 0) throw new Error(refused.join(' '));
    const timescale = await timescaleOf(postgres);
    if (timescale === 'installed')
      warnings.push(
        'TimescaleDB is installed but the server did not load it at its start, so tables are partitioned natively; for hypertables add timescaledb to shared_preload_libraries and restart the server before the migration begins',
      );
    if (warnings.length > 0) return { warning: warnings.join('; ') };
    return `version ${version}, ${timescaleIs[timescale === 'loaded' ? 'loaded' : 'none']}`;
  },
  'target privileges suffice': async ({ postgres }) => {
    const refused = await refusedByPostgres(postgres, (await timescaleOf(postgres)) === 'loaded');
    if (refused.length > 0) throw new Error(`The user in TARGET_POSTGRES_URL ${refused.join('; ')}.`);
    return 'schemas, tables, COPY, triggers, locks and notices, tried in a transaction that was rolled back';
  },
  'target MongoDB is a replica set': ({ mongodb }) => replicaSetOf(mongodb.db, 'target'),
  'target MongoDB may be filled, watched and emptied': async ({ mongodb, addresses }) => {
    const refused = await refusedTarget(unnoted(mongodb));
    if (refused.length === 0) return 'validators, indexes, transactions and the change stream, tried on one of our own';
    const { user } = readAddress(addresses.mongodb);
    throw new Error(`The user in TARGET_MONGODB_URL ${await mongoGrant(mongodb.db, refused, user)}`);
  },
  'target Redis may be filled, read and emptied': async (resources, asked) => {
    const { redis: connection, addresses } = resources;
    const prefixes = prefixesOf(resources, asked);
    if (prefixes.length === 0) return 'not needed';
    if (await isReplica(connection))
      throw new Error('The target Redis is a replica and takes no writes. Name the primary in TARGET_REDIS_URL.');
    if (await isNodeOfCluster(connection))
      throw new Error(
        'The target Redis is one node of a cluster and holds a part of the keys. Name several of its nodes in TARGET_REDIS_URL, separated by commas.',
      );
    const refused = await refusedByRedis(connection, prefixes);
    if (refused.length > 0) {
      const user = readAddresses(addresses.redis)[0]?.user;
      throw new Error(
        `The user in TARGET_REDIS_URL may not ${refused.join(', ')}. Grant it: ${await grantFor(connection, prefixes, user)}`,
      );
    }
    const eviction = await evictionOf(connection);
    return eviction === undefined || eviction === 'noeviction'
      ? 'scripts, scans and expiries, tried on keys of our own'
      : {
          warning: `maxmemory-policy is ${eviction}: when memory is full Redis removes keys by itself. Every value that is migrated stands in PostgreSQL too, but a key that is gone reads as a session that has ended, and while a stage is watched it counts as missing. Set it: CONFIG SET maxmemory-policy noeviction`,
        };
  },
};
