// Making, emptying and removing targets in every store: what a phase made, its compensation removes, and nothing else.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type pg from 'pg';
import type { CollectionTarget } from '../stores/mongodb/target.ts';
import { guardOf } from '../stores/mongodb/guards.ts';
import { collectionNames, dropCollection, emptyCollection, makeCollection } from '../stores/mongodb/schema.ts';
import { closeCapture } from '../control/capture.ts';
import { whileOldCounts } from '../control/lifecycle.ts';
import { assertMark, markFor } from '../control/owner.ts';
import { KnownFailure } from '../core/failures.ts';
import { inTransaction, query, ownWrites } from '../stores/postgres/connection.ts';
import { created, forget, remember } from '../stores/postgres/created.ts';
import { orNoteAgain } from '../stores/postgres/redo.ts';
import { dropTables, emptyTables, hasTimescale, makeTables, monthsAround } from '../stores/postgres/schema.ts';
import { sourceIdSql } from '../stores/postgres/owner.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { fileName, writeFileAtomically } from '../stores/files/loader.ts';
import {
  markOf as folderMark,
  removeMark as removeFolderMark,
  setMark as setFolderMark,
} from '../stores/files/owner.ts';
import type { FilesTarget } from '../stores/files/target.ts';
import { removeKeys } from '../stores/redis/loader.ts';
import { redis } from '../stores/redis/connection.ts';
import { evictionOf } from '../stores/redis/rehearsal.ts';
import type { KeysTarget } from '../stores/redis/target.ts';
import type { Target } from '../stores/store.ts';
import { assertMarks } from './identity.ts';
import { configurationFolder, mappingOf, type Resources } from './resources.ts';
import { settleClosings } from './reverse/closing.ts';

const targetsOf = <T extends Target>(resources: Resources, collections: readonly string[], store: T['store']): T[] =>
  collections
    .flatMap((collection) => mappingOf(resources, collection).targets)
    .filter((target): target is T => target.store === store);

/** PostgreSQL tables, hypertables where the server can. Returns what was made and which of the two. */
export async function makePostgres(
  resources: Resources,
  collections: readonly string[],
): Promise<{ made: string[]; timescale: boolean }> {
  const targets = targetsOf<TableTarget>(resources, collections, 'postgres');
  const made = await makeTables(resources.postgres, targets, monthsAround(new Date(), 26, 12));
  return { made, timescale: await hasTimescale(resources.postgres) };
}

/** Collections with validators and indexes. One that is there and not ours is refused before anything is touched. */
export async function makeMongo(resources: Resources, collections: readonly string[]): Promise<string[]> {
  const { db } = resources.mongodb;
  const targets = targetsOf<CollectionTarget>(resources, collections, 'mongodb');
  const ours = new Set((await created(resources.postgres, 'mongodb')).map((object) => object.name));
  const there = new Set(await collectionNames(db));
  const foreign = targets.filter((target) => there.has(target.name) && !ours.has(target.name));
  if (foreign.length > 0)
    throw new KnownFailure('PreflightFailed', foreignCollections(foreign.map((target) => target.name)));
  for (const target of targets) {
    for (const made of [target.name, guardOf(target.name)])
      await remember(resources.postgres, 'schema', 'mongodb', 'collection', made);
    await makeCollection(db, target);
  }
  return targets.map((target) => target.name);
}

export const foreignCollections = (names: readonly string[]): string =>
  `The target MongoDB already holds ${names.join(', ')}, which this migration did not make. Rename or move them, or give TARGET_MONGODB_URL another database.`;

/** Redis needs no schema; what could lose keys behind the migration's back is said. */
export async function prepareRedis(resources: Resources): Promise<{ mode: 'single' | 'cluster'; warnings: string[] }> {
  const connection = resources.redis;
  const warnings: string[] = [];
  await redis('looking at its settings', () => connection.ping());
  const eviction = await evictionOf(connection);
  if (eviction !== undefined && eviction !== 'noeviction')
    warnings.push(`maxmemory-policy is ${eviction}: sessions may be evicted; the durable copy is in PostgreSQL.`);
  return { mode: connection.isCluster ? 'cluster' : 'single', warnings };
}

