// Each store's part of a restore. Done again after a crash it ends the same: what is replaced is replaced whole, and compared with the manifest.
import { dirname } from 'node:path';
import type pg from 'pg';
import { assertMark } from '../../control/owner.ts';
import type { ManifestPart } from '../../core/checkpoints.ts';
import { markOf } from '../../stores/files/owner.ts';
import { putFile, removeFile } from '../../stores/files/snapshot.ts';
import { fillSide, makeSide, present, sideOf, swap, type CollectionShape } from '../../stores/mongodb/snapshot.ts';
import { inTransaction, name as quotedName, query } from '../../stores/postgres/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import { advanceSequences } from '../../stores/postgres/snapshot.ts';
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
import { ContentDigest } from '../../stores/snapshots/digest.ts';
import type { Snapshot } from '../../stores/snapshots/snapshot.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import type { Say } from './create.ts';
import { prefixesOf } from './create.ts';
import { fileRecords, whileRestoring, type Verified } from './restore.ts';
import { differs, replaceRows } from './rows.ts';

export interface PutBack {
  readonly parts: number;
  readonly records: number;
  /** Redis: what had an end that has passed since the cut. */
  readonly expired?: number;
}

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

/** Our keys and removals go, others stay; then those of the snapshot come, with the expiry they had. */
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
      await replaceRows(resources, client, snapshot, { locked: still, say });
      await advanceSequences(client, snapshot.manifest.sequences);
      killPoint('restore.before-commit');
    });
    killPoint('restore.after-commit');
    await analyze(resources.postgres, parts);
    return sum(parts);
  });
}

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
    const gone = (await created(resources.postgres, 'files')).map((one) => one.name).filter((path) => !kept.has(path));
    await still();
    for (const folder of new Set([...kept, ...gone].map((path) => dirname(path))))
      assertMark(`The folder ${folder}`, await markOf(folder), resources.owner);
    for (const record of records) await putFile(record);
    for (const path of gone) await removeFile(path);
    return sum(snapshot.parts('files'));
  });
}
