// Scans from the targets' side, for what the source does not explain: ledger keys, rows, documents, keys of Redis.
import { ownVault } from '../../control/vault.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { idsKnown } from '../../control/long-keys.ts';
import { parse } from '../../core/json.ts';
import { closePiece, type Scan, type Suspect } from '../../control/verification.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { idsAmong, keyText, rangeFilter } from '../../stores/mongodb/source.ts';
import { name, query } from '../../stores/postgres/connection.ts';
import { redis } from '../../stores/redis/connection.ts';
import { scanKeys } from '../../stores/redis/loader.ts';
import { guardField } from '../../stores/redis/script.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import { textOf } from '../../stores/redis/value.ts';
import { readId } from './bytes.ts';
import { suspectOf } from './documents.ts';
import type { Ground } from './read-back.ts';
import { Throttle, type Verifier } from './verifier.ts';

const keysAtOnce = 1000;
const mostRows = 20_000;

interface Page {
  readonly compared: number;
  /** undefined at the end. */
  readonly position: string | undefined;
  readonly suspects: readonly Suspect[];
}

/** Page after page until there is none, or the slice is over: then false. */
async function pages(
  verifier: Verifier,
  scan: Scan,
  next: (position: string | null) => Promise<Page>,
): Promise<boolean> {
  const throttle = new Throttle(verifier.order.rowsPerSecond);
  for (let { position } = scan; !verifier.slice.over();) {
    const page = await next(position);
    const done = page.position === undefined;
    position = page.position ?? position;
    const { compared, suspects } = page;
    await closePiece(verifier.resources.postgres, verifier.run, scan, { position, compared, done, suspects });
    if (done) return true;
    await sleep(throttle.after(compared));
  }
  return false;
}

const siblingsOf = ({ grounds }: Verifier, mapping: string): Ground[] =>
  grounds.filter((one) => one.mapping.collection === mapping);

/** Ledger keys that are no ObjectIds, and of which the source has no document: those in a range of ObjectIds are met by the scan of documents. */
export async function scanLedger(verifier: Verifier, scan: Scan): Promise<boolean> {
  const { postgres, source } = verifier.resources;
  const ground = verifier.scope.find((one) => one.collectionId === scan.collectionId)!;
  const exists = (await collectionNames(source.db)).includes(ground.source);
  return pages(verifier, scan, async (position) => {
    const rows = await query<{ source_id: string }>(
      postgres,
      `reading the ledger of ${ground.source}`,
      `select source_id from migration_control.${name(`ledger_${ground.collectionId}`)} where not deleted and source_id > $1
         and not (source_id > '/' and source_id <= 'g' and length(source_id) = 24) order by source_id limit ${keysAtOnce}`,
      [position ?? ''],
    );
    const ids = rows.map((row) => row.source_id);
    const there =
      exists && ids.length > 0 ? await idsAmong(source.db, ground.source, await idsKnown(postgres, ids)) : [];
    const known = new Set(there);
    return {
      compared: ids.length,
      position: ids.at(-1),
      suspects: ids.filter((id) => !known.has(id)).map((id) => suspectOf(ground, id)),
    };
  });
}

/** Rows of a table that belong to no loaded document. */
export function scanRows(verifier: Verifier, scan: Scan): Promise<boolean> {
  const siblings = siblingsOf(verifier, scan.mapping);
  const ids = siblings.map((one) => one.collectionId);
  const rowsAtOnce = new Throttle(verifier.order.rowsPerSecond).atOnce(mostRows);
  return pages(verifier, scan, async (position) => {
    const [row] = await query<{ rows: string; last: string | null; extra: string[] | null }>(
      verifier.resources.postgres,
      `reading ${scan.target}`,
      `with page as (select source_id from ${name(scan.target!)} where source_id > $1 order by source_id limit ${rowsAtOnce})
       select count(*) as rows, max(page.source_id) as last, array_agg(distinct page.source_id) filter (where not exists (
         select 1 from migration_control.ledger l where l.collection_id = any($2) and l.source_id = page.source_id and l.state = 'l' and not l.deleted)) as extra from page`,
      [position ?? '', ids],
    );
    return {
      compared: Number(row!.rows),
      position: row!.last ?? undefined,
      suspects: await claimed(verifier, siblings, row!.extra ?? []),
    };
  });
}

/** Documents of a MongoDB target that belong to no loaded document of the source. */
export function scanCopies(verifier: Verifier, scan: Scan): Promise<boolean> {
  const siblings = siblingsOf(verifier, scan.mapping);
  const collection = verifier.resources.mongodb.db.collection(scan.target!);
  const rowsAtOnce = new Throttle(verifier.order.rowsPerSecond).atOnce(mostRows);
  return pages(verifier, scan, async (position) => {
    const found = await mongo(`reading keys of ${scan.target}`, () =>
      collection
        .find(rangeFilter({ after: position, upTo: null }) as never, { projection: { _id: 1 }, raw: true })
        .sort({ _id: 1 })
        .limit(rowsAtOnce)
        .toArray(),
    );
    const raws = found as unknown as Uint8Array[];
    const ids = raws.map((raw) => readId(raw).id);
    const loaded = await loadedAmong(verifier, siblings, ids);
    const last = raws.at(-1);
    return {
      compared: ids.length,
      position: last && keyText(last),
      suspects: await claimed(
        verifier,
        siblings,
        ids.filter((id) => !loaded.has(id)),
      ),
    };
  });
}

