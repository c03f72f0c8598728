// What every activity of one worker process shares: connections, mappings, spool. Opened once, closed at shutdown.
import { randomUUID } from 'node:crypto';
import { isAbsolute, join, resolve } from 'node:path';
import type { MongoClient } from 'mongodb';
import type pg from 'pg';
import { ownerCheck } from '../control/owner.ts';
import { connectionsOf, WritingSessions } from '../control/writing-sessions.ts';
import { loadMappings } from '../mappings/registry.ts';
import type { Owner } from '../core/owner.ts';
import type { Mapping } from '../mappings/mapping.ts';
import { Spool } from '../spool/segment.ts';
import { openMongo, type WrittenDatabase } from '../stores/mongodb/connection.ts';
import { openPool } from '../stores/postgres/connection.ts';
import { openRedis, type RedisConnection } from '../stores/redis/connection.ts';

export interface Addresses {
  readonly source: string;
  readonly postgres: string;
  readonly mongodb: string;
  readonly redis: string;
}

export interface Resources {
  readonly addresses: Addresses;
  readonly source: { readonly client: MongoClient } & WrittenDatabase;
  readonly postgres: pg.Pool;
  readonly mongodb: { readonly client: MongoClient } & WrittenDatabase;
  readonly redis: RedisConnection;
  readonly sessions: WritingSessions;
  readonly mappings: ReadonlyMap<string, Mapping>;
  readonly spool: Spool;
  /** Folder of this worker; relative paths of the configuration begin here. */
  readonly home: string;
  /** Task queues that only this host, or only this process, serves. */
  readonly queues: { readonly host: string; readonly process: string };
  /** The migration that this worker serves, and its stores; undefined: a command that works for nobody in particular. */
  readonly owner: Owner | undefined;
  readonly attributes: boolean;
  close(): Promise<void>;
}

/** Who works with the resources. */
export interface Who {
  readonly host: string;
  readonly process: string;
  /** Each transaction then begins by looking whether the database is this owner's. */
  readonly owner?: Owner;
  /** Whether the Temporal server knows the workflows' search attributes. */
  readonly attributes?: boolean;
  /** After how long a connection that owes an answer is looked upon as gone (PostgreSQL: asked about), ms; else as each store has it. */
  readonly silentMs?: { readonly postgres: number; readonly others: number };
  /** How long a command to MongoDB waits for a server that takes it, ms. */
  readonly selectionMs?: number;
}

/** Where the segments of a migration lie: those of two on one host are kept apart. */
export const spoolFolder = (home: string, owner: Owner | undefined): string =>
  owner ? join(home, 'spool', `${owner.migration}-${owner.stores}`) : join(home, 'spool');

/** Where a migration's configuration files lie. A relative directory is one of the home, and there each migration has a folder of its own. */
export const configurationFolder = (
  { home, owner }: Pick<Resources, 'home' | 'owner'>,
  directory: string,
  migration = owner?.migration,
): string =>
  isAbsolute(directory) || migration === undefined ? resolve(home, directory) : join(home, directory, migration);

/** Opens nothing yet: every driver connects on first use, so that a store that is down is reported by the activity that needs it. */
export async function openResources(
  addresses: Addresses,
  home: string,
  { owner, attributes = false, silentMs, selectionMs, ...queues }: Who,
): Promise<Resources> {
  const source = openMongo(addresses.source, 'source', { silentMs: silentMs?.others, selectionMs });
  const mongodb = openMongo(addresses.mongodb, 'target', { silentMs: silentMs?.others, selectionMs });
  const silence = silentMs ? { askAfterMs: silentMs.postgres } : {};
  const id = randomUUID();
  const postgres = openPool(addresses.postgres, 12, {
    applicationName: connectionsOf(id),
    ...silence,
    ...(owner && { check: ownerCheck(owner) }),
  });
  const redis = openRedis(addresses.redis, silentMs?.others);
  const sessions = new WritingSessions(
    openPool(addresses.postgres, 1, silence),
    { holder: queues.process, id },
    { source: source.client, target: mongodb.client },
  );
  return {
    addresses,
    source: { ...source, session: (options) => sessions.open('source', options) },
    postgres,
    mongodb: { ...mongodb, session: (options) => sessions.open('target', options) },
    redis,
    sessions,
    mappings: await loadMappings(),
    spool: new Spool(spoolFolder(home, owner)),
    home,
    queues,
    owner,
    attributes,
    async close() {
      redis.disconnect();
      await Promise.allSettled([sessions.close(), source.client.close(), mongodb.client.close(), postgres.end()]);
    },
  };
}

/** The mapping of a collection. A missing one means that workers run other code than the migration was started with. */
export function mappingOf({ mappings }: Pick<Resources, 'mappings'>, collection: string): Mapping {
  const mapping = mappings.get(collection);
  if (!mapping)
    throw new RangeError(
      `no mapping for ${collection} in this worker; start it with the same mappings as the migration`,
    );
  return mapping;
}
