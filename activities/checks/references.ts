// Referential integrity: every reference has both its ends, and the constraint that keeps it so stands.
import { query } from '../../stores/postgres/connection.ts';
import { checkReference, referencesOf } from '../../stores/postgres/conformity.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { scanKeys } from '../../stores/redis/loader.ts';
import { redis } from '../../stores/redis/connection.ts';
import { guardField } from '../../stores/redis/script.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import { textOf } from '../../stores/redis/value.ts';
import { mappingOf, type Resources } from '../resources.ts';
import { untilSettled } from '../settled.ts';
import type { CheckResult, ValidationOrder } from '../validate.ts';
import { sentenceOf, worstOf } from './outcome.ts';
import { countViolations } from './rules.ts';

export async function checkReferences(
  resources: Resources,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<CheckResult> {
  const mapping = mappingOf(resources, order.collection);
  const tables = mapping.targets.filter((target): target is TableTarget => target.store === 'postgres');
  const parts: { status: 'passed' | 'failed' | 'error' | 'skipped' }[] = [];
  for (const target of tables)
    for (const reference of referencesOf(target)) {
      heartbeat();
      const place = `${reference.table}.${reference.column} -> ${reference.parent}`;
      parts.push(
        await checkReference(resources.postgres, target, reference).then(
          ({ constraint, dangling, examples }) =>
            constraint === undefined
              ? {
                  reference: place,
                  status: 'skipped' as const,
                  reason: `${reference.parent} is no part of this migration`,
                }
              : {
                  reference: place,
                  status: dangling === 0 && constraint === 'valid' ? ('passed' as const) : ('failed' as const),
                  dangling,
                  examples,
                  constraint,
                },
          (error: unknown) => ({ reference: place, status: 'error' as const, error: sentenceOf(error) }),
        ),
      );
    }
  for (const target of mapping.targets.filter((one): one is KeysTarget => one.store === 'redis'))
    parts.push(
      await keysWithoutRow(resources, target, heartbeat).catch((error: unknown) => ({
        reference: `${target.prefix}* -> ${target.durable}`,
        status: 'error' as const,
        error: sentenceOf(error),
      })),
    );
  for (const rule of mapping.references) parts.push(await countViolations(resources, rule));
  if (parts.length === 0) return { status: 'skipped', reason: `the mapping ${order.collection} declares no reference` };
  const status = worstOf(parts);
  if (status !== 'skipped') return { status, details: parts };
  return { status, reason: 'nothing that the mapping refers to is part of this migration', details: parts };
}

/** Every key has its durable row: of what only Redis had, nothing would be left after an eviction. */
async function keysWithoutRow(resources: Resources, target: KeysTarget, heartbeat: () => void) {
  const alone = async (keys: readonly string[]): Promise<string[]> => {
    const values = await redis('reading keys', () => Promise.all(keys.map((key) => textOf(resources.redis, key))));
    // What the application has written by itself says of no document whose it is, and needs no row of ours.
    const owners = keys.flatMap((key, i) => {
      const owner = ownerOf(values[i] ?? '');
      return owner === undefined ? [] : [[key, owner] as const];
    });
    const rows = await query<{ source_id: string }>(
      resources.postgres,
      `looking up ${target.durable}`,
      `select source_id from "${target.durable}" where source_id = any($1)`,
      [owners.map(([, owner]) => owner)],
    );
    const there = new Set(rows.map((row) => row.source_id));
    return owners.filter(([, owner]) => !there.has(owner)).map(([key]) => key);
  };
  const found: string[] = [];
  let keys = 0;
  for await (const batch of scanKeys(resources.redis, target.prefix)) {
    heartbeat();
    keys += batch.length;
    if (found.length < 1000) found.push(...(await alone(batch)));
  }
  const left = await untilSettled(resources, found, alone, heartbeat, 1000);
  return {
    reference: `${target.prefix}* -> ${target.durable}`,
    status: left.length === 0 ? ('passed' as const) : ('failed' as const),
    keys,
    dangling: left.length,
  };
}

/** The document that a key's value is of; undefined where it was written by somebody else. */
export function ownerOf(value: string): string | undefined {
  try {
    const parsed = JSON.parse(value) as Record<string, { s?: unknown } | undefined> | null;
    const owner = parsed?.[guardField]?.s;
    return typeof owner === 'string' ? owner : undefined;
  } catch {
    return undefined;
  }
}
