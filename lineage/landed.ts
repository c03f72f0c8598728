// Where a document is in each target now: rows, documents, keys and files, read back from the stores, secrets redacted.
import { basename } from 'node:path';
import { EJSON } from 'bson';
import type { Resources } from '../activities/resources.ts';
import { labelOf } from '../control/key-label.ts';
import type { LedgerEntry } from '../control/lineage.ts';
import { idsKnown } from '../control/long-keys.ts';
import { redactShown } from '../core/redact.ts';
import type { Mapping } from '../mappings/mapping.ts';
import { fileName } from '../stores/files/loader.ts';
import type { FilesTarget } from '../stores/files/target.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { guardId, guardOf } from '../stores/mongodb/guards.ts';
import { name, query } from '../stores/postgres/connection.ts';
import { created } from '../stores/postgres/created.ts';
import type { TableTarget } from '../stores/postgres/target.ts';
import { redis } from '../stores/redis/connection.ts';

export type Landed = LandedRow | LandedDocument | LandedKey | LandedFile;

export interface LandedRow {
  readonly store: 'postgres';
  readonly table: string;
  readonly id: string;
  /** The chunk or partition that holds the row; the table itself where it has none. */
  readonly partition: string;
  /** The time column of a table partitioned by time. */
  readonly time: string | null;
  /** Numbers as text, so that none is rounded. */
  readonly row: Record<string, unknown>;
}

export interface LandedDocument {
  readonly store: 'mongodb';
  readonly collection: string;
  /** Canonical, as in the ledger. */
  readonly id: string;
  /** seconds.increment of the version that the guard beside the collection holds. */
  readonly guard: string | null;
  /** null: it is not there, though the ledger says so. */
  readonly document: unknown;
}

export interface LandedKey {
  readonly store: 'redis';
  /** What stands for it: a session's key is the session's id. */
  readonly key: string;
  /** ms left to live; null where the key is not there: expired or evicted, its row in PostgreSQL stands. */
  readonly ttlMs: number | null;
  readonly value: unknown;
}

export interface LandedFile {
  readonly store: 'files';
  readonly file: string;
  /** Under which the value stands in the file. */
  readonly key: string;
}

export async function landedOf(resources: Resources, mapping: Mapping, entry: LedgerEntry): Promise<Landed[]> {
  if (entry.version.state !== 'loaded') return [];
  const tables = mapping.targets.filter((target): target is TableTarget => target.store === 'postgres');
  const rows: LandedRow[] = [];
  for (const target of [...tables.filter((one) => !one.child), ...tables.filter((one) => one.child)])
    rows.push(...(await rowsIn(resources, target, entry)));
  const landed: Landed[] = [...rows];
  for (const target of mapping.targets) {
    if (target.store === 'mongodb') landed.push(await documentIn(resources, target.name, entry));
    if (target.store === 'files') landed.push(...(await filesOf(resources, target as FilesTarget, rows)));
  }
  for (const key of entry.keys) landed.push(await keyOf(resources, key));
  return landed.map(cleaned);
}

/** What people will read of it. */
function cleaned(one: Landed): Landed {
  if (one.store === 'postgres') return { ...one, row: redactShown(one.row) as Record<string, unknown> };
  if (one.store === 'mongodb') return { ...one, document: redactShown(one.document) };
  return one.store === 'redis' ? { ...one, key: labelOf(one.key), value: redactShown(one.value) } : one;
}

async function rowsIn({ postgres }: Resources, target: TableTarget, entry: LedgerEntry): Promise<LandedRow[]> {
  const { child, time } = target;
  const found = child
    ? `t.${name(child.column)} in (select p.id from ${name(child.of)} p where p.source_id = $1)`
    : `t.source_id = $1${time ? ` and t.${name(time)} = $2::timestamptz` : ''}`;
  const rows = await query<{ id: string; partition: string; time: string | null; row: Record<string, unknown> }>(
    postgres,
    `reading ${target.name}`,
    `select t.id::text as id, t.tableoid::regclass::text as partition, ${time ? `t.${name(time)}::text` : 'null'} as time,
            (select jsonb_object_agg(key, case jsonb_typeof(value) when 'number' then to_jsonb(value #>> '{}') else value end) from jsonb_each(to_jsonb(t))) as row
     from ${name(target.name)} t where ${found} order by t.id`,
    time && !child ? [entry.sourceId, entry.place] : [entry.sourceId],
  );
  return rows.map((row) => ({ store: 'postgres', table: target.name, ...row }));
}

async function documentIn(
  { mongodb, postgres }: Resources,
  collection: string,
  entry: LedgerEntry,
): Promise<LandedDocument> {
  const filter = { _id: { $in: await idsKnown(postgres, [entry.sourceId]) } } as never;
  return mongo(`reading ${collection}`, async () => {
    const [guard, document] = await Promise.all([
      mongodb.db
        .collection<{ _id: string; v?: { toString(): string } }>(guardOf(collection))
        .findOne({ _id: guardId(entry.collectionId, entry.sourceId) }, { promoteLongs: false }),
      mongodb.db.collection(collection).findOne(filter),
    ]);
    const version = guard?.v === undefined ? undefined : BigInt(guard.v.toString());
    return {
      store: 'mongodb',
      collection,
      id: entry.sourceId,
      guard: version === undefined ? null : `${version >> 32n}.${version & 0xffffffffn}`,
      document: document && EJSON.serialize(document),
    };
  });
}

async function keyOf({ redis: connection }: Resources, key: string): Promise<LandedKey> {
  return redis('reading a key', async () => {
    const [value, ttl] = [await connection.get(key), await connection.pttl(key)];
    return { store: 'redis', key, ttlMs: value === null ? null : ttl, value: value === null ? null : parsed(value) };
  });
}

const parsed = (value: string): unknown => {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
};

/** Files are rendered from a table: the row names category and key. */
async function filesOf(
  { postgres }: Resources,
  target: FilesTarget,
  rows: readonly LandedRow[],
): Promise<LandedFile[]> {
  const files = (await created(postgres, 'files')).map((object) => object.name);
  return rows
    .filter((row) => row.table === target.table)
    .flatMap(({ row }) => {
      const file = files.find((one) => basename(one) === fileName(String(row[target.category])));
      return file === undefined ? [] : [{ store: 'files' as const, file, key: String(row[target.key]) }];
    });
}
