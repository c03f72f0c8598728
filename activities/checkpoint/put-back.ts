// Each store's part of a restore. Done again after a crash it ends the same: what is replaced is replaced whole, and compared with the manifest.
import type pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ManifestPart } from '../../core/checkpoints.ts';
import { putFile, removeFile } from '../../stores/files/snapshot.ts';
import { fillSide, makeSide, present, sideOf, swap, type CollectionShape } from '../../stores/mongodb/snapshot.ts';
import { inTransaction, name as quotedName, query } from '../../stores/postgres/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import {
  advanceSequences,
  copyIn,
  copyOut,
  emptyAll,
  lockTables,
  settleText,
  tableName,
  withoutTriggers,
  type TableShape,
} from '../../stores/postgres/snapshot.ts';
import { timeOf } from '../../stores/redis/connection.ts';
import { removeKeys } from '../../stores/redis/loader.ts';
import {
  hasExpired,
  ownKeys,
  putRecords,
  readRecords,
  encodeRecord,
  type KeyRecord,
} from '../../stores/redis/snapshot.ts';
import { ContentDigest, Records } from '../../stores/snapshots/digest.ts';
import { damaged, type Snapshot } from '../../stores/snapshots/snapshot.ts';
import { KnownFailure } from '../../core/failures.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { markStale } from '../../control/stale-files.ts';
import type { Say } from './create.ts';
import { prefixesOf } from './create.ts';
import { fileRecords, presentTables, whileRestoring, type Verified } from './restore.ts';

export interface PutBack {
  readonly parts: number;
  readonly records: number;
  /** Redis: what had an end that has passed since the cut. */
  readonly expired?: number;
}

/** What was put back is not what was saved: a defect, or somebody writes where nobody may. */
const differs = (what: string) =>
  new KnownFailure(
    'Defect',
    `${what} was put back and does not equal the manifest: somebody else writes to it, or its values do not survive the way there`,
  );

/** Collections and their guards: loaded beside the old ones, compared, and only then put in their place. */
export async function restoreDocuments(resources: Resources, verified: Verified, say: Say): Promise<PutBack> {
  const { db } = resources.mongodb;
  return whileRestoring(resources, verified, async (snapshot, still) => {
    const parts = snapshot.parts('mongodb');
    for (const part of parts) {
      const shape = shapeOf(part);
      await makeSide(db, part.name, shape);
      let records = 0;
      for await (const documents of snapshot.records(part)) {
        await fillSide(db, part.name, documents);
        records += documents.length;
        say(`${part.name}: ${records} of ${part.records} documents`);
      }
      const digest = new ContentDigest();
      for await (const batch of present(db, sideOf(part.name))) for (const document of batch) digest.add(document);
      if (digest.hex !== part.digest) throw differs(part.name);
    }
    killPoint('restore.before-swap');
    for (const part of parts) {
      await still();
      await swap(db, part.name, shapeOf(part));
    }
    killPoint('restore.between-stores');
    return sum(parts);
  });
}

const shapeOf = ({ options, indexes }: ManifestPart): CollectionShape => ({
  options: options ?? '{}',
  indexes: indexes ?? '[]',
});

const sum = (parts: readonly ManifestPart[]): PutBack => ({
  parts: parts.length,
  records: parts.reduce((total, part) => total + part.records, 0),
});

/** Values and removals go, the application's own too, keys of other types stay; then those of the snapshot come, with the expiry they had. */
export async function restoreKeys(resources: Resources, verified: Verified, say: Say): Promise<PutBack> {
  const { redis } = resources;
  return whileRestoring(resources, verified, async (snapshot, still) => {
    const parts = snapshot.parts('redis');
    for (const prefix of prefixesOf(resources)) {
      await still();
      await removeKeys(redis, prefix);
    }
    killPoint('restore.keys-removed');
    let expired = 0;
    for (const part of parts) {
      let records = 0;
      for await (const batch of keyRecords(snapshot, part)) {
        expired += batch.length - (await putRecords(redis, batch));
        records += batch.length;
        say(`${part.name}: ${records} of ${part.records} keys`);
      }
      await compareKeys(resources, snapshot, part);
    }
    return { ...sum(parts), expired };
  });
}

async function* keyRecords(snapshot: Snapshot, part: ManifestPart): AsyncGenerator<KeyRecord[]> {
  for await (const lines of snapshot.records(part))
    yield lines.map((line) => JSON.parse(line.toString('utf8')) as KeyRecord);
}

/** Key by key, the expiry too; nothing else of ours is there. */
async function compareKeys({ redis }: Resources, snapshot: Snapshot, part: ManifestPart): Promise<void> {
  for await (const batch of keyRecords(snapshot, part)) {
    const there = await readRecords(
      redis,
      batch.map((record) => record.k),
    );
    const now = await timeOf(redis);
    batch.forEach((record, i) => {
      const found = there[i];
      if (found ? encodeRecord(found) !== encodeRecord(record) : !hasExpired(record, now))
        throw differs(`a key of ${part.name}`);
    });
  }
  let keys = 0;
  for await (const batch of ownKeys(redis, part.name)) keys += batch.length;
  if (keys > part.records) throw differs(part.name);
}

