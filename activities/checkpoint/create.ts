// A checkpoint of all stores at one cut: writers are held for a moment in which every store's view is fixed; then the views are read.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type pg from 'pg';
import {
  copyUnderWay,
  hasTable,
  rememberSnapshot,
  unfinishedMessage,
  unfinishedRestore,
  withoutWriters,
  type KnownSnapshot,
} from '../../control/checkpoints.ts';
import { readStream } from '../../control/capture.ts';
import { refuseName, totalOf, type Manifest, type ManifestPart } from '../../core/checkpoints.ts';
import { KnownFailure } from '../../core/failures.ts';
import { readFiles } from '../../stores/files/snapshot.ts';
import { guardOf } from '../../stores/mongodb/guards.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { Moment, shapeOf } from '../../stores/mongodb/snapshot.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { postgresFailure, query } from '../../stores/postgres/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import { copyOut, sequencesOf, settleText, tableName, tablesOf } from '../../stores/postgres/snapshot.ts';
import { encodeRecord, ownKeys } from '../../stores/redis/snapshot.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import { Draft } from '../../stores/snapshots/draft.ts';
import { Snapshot } from '../../stores/snapshots/snapshot.ts';
import { recordAudit } from '../record.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { settledAll } from '../settled-all.ts';

export interface CreateOrder {
  readonly migration: string;
  readonly name: string;
  /** Relative paths begin at the worker's home. */
  readonly snapshotDirectory: string;
  /** What the migration's workflow answered to `status`. */
  readonly workflow: unknown;
  /** Asked again, the same run finds what it has made. */
  readonly run: string;
}

export interface Created extends KnownSnapshot {
  readonly cut: Manifest['cut'];
  /** By store. */
  readonly stores: Record<string, { readonly parts: number; readonly records: number; readonly bytes: number }>;
}

export type Say = (what: string) => void;

/** Where a migration's snapshots lie on this host. */
export const snapshotsFolder = (resources: Pick<Resources, 'home'>, directory: string, migration: string): string =>
  resolve(resources.home, directory, migration);

export async function createSnapshot(resources: Resources, order: CreateOrder, say: Say): Promise<Created> {
  const refusal = refuseName(order.name);
  if (refusal) throw refused(refusal);
  const folder = join(snapshotsFolder(resources, order.snapshotDirectory, order.migration), order.name);
  if (existsSync(folder)) return noteExisting(resources, folder, order);
  await refuseUnready(resources);
  const draft = await Draft.open(folder);
  try {
    const manifest = await fill(resources, order, draft, say);
    const sha256 = await draft.finish(manifest, () => killPoint('snapshot.before-rename'));
    killPoint('snapshot.after-rename');
    return await note(resources, folder, manifest, sha256);
  } catch (error) {
    await draft.discard();
    throw error;
  }
}

const refused = (message: string) => new KnownFailure('CheckpointRefused', message);

async function noteExisting(resources: Resources, folder: string, order: CreateOrder): Promise<Created> {
  const snapshot = await Snapshot.open(folder);
  if (snapshot?.manifest.run !== order.run)
    throw refused(
      `There is a checkpoint ${order.name} already. Choose another name; a checkpoint is never written over.`,
    );
  return note(resources, folder, snapshot.manifest, snapshot.sha256);
}

async function note(resources: Resources, folder: string, manifest: Manifest, sha256: string): Promise<Created> {
  const { name, createdAt, barrierMs, cut } = manifest;
  const host = resources.queues.host;
  const known = { name, createdAt, host, folder, manifestSha256: sha256, ...totalOf(manifest), barrierMs };
  await rememberSnapshot(resources.postgres, known);
  await recordAudit(resources, 'checkpoint created', { name, manifestSha256: sha256, barrierMs, cut });
  return { ...known, cut, stores: byStore(manifest.parts) };
}

export function byStore(parts: readonly ManifestPart[]): Created['stores'] {
  const stores = [...new Set(parts.map((part) => part.store))];
  return Object.fromEntries(
    stores.map((store) => {
      const own = parts.filter((part) => part.store === store);
      return [store, { parts: own.length, ...totalOf({ parts: own }) }];
    }),
  );
}

