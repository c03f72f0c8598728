// Writing keys: a pipelined Lua compare-and-set, so that of two writers in any order the same one wins.
import type { DecidedBy, Version } from '../../core/guard.ts';
import { redis, type RedisConnection } from './connection.ts';
import { assertUnmoved, layoutOf } from './layout.ts';
import { guardField, tombstoneSeconds } from './script.ts';
import type { KeyRow } from './target.ts';
import { keyOfTombstone, keysOf, patternsOf, tombstoneKey } from './tombstone.ts';
import { isMarked, textOf } from './value.ts';

/** Which document: several source collections of a mapping may have its `_id`, and versions of two documents say nothing about each other. */
interface Of {
  /** The ledger's number of its source collection. */
  readonly owner: number;
  readonly sourceId: string;
  readonly version: Version;
}

export interface KeyWrite extends KeyRow, Of {}

export interface KeyRemoval extends Of {
  /** Prefix included. */
  readonly key: string;
}

const pipelineSize = 500;

/** Fixed width, so that Lua compares it as text. */
const versionText = ({ time, op }: Version): string =>
  `${time.toString().padStart(20, '0')}.${op.toString().padStart(10, '0')}`;

/**
 * Writes the rows that have not expired, by the server's clock alone. Where the ledger decides, the keys of those that have are removed: the
 * version before may have had a longer life, and come from an attempt that broke off. Returns how many were written, stale and expired.
 */
export async function loadKeys(
  connection: RedisConnection,
  prefix: string,
  rows: readonly KeyWrite[],
  by: DecidedBy = 'guard',
) {
  const ended: KeyWrite[] = [];
  let written = 0;
  await redis('loading keys', async () => {
    for (let i = 0; i < rows.length; i += pipelineSize) {
      const some = rows.slice(i, i + pipelineSize);
      const replies = await Promise.all(some.map((row) => write(connection, prefix, row, by)));
      written += replies.filter((reply) => reply === 1).length;
      ended.push(...some.filter((_, j) => replies[j] === hasExpired));
    }
  });
  if (by === 'ledger')
    await retireKeys(
      connection,
      ended.map(({ key, owner, sourceId, version }) => ({ key: prefix + key, owner, sourceId, version })),
      by,
    );
  return { written, stale: rows.length - written - ended.length, expired: ended.length };
}

/** The script's answer. */
const hasExpired = 2;

/** Removes each key that its document holds in an older version; the removal is remembered. Returns how many keys went. */
export async function retireKeys(
  connection: RedisConnection,
  removals: readonly KeyRemoval[],
  by: DecidedBy = 'guard',
): Promise<number> {
  let removed = 0;
  await redis('removing keys', async () => {
    for (let i = 0; i < removals.length; i += pipelineSize) {
      const replies = await Promise.all(
        removals
          .slice(i, i + pipelineSize)
          .map(({ key, owner, sourceId, version }) =>
            (connection as WithScripts).causewayRemove(
              key,
              tombstoneKey(key),
              sourceId,
              versionText(version),
              tombstoneSeconds,
              by,
              `${owner}`,
            ),
          ),
      );
      removed += replies.filter((reply) => reply === 1).length;
    }
  });
  return removed;
}

type Script = (key: string, tombstones: string, ...args: (string | number)[]) => Promise<unknown>;
type WithScripts = RedisConnection & { causewaySet: Script; causewayRemove: Script };

/** ioredis sends what is queued in one tick as one pipeline, and in a cluster each command to its node. */
function write(connection: RedisConnection, prefix: string, row: KeyWrite, by: DecidedBy): Promise<unknown> {
  const version = versionText(row.version);
  const key = prefix + row.key;
  const value = JSON.stringify({
    ...row.value,
    [guardField]: { s: row.sourceId, c: `${row.owner}`, r: row.rank, v: version },
  });
  return (connection as WithScripts).causewaySet(
    key,
    tombstoneKey(key),
    value,
    row.expiresAt,
    row.sourceId,
    row.rank,
    version,
    by,
    `${row.owner}`,
  );
}

/** Keys of a prefix, node by node, in batches; nothing is held for long. Ends only where every key was met that was there all the while; else StoreBusy. */
export const scanKeys = (connection: RedisConnection, prefix: string): AsyncGenerator<string[]> =>
  scan(connection, keysOf(prefix));

/** Keys of a prefix and their removals. What a scan meets twice is there twice. */
export async function* scanAll(connection: RedisConnection, prefix: string): AsyncGenerator<string[]> {
  for (const pattern of patternsOf(prefix))
    for await (const found of scan(connection, pattern))
      yield found.filter((key) => (keyOfTombstone(key) ?? key).startsWith(prefix));
}

async function* scan(connection: RedisConnection, pattern: string): AsyncGenerator<string[]> {
  if (connection.status === 'wait') await redis('connecting', () => connection.connect());
  const layout = await layoutOf(connection);
  for (const node of layout.nodes) {
    let cursor = '0';
    do {
      const [next, found] = await redis('scanning keys', () => node.scan(cursor, 'MATCH', pattern, 'COUNT', 1000));
      cursor = next;
      if (found.length > 0) yield found;
    } while (cursor !== '0');
  }
  await assertUnmoved(connection, layout);
}

/** Whether this migration wrote what stands under each key: a value with its guard, or the removals of a key. Nothing is nobody's. */
export async function areOurs(connection: RedisConnection, keys: readonly string[]): Promise<boolean[]> {
  const kinds = await typesOf(connection, keys);
  const values = await redis('reading keys', () => Promise.all(keys.map((key) => textOf(connection, key))));
  return keys.map((key, i) =>
    kinds[i] === 'hash' ? keyOfTombstone(key) !== undefined : (values[i] ?? null) === null || isMarked(values[i]!),
  );
}

/** Whether each key holds a string, as all keys of a mapping do, removals, or nothing. */
export async function areStrings(connection: RedisConnection, keys: readonly string[]): Promise<boolean[]> {
  const kinds = await typesOf(connection, keys);
  return kinds.map(
    (kind, i) => kind === 'string' || kind === 'none' || (kind === 'hash' && keyOfTombstone(keys[i]!) !== undefined),
  );
}

const typesOf = (connection: RedisConnection, keys: readonly string[]): Promise<string[]> =>
  redis('reading the types of keys', () => Promise.all(keys.map((key) => connection.type(key))));

/**
 * Removes the keys of a prefix that this migration wrote, and its tombstones. What the application wrote there by itself is not ours to remove; a copy
 * takes such a value over where a document has the key (`areStrings`). Returns how many.
 */
export async function removeKeys(connection: RedisConnection, prefix: string): Promise<number> {
  let removed = 0;
  for await (const keys of scanAll(connection, prefix)) {
    const ours = await areOurs(connection, keys);
    const mine = keys.filter((_, i) => ours[i]);
    const gone = await redis('removing keys', () => Promise.all(mine.map((key) => connection.unlink(key))));
    removed += gone.filter((one) => one === 1).length;
  }
  return removed;
}
