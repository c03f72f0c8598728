// What stands outside PostgreSQL, read back in bounded batches: documents of the optimised MongoDB, keys of Redis.
import { serialize } from 'bson';
import { idsKnown } from '../../control/long-keys.ts';
import { idsFrom } from '../../core/identity.ts';
import { parse } from '../../core/json.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { redis, soonGoneMs, timeOf } from '../../stores/redis/connection.ts';
import { guardField } from '../../stores/redis/script.ts';
import type { KeyRow, KeysTarget } from '../../stores/redis/target.ts';
import { textOf } from '../../stores/redis/value.ts';
import type { AbsentKey } from './absent.ts';
import { differencesInBytes, readId } from './bytes.ts';
import { differences } from './differ.ts';
import { documentOf, keysOf, type Expected } from './expected.ts';
import type { Ground } from './read-back.ts';
import type { Verifier } from './verifier.ts';

export interface OutsideFinding {
  readonly finding: 'missing' | 'extra' | 'different';
  readonly differs: readonly string[];
}

export interface OutsideResult {
  readonly findings: ReadonlyMap<string, OutsideFinding>;
  /** Keys that are not there and need not be: Redis may forget what PostgreSQL keeps. */
  readonly absent: readonly AbsentKey[];
}

const documentsAtOnce = 500;
const bytesAtOnce = 8 * 1024 * 1024;
const keysAtOnce = 1000;

/** Images against documents and keys. `absent`: ids that must have no document in the MongoDB targets. */
export async function compareOutside(
  verifier: Verifier,
  ground: Ground,
  images: readonly Expected[],
  averageBytes: number,
  absent: readonly string[] = [],
): Promise<OutsideResult> {
  const findings = new Map<string, OutsideFinding>();
  const absentKeys: AbsentKey[] = [];
  for (const target of ground.mapping.targets) {
    if (target.store === 'mongodb') {
      const most = Math.max(1, Math.min(documentsAtOnce, Math.floor(bytesAtOnce / Math.max(1, averageBytes))));
      for (let i = 0; i < images.length; i += most)
        await compareDocuments(verifier, target as CollectionTarget, images.slice(i, i + most), findings);
      await findUnexpected(verifier, target as CollectionTarget, absent, findings);
    }
    if (target.store === 'redis') {
      const wanted = images.flatMap((image) =>
        keysOf(image.outcome, target as KeysTarget).map((row) => ({ id: image.id, row })),
      );
      for (let i = 0; i < wanted.length; i += keysAtOnce)
        absentKeys.push(
          ...(await compareKeys(verifier, target as KeysTarget, wanted.slice(i, i + keysAtOnce), findings)),
        );
    }
  }
  return { findings, absent: absentKeys };
}

async function compareDocuments(
  { resources }: Verifier,
  target: CollectionTarget,
  images: readonly Expected[],
  findings: Map<string, OutsideFinding>,
): Promise<void> {
  const wanted = images.flatMap(({ id, outcome }) => {
    const document = documentOf(outcome, target.name);
    return document ? [{ id, document }] : [];
  });
  if (wanted.length === 0) return;
  const found = await readBack(resources, target.name, idsFrom(wanted.map(({ id }) => id)));
  for (const { id, document } of wanted) {
    const actual = found.get(id);
    if (!actual) findings.set(id, { finding: 'missing', differs: [target.name] });
    else {
      const differs = differencesInBytes(serialize(document, { ignoreUndefined: true }), actual, target.name);
      if (differs.length > 0) findings.set(id, { finding: 'different', differs });
    }
  }
}

async function readBack(
  resources: Verifier['resources'],
  collection: string,
  ids: readonly unknown[],
): Promise<Map<string, Uint8Array>> {
  const raws = await mongo(`reading back ${collection}`, () =>
    resources.mongodb.db
      .collection(collection)
      .find({ _id: { $in: ids } } as never, { raw: true, readConcern: { level: 'majority' } })
      .toArray(),
  );
  return new Map((raws as unknown as Uint8Array[]).map((raw) => [readId(raw).id, raw]));
}

/** Documents that nothing explains. */
async function findUnexpected(
  { resources }: Verifier,
  target: CollectionTarget,
  ids: readonly string[],
  findings: Map<string, OutsideFinding>,
): Promise<void> {
  if (ids.length === 0) return;
  const unexpected = new Set(ids);
  // What stands under a number equal to one of them is another's.
  for (const id of (await readBack(resources, target.name, await idsKnown(resources.postgres, ids))).keys())
    if (unexpected.has(id)) findings.set(id, { finding: 'extra', differs: [target.name] });
}

interface WantedKey {
  readonly id: string;
  readonly row: KeyRow;
}

/** Returns those that are not there although they would still live. */
async function compareKeys(
  { resources }: Verifier,
  target: KeysTarget,
  wanted: readonly WantedKey[],
  findings: Map<string, OutsideFinding>,
): Promise<AbsentKey[]> {
  const found = await redis('reading back keys', () =>
    Promise.all(
      wanted.map(async ({ row }) => {
        const [value, left] = await Promise.all([
          textOf(resources.redis, target.prefix + row.key),
          resources.redis.pttl(target.prefix + row.key),
        ]);
        return { value, left };
      }),
    ),
  );
  const now = await timeOf(resources.redis);
  const absent: AbsentKey[] = [];
  for (const [i, { id, row }] of wanted.entries()) {
    const { value, left } = found[i]!;
    if (value === null || left === -2) {
      if (row.expiresAt > now + soonGoneMs) absent.push({ id, target, row });
      continue;
    }
    const differs = keyDifferences(target.name, id, row, value, left, now);
    if (differs.length > 0) findings.set(id, { finding: 'different', differs });
  }
  return absent;
}

function keyDifferences(target: string, id: string, row: KeyRow, value: string, left: number, now: number): string[] {
  const differs: string[] = [];
  if (left < 0 || Math.abs(now + left - row.expiresAt) > soonGoneMs) differs.push(`${target}.ttl`);
  const held = parse(value);
  if (!held) return [...differs, target];
  const { [guardField]: guard, ...actual } = held;
  if ((guard as { s?: unknown } | undefined)?.s !== id) differs.push(`${target}.${guardField}`);
  const expected: unknown = JSON.parse(JSON.stringify(row.value));
  return [...differs, ...differences(expected, actual, target)];
}