async function refuseUnready({ postgres }: Resources): Promise<void> {
  if (!(await hasTable(postgres, 'restores')))
    throw refused(
      'The control schema is not there, or older than this version: `causeway start --until schema` makes it.',
    );
  const unfinished = await unfinishedRestore(postgres);
  if (unfinished) throw refused(unfinishedMessage(unfinished));
  if (await copyUnderWay(postgres)) throw refused(copying);
}

const copying =
  'A copy is under way: until it is complete its batches are its checkpoints. Create this one when the data phase has passed.';

async function fill(resources: Resources, order: CreateOrder, draft: Draft, say: Say): Promise<Manifest> {
  const client = await resources.postgres.connect().catch((error: unknown) => {
    throw postgresFailure(error, 'connecting');
  });
  let broken: Error | undefined;
  let moment: Moment | undefined;
  try {
    // The snapshot is taken by the first statement that needs one: that is the first under the barrier.
    await client.query('begin isolation level repeatable read, read only');
    await settleText(client);
    const collections = await ownCollections(resources);
    say('holding writers for the cut');
    const { result: cut, barrierMs } = await withoutWriters(resources.postgres, 'cutting a checkpoint', async () => {
      const [postgres, mongodb, keys, files] = await settledAll([
        fixPostgres(client),
        collections.length > 0 ? Moment.now(resources.mongodb, collections[0]!) : undefined,
        keepKeys(resources, draft),
        keepFiles(resources, draft),
      ] as const);
      moment = mongodb;
      return { ...postgres, parts: [...keys, files] };
    });
    killPoint('snapshot.cut');
    const documents = keepCollections(resources, draft, collections, moment, say);
    const rows = keepTables(client, draft, say);
    const [kept, tables] = await settledAll([documents, rows] as const);
    const facts = await factsOf(client);
    if (await copyUnderWay(client)) throw refused(copying);
    return {
      format: 1,
      migration: order.migration,
      name: order.name,
      createdAt: new Date().toISOString(),
      run: order.run,
      codec: draft.codec,
      key: draft.key,
      cut: {
        at: cut.at,
        lsn: cut.lsn,
        captured: facts.captured,
        mongodb: {
          read: moment?.read ?? 'clusterTime',
          clusterTime: (moment?.clusterTime ?? 0n).toString(),
        },
      },
      barrierMs: Math.round(barrierMs * 10) / 10,
      controlSchema: facts.controlSchema,
      mappings: versionsOf(resources),
      routing: facts.routing,
      workflow: order.workflow,
      sequences: tables.sequences,
      parts: [...tables.parts, ...kept, ...cut.parts],
    };
  } catch (error) {
    broken = error as Error;
    throw error instanceof TypeError || error instanceof RangeError
      ? error
      : postgresFailure(error, 'creating a checkpoint');
  } finally {
    await moment?.close();
    if (!broken) await client.query('rollback').catch((error: Error) => (broken = error));
    client.release(broken);
  }
}

export const versionsOf = ({ mappings }: Pick<Resources, 'mappings'>): Record<string, number> =>
  Object.fromEntries([...mappings.values()].map((mapping) => [mapping.collection, mapping.version] as const).sort());

/** Target collections that are there, with their guards. */
async function ownCollections(resources: Resources): Promise<string[]> {
  const names = [...resources.mappings.values()]
    .flatMap((mapping) => mapping.targets)
    .filter((target): target is CollectionTarget => target.store === 'mongodb')
    .flatMap((target) => [target.name, guardOf(target.name)]);
  const ours = new Set((await created(resources.postgres, 'mongodb')).map((object) => object.name));
  const there = new Set(await collectionNames(resources.mongodb.db));
  return names.filter((one) => ours.has(one) && there.has(one));
}