/** In one transaction: who reads waits until all tables stand as they stood. */
export async function restoreRows(resources: Resources, verified: Verified, say: Say): Promise<PutBack> {
  return whileRestoring(resources, verified, async (snapshot, still) => {
    const parts = snapshot.parts('postgres');
    await inTransaction(resources.postgres, 'restoring tables', async (client) => {
      await settleText(client);
      const tables = await presentTables(client);
      await lockPatiently(client, tables);
      await still();
      const before = await standing(client);
      await emptyAll(client, tables);
      for (const table of tables) {
        const part = parts.find((one) => one.name === tableName(table));
        if (!part) throw damaged(snapshot.folder, `it has no ${tableName(table)}`);
        if (part.name === 'migration_control.ledger') await makePartitions(client);
        say(`${part.name}: ${part.records} rows`);
        await withoutTriggers(client, table, () => copyIn(client, table, snapshot.read(part)));
        await compareTable(client, table, part);
      }
      await advanceSequences(client, snapshot.manifest.sequences);
      await fence(client, before, withFiles(resources));
      killPoint('restore.before-commit');
    });
    killPoint('restore.after-commit');
    await analyze(resources.postgres, parts);
    return sum(parts);
  });
}

/** Readers and lanes lock the same tables in another order: who waits long gives way, and asks again. */
async function lockPatiently(client: pg.ClientBase, tables: readonly TableShape[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    await client.query('savepoint locks');
    try {
      return await lockTables(client, tables, 500);
    } catch (error) {
      if (tries === 60) throw error;
      await client.query('rollback to savepoint locks');
      await sleep(200 + Math.random() * 300);
    }
  }
}

async function compareTable(client: pg.ClientBase, table: TableShape, part: ManifestPart): Promise<void> {
  const digest = new ContentDigest();
  const records = new Records('lines');
  for await (const chunk of copyOut(client, table)) for (const row of records.of(chunk)) digest.add(row);
  if (digest.hex !== part.digest) throw differs(part.name);
}

/** Partitions are no rows: a collection that was enrolled then has one, also where it was dropped since. */
async function makePartitions(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ id: number }>('select id from migration_control.collections');
  for (const { id } of rows)
    await client.query(
      `create table if not exists migration_control.${quotedName(`ledger_${id}`)} partition of migration_control.ledger for values in (${id})`,
    );
}

interface Standing {
  readonly epochs: { readonly collection: string; readonly epoch: string }[];
  readonly stream: string;
  readonly lanes: string;
  readonly gap: Record<string, unknown> | undefined;
}

/** What must not go back: epochs, because somebody may still hold one, and a gap that no restore closes. */
async function standing(client: pg.ClientBase): Promise<Standing> {
  const { rows: epochs } = await client.query<{ collection: string; epoch: string }>(
    'select collection, epoch from migration_control.routing',
  );
  const { rows } = await client.query<{ stream: string; lanes: string }>(
    `select (select coalesce(max(epoch), 0) from migration_control.capture_stream) as stream,
            (select coalesce(max(epoch), 0) from migration_control.capture_position) as lanes`,
  );
  const { rows: gaps } = await client.query<{ gap: Record<string, unknown> }>(
    'select to_jsonb(g) as gap from migration_control.capture_gaps g where closed_at is null',
  );
  return { epochs, ...rows[0]!, gap: gaps[0]?.gap };
}

/**
 * Reader and lanes find another epoch and begin again at the positions restored; routers find the old system, in an epoch they have not
 * seen. Configuration files are rendered again from their table when housekeeping goes on.
 */
async function fence(client: pg.ClientBase, before: Standing, rendered: readonly string[]): Promise<void> {
  await client.query(
    'update migration_control.capture_stream set epoch = greatest(epoch, $1) + 1, holder = null, seen_at = null',
    [before.stream],
  );
  await client.query('update migration_control.capture_position set epoch = greatest(epoch, $1) + 1, holder = null', [
    before.lanes,
  ]);
  await client.query(
    `insert into migration_control.routing as r (collection, percentage, write_mode, epoch)
     select collection, 0, 'old', epoch from unnest($1::text[], $2::bigint[]) as b(collection, epoch)
     on conflict (collection) do update set epoch = greatest(r.epoch, excluded.epoch)`,
    [before.epochs.map((one) => one.collection), before.epochs.map((one) => one.epoch)],
  );
  await client.query(
    `update migration_control.routing set percentage = 0, write_mode = 'old', epoch = epoch + 1, updated_at = clock_timestamp()`,
  );
  const { rows: kept } = await client.query<{ mapping: string }>(
    'select distinct mapping from migration_control.collections where mapping = any($1)',
    [rendered],
  );
  await markStale(
    client,
    kept.map((row) => row.mapping),
  );
  if (before.gap)
    await client.query(
      `insert into migration_control.capture_gaps (kind, collection, detail, from_version, opened_at)
       select g.kind, g.collection, g.detail, g.from_version, g.opened_at from jsonb_populate_record(null::migration_control.capture_gaps, $1) g
       on conflict ((true)) where closed_at is null do nothing`,
      [JSON.stringify(before.gap)],
    );
}

/** Mappings whose configuration files are rendered from a table. */
const withFiles = ({ mappings }: Resources): string[] =>
  [...mappings.values()]
    .filter((mapping) => mapping.targets.some((target) => target.store === 'files'))
    .map((mapping) => mapping.collection);

async function analyze(pool: pg.Pool, parts: readonly ManifestPart[]): Promise<void> {
  for (const { name } of parts) {
    const [schema, table] = [name.slice(0, name.indexOf('.')), name.slice(name.indexOf('.') + 1)];
    await query(pool, `analysing ${name}`, `analyze ${quotedName(schema)}.${quotedName(table)}`);
  }
}

/** The files of then; those of ours that came since go. Before the rows, which say whose a file is. */
export async function restoreFiles(resources: Resources, verified: Verified): Promise<PutBack> {
  return whileRestoring(resources, verified, async (snapshot, still) => {
    const records = await fileRecords(snapshot);
    const kept = new Set(records.map((record) => record.path));
    await still();
    for (const record of records) await putFile(record);
    for (const { name: path } of await created(resources.postgres, 'files'))
      if (!kept.has(path)) await removeFile(path);
    return sum(snapshot.parts('files'));
  });
}
