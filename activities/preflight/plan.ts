// Checks of the preflight on what is planned: mappings, targets that must be free, the host of the worker.
import { readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { decode } from '../../core/bson/decode.ts';
import { hasTable } from '../../control/checkpoints.ts';
import { keptKeyFile } from '../../control/kept-key.ts';
import { requireKey } from '../../control/sealing.ts';
import { keysInUse } from '../../control/quarantine.ts';
import { controlSchemaOf } from '../../control/schema.ts';
import { keyVariable, ownVault } from '../../control/vault.ts';
import { markOf as folderMark } from '../../stores/files/owner.ts';
import { headOf } from '../../stores/mongodb/source.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { query } from '../../stores/postgres/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import { foreignTables } from '../../stores/postgres/schema.ts';
import { areOurs, areStrings, scanKeys } from '../../stores/redis/loader.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { uncoveredBySample, uncoveredColumns } from '../coverage.ts';
import { readPolicy } from '../policy.ts';
import { configurationFolder, mappingOf, type Resources } from '../resources.ts';
import { foreignCollections } from '../targets.ts';
import { chosen, type Checks } from './check.ts';

export const planned: Checks = {
  'mappings cover their required columns': async (resources, { settings }) => {
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
  'target database is free': async ({ postgres, ...resources }, { name, settings }) => {
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
  'target collections are free': async (resources, { settings }) => {
    const ours = new Set((await created(resources.postgres, 'mongodb')).map((object) => object.name));
    const there = new Set(await collectionNames(resources.mongodb.db));
    const wanted = chosen(resources, settings)
      .flatMap((collection) => mappingOf(resources, collection).targets)
      .filter((target) => target.store === 'mongodb');
    const foreign = wanted.map((target) => target.name).filter((target) => there.has(target) && !ours.has(target));
    if (foreign.length > 0) throw new Error(foreignCollections(foreign));
    return `${wanted.length} to be made`;
  },
  'target keys are free': async (resources, { settings }) => {
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
  'configuration directory is free': async (resources, { name, settings }) => {
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
  'policy is the one in force': async ({ postgres }, { settings }) => {
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
