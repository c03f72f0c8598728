// Preflight: everything that can be refused before anything is written. Reads only.
import { readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { decode } from '../core/bson/decode.ts';
import { KnownFailure } from '../core/failures.ts';
import type { Settings } from '../core/settings.ts';
import { hasTable } from '../control/checkpoints.ts';
import { keysInUse } from '../control/quarantine.ts';
import { controlSchemaOf } from '../control/schema.ts';
import { keptKeyFile } from '../control/kept-key.ts';
import { requireKey } from '../control/sealing.ts';
import { keyVariable, ownVault } from '../control/vault.ts';
import { safeAddress } from '../stores/address.ts';
import { markOf as folderMark } from '../stores/files/owner.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { headOf } from '../stores/mongodb/source.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { query } from '../stores/postgres/connection.ts';
import { created } from '../stores/postgres/created.ts';
import { foreignTables, hasTimescale } from '../stores/postgres/schema.ts';
import { redis } from '../stores/redis/connection.ts';
import { areOurs, areStrings, scanKeys } from '../stores/redis/loader.ts';
import type { KeysTarget } from '../stores/redis/target.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { uncoveredBySample, uncoveredColumns } from './coverage.ts';
import { readPolicy } from './policy.ts';
import { configurationFolder, mappingOf, type Resources } from './resources.ts';
import { foreignCollections } from './targets.ts';

export interface PreflightCheck {
  readonly name: string;
  readonly status: 'passed' | 'failed' | 'warning';
  readonly detail: string;
}

type Check = (
  resources: Resources,
  name: string,
  settings: Settings,
) => Promise<PreflightCheck['detail'] | { warning: string }>;

/** A check throws with a whole sentence; an unreachable store is told apart, so that it can be retried. */
const checks: Record<string, Check> = {
  'source is reachable': async ({ source, addresses }) => {
    await mongo('reaching the source', () => source.db.command({ ping: 1 })).catch((error: unknown) =>
      unreachable(error, 'The source MongoDB', safeAddress(addresses.source), 'SOURCE_MONGODB_URL'),
    );
    return safeAddress(addresses.source);
  },
  'target PostgreSQL is reachable': async ({ postgres, addresses }) => {
    const [row] = await query<{ version: string }>(postgres, 'reaching the target', 'show server_version')
      .catch((error: unknown) =>
        unreachable(error, 'The target PostgreSQL', safeAddress(addresses.postgres), 'TARGET_POSTGRES_URL'),
      )
      .then((rows) => rows.map((one) => ({ version: (one as unknown as { server_version: string }).server_version })));
    if (Number.parseInt(row!.version) < 15)
      throw new Error(`The target PostgreSQL is version ${row!.version}; 15 or newer is needed.`);
    return `version ${row!.version}, ${(await hasTimescale(postgres)) ? 'TimescaleDB: hypertables' : 'no TimescaleDB: native partitions by month'}`;
  },
  'target MongoDB is reachable': async ({ mongodb, addresses }) => {
    await mongo('reaching the target', () => mongodb.db.command({ ping: 1 })).catch((error: unknown) =>
      unreachable(error, 'The target MongoDB', safeAddress(addresses.mongodb), 'TARGET_MONGODB_URL'),
    );
    return safeAddress(addresses.mongodb);
  },
  'target Redis is reachable': async (resources) => {
    await redis('reaching it', () => resources.redis.ping()).catch((error: unknown) =>
      unreachable(error, 'The target Redis', safeAddress(resources.addresses.redis), 'TARGET_REDIS_URL'),
    );
    return resources.redis.isCluster ? 'cluster' : 'single server';
  },
  'source is a replica set': async ({ source }) => {
    const hello = await mongo('asking the source', () => source.db.command({ hello: 1 }));
    if (!hello['setName'] && hello['msg'] !== 'isdbgrid') {
      throw new Error(
        'The source MongoDB is not a replica set, so it has no change streams. Start mongod with --replSet and run rs.initiate(), then try again.',
      );
    }
    return `replica set ${hello['setName'] ?? 'behind mongos'}`;
  },
  'target MongoDB is a replica set': async ({ mongodb }) => {
    const hello = await mongo('asking the target', () => mongodb.db.command({ hello: 1 }));
    if (!hello['setName'] && hello['msg'] !== 'isdbgrid') {
      throw new Error(
        'The target MongoDB is not a replica set, so it has no transactions, in which documents are written together with their versions. Start mongod with --replSet and run rs.initiate(), then try again.',
      );
    }
    return `replica set ${hello['setName'] ?? 'behind mongos'}`;
  },
  'source has change streams': async ({ source }) => {
    const stream = source.db.watch([], { maxAwaitTimeMS: 200 });
    try {
      await mongo('opening a change stream', () => stream.tryNext());
    } catch (error) {
      if (error instanceof KnownFailure && error.type === 'PermissionDenied')
        throw new Error('The source user may not open a change stream; grant it the role `read` on the database.');
      throw error;
    } finally {
      await stream.close();
    }
    return 'a change stream opens';
  },
  'source and target are different': async ({ addresses }) => {
    if (safeAddress(addresses.source) === safeAddress(addresses.mongodb))
      throw new Error(
        'SOURCE_MONGODB_URL and TARGET_MONGODB_URL name the same database; the target needs one of its own.',
      );
    return 'two databases';
  },
  'mappings cover their required columns': async (resources, _name, settings) => {
    const problems: string[] = [];
    for (const collection of chosen(resources, settings)) {
      const mapping = mappingOf(resources, collection);
      problems.push(...uncoveredColumns(mapping));
      const documents = await firstDocuments(resources, [collection, ...mapping.aliases]);
      problems.push(
        ...uncoveredBySample(mapping, documents, {
          zone: settings.zone,
          providers: settings.providers,
          asOf: Date.now(),
        }),
      );
    }
    if (problems.length > 0) throw new Error(problems.join(' '));
    return `${chosen(resources, settings).length} mappings`;
  },
  'source holds the collections': async (resources, _name, settings) => {
    const there = new Set(await collectionNames(resources.source.db));
    const absent = chosen(resources, settings).filter(
      (collection) => ![collection, ...mappingOf(resources, collection).aliases].some((source) => there.has(source)),
    );
    return absent.length === 0 ? 'all of them' : { warning: `the source has no ${absent.join(', ')}, under any name` };
  },
  'target database is free': async ({ postgres, ...resources }, name, settings) => {
    const owner = await controlSchemaOf(postgres, name);
    if (owner.is === 'foreign') throw new Error(owner.why);
    const wanted = new Set(
      chosen(resources as Resources, settings)
        .flatMap((collection) => mappingOf(resources as Resources, collection).targets)
        .filter((target) => target.store === 'postgres')
        .flatMap((target) => [target.name, (target as TableTarget).lifecycle?.daily?.view ?? target.name]),
    );
    const foreign = await foreignTables(postgres);
    const clash = foreign.filter((table) => wanted.has(table));
    if (clash.length > 0)
      throw new Error(
        `The target database already holds ${clash.join(', ')}, which this migration did not make. Rename or move them, or give TARGET_POSTGRES_URL another database.`,
      );
    if (foreign.length > 0 && !settings.allowForeignTables) {
      throw new Error(
        `The target database holds foreign tables (${foreign.slice(0, 5).join(', ')}). Give TARGET_POSTGRES_URL an empty database, or set allowForeignTables in the configuration if they may stay beside ours.`,
      );
    }
    return owner.is === 'ours' ? 'holds this migration already' : 'empty';
  },
  'target privileges suffice': async ({ postgres }) => {
    const [row] = await query<{ database: boolean; schema: boolean }>(
      postgres,
      'reading privileges',
      `select has_database_privilege(current_database(), 'create') as database, has_schema_privilege('public', 'create') as schema`,
    );
    if (!row!.database)
      throw new Error(
        'The PostgreSQL user may not create schemas: GRANT CREATE ON DATABASE ... TO the user in TARGET_POSTGRES_URL.',
      );
    if (!row!.schema)
      throw new Error(
        'The PostgreSQL user may not create tables: GRANT CREATE ON SCHEMA public TO the user in TARGET_POSTGRES_URL.',
      );
    return 'may create schemas and tables';
  },
  'target collections are free': async (resources, _name, settings) => {
    const ours = new Set((await created(resources.postgres, 'mongodb')).map((object) => object.name));
    const there = new Set(await collectionNames(resources.mongodb.db));
    const wanted = chosen(resources, settings)
      .flatMap((collection) => mappingOf(resources, collection).targets)
      .filter((target) => target.store === 'mongodb');
    const foreign = wanted.map((target) => target.name).filter((target) => there.has(target) && !ours.has(target));
    if (foreign.length > 0) throw new Error(foreignCollections(foreign));
    return `${wanted.length} to be made`;
  },
  'target keys are free': async (resources, _name, settings) => {
    for (const target of chosen(resources, settings).flatMap(
      (collection) => mappingOf(resources, collection).targets,
    )) {
      if (target.store !== 'redis') continue;
      const { prefix } = target as KeysTarget;
      for await (const keys of scanKeys(resources.redis, prefix)) {
        // Where a migration has been, the application writes such keys by itself; of another type they would be in the way all the same.
        const known = await hasTable(resources.postgres, 'routing');
        const free = known ? await areStrings(resources.redis, keys) : await areOurs(resources.redis, keys);
        if (free.includes(false))
          throw new Error(
            `The target Redis already holds keys ${prefix}* that this migration did not write. Move them, or give TARGET_REDIS_URL another database.`,
          );
      }
    }
    return 'no foreign keys';
  },
  'configuration directory is free': async (resources, name, settings) => {
    const targets = chosen(resources, settings).flatMap((collection) => mappingOf(resources, collection).targets);
    if (!targets.some((target) => target.store === 'files')) return 'not needed';
    const folder = configurationFolder(resources, settings.configurationDirectory, name);
    const mark = await folderMark(folder);
    if (mark && mark['migration'] !== name)
      throw new Error(
        `${folder} holds the configuration files of the migration "${mark['migration']}": set another configurationDirectory.`,
      );
    const ours = new Set((await created(resources.postgres, 'files')).map((object) => object.name));
    const found = (await readdir(folder).catch(() => [])).map((file) => join(folder, file));
    const foreign = found.filter((file) => file.endsWith('.json') && !ours.has(file));
    if (foreign.length > 0) {
      throw new Error(
        `${folder} already holds ${foreign.length} files that this migration did not write, ${foreign[0]} for one. Move them, or set another configurationDirectory.`,
      );
    }
    return folder;
  },
  'documents are encrypted': async ({ postgres }) => {
    await requireKey(postgres);
    const { ids } = ownVault();
    const lost = [...(await keysInUse(postgres))].filter(([key]) => !ids.includes(key));
    if (lost.length > 0)
      return {
        warning: `${lost.map(([key, documents]) => `${documents} documents are encrypted with key ${key}`).join(', ')}, which ${keyVariable} does not hold; add it behind a comma, or \`causeway quarantine retry\` reads them again.`,
      };
    return process.env[keyVariable]
      ? `key ${ids[0]}`
      : `key ${ids[0]}, kept in ${keptKeyFile()} of this host; workers and applications on other hosts need it in ${keyVariable}`;
  },
  'policy is the one in force': async ({ postgres }, _name, settings) => {
    const [there] = await query<{ there: boolean }>(
      postgres,
      'looking for the policy',
      `select to_regclass('migration_control.policy') is not null as there`,
    );
    const policy = there!.there ? await readPolicy(postgres) : undefined;
    if (!policy) return 'none yet';
    const same =
      policy.zone === settings.zone && JSON.stringify(policy.providers) === JSON.stringify(settings.providers);
    return same
      ? `zone ${policy.zone}`
      : {
          warning: `zone ${policy.zone} and providers [${policy.providers.join(', ')}] stay in force, not those of these settings; \`causeway quarantine retry --config FILE\` changes them.`,
        };
  },
  'spool has room': async ({ spool }) => {
    const { bavail, bsize } = await statfs(spool.folder).catch(() => statfs('.'));
    const free = bavail * bsize;
    const gigabytes = `${(free / 1024 ** 3).toFixed(1)} GiB free`;
    return free < 1024 ** 3 ? { warning: `${gigabytes}; 1 GiB is advised` } : gigabytes;
  },
};

const sampled = 50;

async function firstDocuments(resources: Resources, sources: readonly string[]): Promise<Record<string, unknown>[]> {
  const documents: Record<string, unknown>[] = [];
  for (const source of sources) {
    for await (const raw of headOf(resources.source.db, source, sampled)) documents.push(decode(raw));
  }
  return documents;
}

const chosen = (resources: Resources, settings: Settings): string[] =>
  settings.collections ?? [...resources.mappings.keys()];

function unreachable(error: unknown, what: string, address: string, variable: string): never {
  if (error instanceof KnownFailure && error.type === 'AuthenticationFailed')
    throw new KnownFailure(
      'AuthenticationFailed',
      `${what} at ${address} refuses the user or password in ${variable}.`,
    );
  if (error instanceof KnownFailure && error.type === 'PermissionDenied') throw error;
  const why = error instanceof Error ? error.message : 'no answer';
  throw new KnownFailure(
    'StoreUnreachable',
    `${what} at ${address} cannot be reached (${why}). Check that it runs and that ${variable} is right.`,
  );
}

/** Runs every check; throws StoreUnreachable, AuthenticationFailed or PreflightFailed naming all that failed. */
export async function preflight(resources: Resources, name: string, settings: Settings): Promise<PreflightCheck[]> {
  const unknown = (settings.collections ?? []).filter((collection) => !resources.mappings.has(collection));
  if (unknown.length > 0)
    throw new KnownFailure(
      'ConfigurationInvalid',
      `There is no mapping for ${unknown.join(', ')}. Known: ${[...resources.mappings.keys()].join(', ')}.`,
    );
  const results: PreflightCheck[] = [];
  for (const [check, run] of Object.entries(checks)) {
    try {
      const found = await run(resources, name, settings);
      results.push(
        typeof found === 'string'
          ? { name: check, status: 'passed', detail: found }
          : { name: check, status: 'warning', detail: found.warning },
      );
    } catch (error) {
      if (error instanceof KnownFailure && (error.type === 'StoreUnreachable' || error.type === 'AuthenticationFailed'))
        throw error;
      results.push({ name: check, status: 'failed', detail: (error as Error).message });
    }
  }
  const failed = results.filter((result) => result.status === 'failed');
  if (failed.length > 0) throw new KnownFailure('PreflightFailed', failed.map((result) => result.detail).join(' '));
  return results;
}