/** After a collection's copy: statistics, foreign keys validated, files rendered from their table, this host's spool cleared. Safe to repeat. */
export async function settleCollection(
  resources: Resources,
  collection: string,
  configurationDirectory: string,
): Promise<string[]> {
  const done: string[] = [];
  for (const target of targetsOf<TableTarget>(resources, [collection], 'postgres')) {
    for (const [column, its] of Object.entries(target.columns))
      if (its.references) await addForeignKey(resources, collection, target, column, its.references.table);
    await query(resources.postgres, `analysing ${target.name}`, `analyze "${target.name}"`);
    done.push(`analysed ${target.name}`);
  }
  done.push(...(await renderCollection(resources, collection, configurationDirectory)));
  // Everything is loaded; what is left are drafts of attempts that died.
  await resources.spool.clear(collection);
  return done;
}

/** Added after the load, when it is checked once instead of row by row. */
async function addForeignKey(
  resources: Resources,
  collection: string,
  target: TableTarget,
  column: string,
  parent: string,
): Promise<void> {
  const constraint = `${target.name}_${column}_fkey`;
  await inTransaction(resources.postgres, `adding ${constraint}`, async (client) => {
    const { rowCount } = await client.query(
      'select 1 from pg_constraint where conname = $1 and conrelid = $2::regclass',
      [constraint, `"${target.name}"`],
    );
    const parents = await client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
      `"${parent}"`,
    ]);
    if (rowCount !== 0 || !parents.rows[0]!.there) return;
    // Live writers may have removed a row between the look-up of a reference and its load: such a document is read again.
    await client.query(`lock table "${target.name}", "${parent}" in share row exclusive mode`);
    await client.query(
      `with dangling as (update "${target.name}" t set "${column}" = null where t."${column}" is not null
         and not exists (select 1 from "${parent}" p where p.id = t."${column}") returning ${sourceIdSql('t', target.child)} as source_id)
       insert into migration_control.redo (collection_id, source_id, reason)
       select l.collection_id, d.source_id, 'reference' from (select distinct source_id from dangling) d
       join migration_control.ledger l on l.source_id = d.source_id and l.state = 'l' and not l.deleted
       join migration_control.collections c on c.id = l.collection_id and c.mapping = $1 order by 1, 2 ${orNoteAgain}`,
      [collection],
    );
    await client.query(
      `alter table "${target.name}" add constraint "${constraint}" foreign key ("${column}") references "${parent}" (id) on delete set null`,
    );
  });
}

/** Writes the collection's configuration files anew, and removes those whose category is gone. */
export async function renderCollection(resources: Resources, collection: string, directory: string): Promise<string[]> {
  const targets = targetsOf<FilesTarget>(resources, [collection], 'files');
  if (targets.length === 0) return [];
  // One at a time: the copy's end and a change of a setting may ask for it at once.
  return inTransaction(resources.postgres, 'writing configuration files', async (client) => {
    await client.query(`select pg_advisory_xact_lock(hashtext('causeway files'))`);
    const written: string[] = [];
    for (const target of targets) written.push(...(await renderFiles(resources, target, directory)));
    return written;
  });
}

async function renderFiles(resources: Resources, target: FilesTarget, directory: string): Promise<string[]> {
  const rows = await query<{ category: string; values: Record<string, unknown> }>(
    resources.postgres,
    `reading ${target.table}`,
    `select "${target.category}" as category, jsonb_object_agg("${target.key}", "${target.value}") as values from "${target.table}" group by 1 order by 1`,
  );
  const folder = configurationFolder(resources, directory);
  assertMark(`The configuration directory ${folder}`, await folderMark(folder), resources.owner);
  if (resources.owner && rows.length > 0) await setFolderMark(folder, markFor(resources.owner));
  const ours = new Set((await created(resources.postgres, 'files')).map((object) => object.name));
  const written: string[] = [];
  for (const { category, values } of rows) {
    const file = join(folder, fileName(category));
    if (!ours.has(file) && existsSync(file)) {
      throw new KnownFailure('FileInTheWay', `${file} was not written by this migration and stays as it is.`);
    }
    await remember(resources.postgres, 'data', 'files', 'file', file);
    await writeFileAtomically(file, values);
    written.push(file);
  }
  for (const file of ours)
    if (dirname(file) === folder && !written.includes(file)) {
      await rm(file, { force: true });
      await forget(resources.postgres, 'files', 'file', file);
    }
  return written;
}

