// Keys of documents that the way back has written: capture takes those writes for echoes, so whoever has written them brings their keys along.
import type pg from 'pg';
import { ownVault } from '../../control/vault.ts';
import { KnownFailure } from '../../core/failures.ts';
import { versionOfRead } from '../../core/guard.ts';
import { within } from '../../core/within.ts';
import type { Outcome } from '../../mappings/mapping.ts';
import { millisecondsOf } from '../../stores/mongodb/source.ts';
import { orNoteAgain } from '../../stores/postgres/redo.ts';
import { areStrings, loadKeys, retireKeys } from '../../stores/redis/loader.ts';
import type { KeyRow, KeysTarget } from '../../stores/redis/target.ts';
import type { ChangeSettings, Feed } from '../apply.ts';
import type { Resources } from '../resources.ts';
import { imageOf, isLoading, Shaper } from '../shape.ts';

/** The way back does not hang on Redis: what takes longer waits in `redo`, and comes when the old system is authoritative again. */
const patienceMs = 3000;

interface Place {
  readonly feed: Feed;
  readonly partition: string;
  readonly settings: ChangeSettings;
}

interface Keyed {
  readonly id: string;
  readonly version: bigint;
  readonly outcome: Outcome;
  /** Prefix included. */
  readonly keys: readonly string[];
  readonly gone: readonly string[];
}

/** `documents`: as the old system has them now, undefined where they were deleted. `versions`: the ledger's. Before the commit, as everywhere. */
export async function bringKeys(
  { redis }: Pick<Resources, 'redis'>,
  client: pg.ClientBase,
  { feed, partition, settings }: Place,
  documents: ReadonlyMap<string, Uint8Array | undefined>,
  versions: ReadonlyMap<string, bigint>,
): Promise<void> {
  const targets = feed.mapping.targets.filter((target): target is KeysTarget => target.store === 'redis');
  if (targets.length === 0 || versions.size === 0) return;
  const vault = ownVault();
  const { rows } = await client.query<{ source_id: string; keys: string[] | null }>(
    `select source_id, keys from ${partition} where source_id = any($1)`,
    [[...versions.keys()]],
  );
  const shaper = new Shaper(feed.mapping, feed.source, feed.collectionId);
  const all: Keyed[] = rows.map(({ source_id: id, keys: sealed }) => {
    const version = versions.get(id)!;
    const bytes = documents.get(id);
    const image =
      bytes && shaper.shape(imageOf(bytes, versionOfRead(version)), { ...settings, asOf: millisecondsOf(version) });
    const outcome = image && isLoading(image) ? image.outcome : {};
    const keys = shaper.keysOf(outcome, versionOfRead(version));
    const before = (sealed ?? []).map((key) => vault.openText('redis key', key));
    return { id, version, outcome, keys, gone: before.filter((key) => !keys.includes(key)) };
  });
  const late = await write(redis, { targets, owner: feed.collectionId }, all).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof KnownFailure) return error;
      throw error;
    },
  );
  if (late) {
    // The ledger keeps the keys that stand in Redis: who reads the document again removes those that it no longer has.
    await client.query(
      `insert into migration_control.redo (collection_id, source_id, reason, cause) select $1, id, 'waits', $3 from unnest($2::text[]) id order by id
       ${orNoteAgain}, cause = excluded.cause`,
      [feed.collectionId, all.map((one) => one.id), late.message],
    );
    return;
  }
  await client.query(
    `update ${partition} l set keys = case when s.keys <> '[]' then array(select jsonb_array_elements_text(s.keys)) end
     from unnest($1::text[], $2::jsonb[]) s(source_id, keys) where l.source_id = s.source_id`,
    [
      all.map((one) => one.id),
      all.map((one) => JSON.stringify(one.keys.map((key) => vault.sealText('redis key', key)))),
    ],
  );
}

/** Removals first: a key may pass from one document to another. A key of another type is nobody's, and stays. */
async function write(
  redis: Resources['redis'],
  { targets, owner }: { readonly targets: readonly KeysTarget[]; readonly owner: number },
  all: readonly Keyed[],
): Promise<void> {
  const work = async () => {
    const removals = all.flatMap(({ id, version, gone }) =>
      gone.map((key) => ({ key, owner, sourceId: id, version: versionOfRead(version) })),
    );
    await retireKeys(redis, removals, 'ledger');
    for (const { name, prefix } of targets) {
      const rows = all.flatMap(({ id, version, outcome }) =>
        ((outcome[name] ?? []) as readonly KeyRow[]).map((row) => ({
          ...row,
          owner,
          sourceId: id,
          version: versionOfRead(version),
        })),
      );
      const free = await areStrings(
        redis,
        rows.map((row) => prefix + row.key),
      );
      await loadKeys(
        redis,
        prefix,
        rows.filter((_, i) => free[i]),
        'ledger',
      );
    }
  };
  const late = () => new KnownFailure('StoreBusy', `Redis did not take keys of the way back within ${patienceMs} ms`);
  await within(patienceMs, work(), late);
}