async function loadedAmong(
  { resources }: Verifier,
  siblings: readonly Ground[],
  ids: readonly string[],
): Promise<Map<string, readonly string[]>> {
  const rows = await query<{ source_id: string; keys: string[] | null }>(
    resources.postgres,
    'looking into the ledger',
    `select source_id, keys from migration_control.ledger where collection_id = any($2) and source_id = any($1) and state = 'l' and not deleted`,
    [ids, siblings.map((one) => one.collectionId)],
  );
  return new Map(
    rows.map((row) => [row.source_id, (row.keys ?? []).map((key) => ownVault().openText('redis key', key))]),
  );
}

/** What nobody explains is asked of the source collection whose ledger knows the id, or of the mapping's first. */
async function claimed(
  { resources }: Verifier,
  siblings: readonly Ground[],
  ids: readonly string[],
): Promise<Suspect[]> {
  if (ids.length === 0) return [];
  const rows = await query<{ source_id: string; collection_id: number }>(
    resources.postgres,
    'looking into the ledger',
    'select source_id, min(collection_id) as collection_id from migration_control.ledger where collection_id = any($2) and source_id = any($1) group by source_id',
    [ids, siblings.map((one) => one.collectionId)],
  );
  const known = new Map(rows.map((row) => [row.source_id, row.collection_id]));
  return ids.map((id) => suspectOf(siblings.find((one) => one.collectionId === known.get(id)) ?? siblings[0]!, id));
}

/** Keys with the prefix of a Redis target that no loaded document has. A scan of Redis has no position to resume from: it is short, and begun again. */
export async function scanRedis(verifier: Verifier, scan: Scan): Promise<boolean> {
  const { resources, run } = verifier;
  const target = keysTargetOf(verifier, scan.mapping, scan.target!);
  const throttle = new Throttle(verifier.order.rowsPerSecond);
  const suspects: Suspect[] = [];
  let compared = 0;
  for await (const keys of scanKeys(resources.redis, target.prefix)) {
    for (const id of await unexplained(verifier, scan.mapping, keys))
      suspects.push({ kind: 'key', collectionId: 0, mapping: scan.mapping, id });
    compared += keys.length;
    await sleep(throttle.after(keys.length));
  }
  await closePiece(resources.postgres, run, scan, { position: null, compared, done: true, suspects });
  return true;
}

export const keysTargetOf = ({ resources }: Verifier, mapping: string, target: string): KeysTarget =>
  resources.mappings.get(mapping)!.targets.find((one) => one.name === target && one.store === 'redis') as KeysTarget;

/** Keys that the document they name does not have. A value without our mark was written by the application, and is its own. */
export async function unexplained(verifier: Verifier, mapping: string, keys: readonly string[]): Promise<string[]> {
  if (keys.length === 0) return [];
  const siblings = siblingsOf(verifier, mapping);
  const { redis: connection } = verifier.resources;
  const values = await redis('reading back keys', () => Promise.all(keys.map((key) => textOf(connection, key))));
  const named = keys.flatMap((key, i) => {
    const mark = parse(values[i] ?? '')?.[guardField] as { s?: unknown } | undefined;
    return mark === undefined ? [] : [{ key, id: mark.s }];
  });
  const loaded = await loadedAmong(
    verifier,
    siblings,
    named.flatMap(({ id }) => (typeof id === 'string' ? [id] : [])),
  );
  const left = named
    .filter(({ key, id }) => typeof id !== 'string' || !loaded.get(id)?.includes(key))
    .map(({ key }) => key);
  // A damaged value names the wrong document or none; the key may still be one that a document has.
  return left.length === 0 ? [] : withoutOwner(verifier, siblings, left);
}

async function withoutOwner(
  { resources }: Verifier,
  siblings: readonly Ground[],
  keys: readonly string[],
): Promise<string[]> {
  const vault = ownVault();
  const rows = await query<{ key: string }>(
    resources.postgres,
    'looking for the owners of keys',
    `select distinct unnest(keys) as key from migration_control.ledger where collection_id = any($2) and state = 'l' and not deleted and keys && $1`,
    [keys.map((key) => vault.sealText('redis key', key)), siblings.map((one) => one.collectionId)],
  );
  const owned = new Set(rows.map((row) => row.key));
  return keys.filter((key) => !owned.has(vault.sealText('redis key', key)));
}