/** Throws where the new system counts. What a switch that came to nothing had closed is opened, while its own validation is still known. */
export async function mayRemove(resources: Resources, what: string): Promise<void> {
  if (!(await hasControl(resources))) return;
  await settleClosings(resources);
  await whileOldCounts(resources.postgres, what, () => Promise.resolve());
}

/** Undoes the data phase: keys, files and documents first, then rows with ledger, batches and plan, in one transaction. */
export async function undoData(resources: Resources, heartbeat: () => void): Promise<void> {
  if (!(await hasControl(resources))) return;
  await assertMarks(resources, resources.owner);
  await mayRemove(resources, 'What was copied');
  await whileOldCounts(resources.postgres, 'What was copied', (client) => emptyTargets(resources, client, heartbeat));
  await resources.spool.clear();
}

async function emptyTargets(resources: Resources, client: pg.ClientBase, heartbeat: () => void): Promise<void> {
  await closeCapture(resources.postgres);
  const mappings = [...resources.mappings.keys()];
  for (const target of targetsOf<KeysTarget>(resources, mappings, 'redis')) {
    await removeKeys(resources.redis, target.prefix);
    heartbeat();
  }
  const folders = new Set<string>();
  for (const object of await created(resources.postgres, 'files')) {
    assertMark(`The folder of ${object.name}`, await folderMark(dirname(object.name)), resources.owner);
    await rm(object.name, { force: true });
    await forget(resources.postgres, 'files', object.kind, object.name);
    folders.add(dirname(object.name));
  }
  for (const folder of folders) await removeFolderMark(folder);
  const there = new Set(await collectionNames(resources.mongodb.db));
  for (const object of await created(resources.postgres, 'mongodb')) {
    if (there.has(object.name)) await emptyCollection(resources.mongodb.db, object.name);
    heartbeat();
  }
  await client.query(ownWrites);
  // A switch that was thought dead finds another epoch than the one it has fenced.
  await client.query('update migration_control.routing set epoch = epoch + 1, fenced_until = null');
  await emptyTables(client);
  const { rows } = await client.query<{ id: number }>('select id from migration_control.collections');
  for (const { id } of rows) await client.query(`drop table if exists migration_control.ledger_${id}`);
  await client.query(`delete from migration_control.rollback_checkpoints where phase in ('data', 'cutover')`);
  const tables = dataTables.map((table) => `migration_control.${table}`);
  await client.query(`truncate ${tables.join(', ')} restart identity`);
}

/** What the data phase has written into the control schema, beside the ledger's partitions. */
const dataTables = [
  'collections',
  'chunks',
  'elections',
  'announced_keys',
  'migration_batches',
  'migration_errors',
  'validation_results',
  'capture_gaps',
  'capture_lag',
  'ledger_history',
  'policy',
  'quarantine_retries',
  'verification_runs',
  'verification_scans',
  'verification_keys',
];

/** Undoes the schema phase: exactly the tables and collections recorded as made by it. */
export async function undoSchema(resources: Resources): Promise<void> {
  if (!(await hasControl(resources))) return;
  await assertMarks(resources, resources.owner);
  await whileOldCounts(resources.postgres, 'What the schema phase made', () => dropTargets(resources));
}

async function dropTargets(resources: Resources): Promise<void> {
  const there = new Set(await collectionNames(resources.mongodb.db));
  for (const object of await created(resources.postgres, 'mongodb')) {
    if (there.has(object.name)) await dropCollection(resources.mongodb.db, object.name);
    await forget(resources.postgres, 'mongodb', object.kind, object.name);
  }
  await dropTables(resources.postgres);
  await query(
    resources.postgres,
    'forgetting checkpoints',
    `delete from migration_control.rollback_checkpoints where phase in ('schema', 'data', 'cutover')`,
  );
}

async function hasControl(resources: Resources): Promise<boolean> {
  const [row] = await query<{ there: boolean }>(
    resources.postgres,
    'looking for the control schema',
    `select to_regclass('migration_control.created_objects') is not null as there`,
  );
  return row!.there;
}