async function fixPostgres(client: pg.ClientBase): Promise<{ lsn: string; at: string }> {
  const { rows } = await client.query<{ lsn: string; at: Date }>(
    'select pg_current_wal_lsn()::text as lsn, clock_timestamp() as at, pg_current_snapshot() as fixed',
  );
  return { lsn: rows[0]!.lsn, at: rows[0]!.at.toISOString() };
}

export const prefixesOf = ({ mappings }: Pick<Resources, 'mappings'>): string[] => [
  ...new Set(
    [...mappings.values()]
      .flatMap((mapping) => mapping.targets)
      .filter((target): target is KeysTarget => target.store === 'redis')
      .map((target) => target.prefix),
  ),
];

/** Redis has no view of the past: its keys are taken while nobody writes. */
async function keepKeys(resources: Resources, draft: Draft): Promise<ManifestPart[]> {
  const parts: ManifestPart[] = [];
  for (const prefix of prefixesOf(resources)) {
    const part = draft.part('redis', prefix);
    for await (const records of ownKeys(resources.redis, prefix))
      if (records.length > 0) await part.write(Buffer.from(records.map(encodeRecord).join('')));
    parts.push(await part.end());
  }
  return parts;
}

async function keepFiles(resources: Resources, draft: Draft): Promise<ManifestPart> {
  const part = draft.part('files', 'files');
  const paths = (await created(resources.postgres, 'files')).map((object) => object.name);
  for (const record of await readFiles(paths)) await part.write(Buffer.from(`${JSON.stringify(record)}\n`));
  return part.end();
}

async function keepCollections(
  { mongodb }: Resources,
  draft: Draft,
  collections: readonly string[],
  moment: Moment | undefined,
  say: Say,
): Promise<ManifestPart[]> {
  const parts: ManifestPart[] = [];
  for (const collection of collections) {
    const part = draft.part('mongodb', collection);
    for await (const documents of moment!.documents(collection)) {
      await part.write(Buffer.concat(documents));
      say(`${collection}: ${part.records} documents`);
    }
    parts.push({ ...(await part.end()), ...(await shapeOf(mongodb.db, collection)) });
  }
  return parts;
}

async function keepTables(client: pg.ClientBase, draft: Draft, say: Say) {
  const tables = await tablesOf(
    client,
    (await created(client, 'postgres')).filter((object) => object.kind === 'table').map((object) => object.name),
  );
  const parts: ManifestPart[] = [];
  for (const table of tables) {
    const part = draft.part('postgres', tableName(table));
    for await (const chunk of copyOut(client, table)) {
      await part.write(chunk);
      say(`${tableName(table)}: ${part.records} rows`);
    }
    parts.push({ ...(await part.end()), columns: [...table.columns] });
  }
  return { parts, sequences: await sequencesOf(client, tables) };
}

/** What the control tables say at the cut, for people and for the checks of a restore. */
async function factsOf(
  client: pg.ClientBase,
): Promise<Pick<Manifest, 'controlSchema' | 'routing'> & { captured: string | null }> {
  const routes = await query<{ collection: string; percentage: number; write_mode: 'old'; epoch: string }>(
    client,
    'reading the routing',
    'select collection, percentage, write_mode, epoch from migration_control.routing order by collection',
  );
  const [first] = await query<{ first: string | null }>(
    client,
    'reading what is pending',
    'select min(first_version) as first from migration_control.captured',
  );
  const stream = await readStream(client);
  const captured = first!.first === null ? stream?.version : BigInt(first!.first) - 1n;
  return {
    controlSchema: await controlFiles(client),
    routing: Object.fromEntries(
      routes.map((row) => [
        row.collection,
        { percentage: row.percentage, writeMode: row.write_mode, epoch: Number(row.epoch) },
      ]),
    ),
    captured: stream && captured !== undefined ? captured.toString() : null,
  };
}

export const controlFiles = async (on: pg.Pool | pg.ClientBase): Promise<string[]> =>
  (
    await query<{ file: string }>(
      on,
      'reading the control schema',
      'select file from migration_control.schema_versions order by file',
    )
  ).map((row) => row.file);
