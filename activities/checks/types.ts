// Data types: the catalogue is what the mapping declares, and no store holds a value that its type should not have.
import { sourceIdOf } from '../../core/identity.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { mongo, unhurried } from '../../stores/mongodb/connection.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { catalogueDifferences, valueViolations } from '../../stores/postgres/conformity.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { redis } from '../../stores/redis/connection.ts';
import { scanKeys } from '../../stores/redis/loader.ts';
import type { KeysTarget } from '../../stores/redis/target.ts';
import { isMarked, textOf } from '../../stores/redis/value.ts';
import { mappingOf, type Resources } from '../resources.ts';
import type { CheckResult, ValidationOrder } from '../validate.ts';
import { sentenceOf, worstOf, type CheckStatus } from './outcome.ts';

interface Part {
  readonly target: string;
  readonly status: CheckStatus;
  readonly differences?: readonly string[];
  readonly violations?: readonly unknown[];
  readonly error?: string;
}

const exampleCount = 10;

export async function checkDataTypes(
  resources: Resources,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<CheckResult> {
  const mapping = mappingOf(resources, order.collection);
  const parts: Part[] = [];
  for (const target of mapping.targets) {
    heartbeat();
    const check = checks[target.store];
    // Configuration files are rendered from a table that is checked.
    if (!check) continue;
    parts.push(
      await check(resources, mapping, target as never, heartbeat).catch((error: unknown) => ({
        target: target.name,
        status: 'error' as const,
        error: sentenceOf(error),
      })),
    );
  }
  return { status: worstOf(parts), details: parts };
}

const checks: Record<
  string,
  (resources: Resources, mapping: Mapping, target: never, heartbeat: () => void) => Promise<Part>
> = {
  async postgres(resources, mapping, target: TableTarget) {
    const differences = await catalogueDifferences(resources.postgres, target);
    // What the catalogue does not have cannot be asked for.
    const asDeclared = differences.length === 0;
    const rules = mapping.values.filter((rule) => rule.table === target.name);
    const violations = asDeclared ? await valueViolations(resources.postgres, target, rules) : [];
    return {
      target: target.name,
      status: asDeclared && violations.length === 0 ? 'passed' : 'failed',
      differences,
      violations,
    };
  },
  async mongodb(resources, _, target: CollectionTarget) {
    const collection = resources.mongodb.db.collection(target.name);
    const misfits = { $nor: [{ $jsonSchema: target.schema }] };
    const rows = await mongo(`checking ${target.name}`, () =>
      collection.countDocuments(misfits as never, { ...unhurried }),
    );
    if (rows === 0) return { target: target.name, status: 'passed', violations: [] };
    const found = await mongo(`checking ${target.name}`, () =>
      collection.find(misfits as never, { projection: { _id: 1 }, limit: exampleCount, raw: true }).toArray(),
    );
    const examples = (found as unknown as Uint8Array[]).map(sourceIdOf);
    return {
      target: target.name,
      status: 'failed',
      violations: [{ what: `${target.name} does not fit its $jsonSchema`, rows, examples }],
    };
  },
  async redis(resources, _, target: KeysTarget, heartbeat) {
    const wrong = { object: 0, expiry: 0 };
    for await (const batch of scanKeys(resources.redis, target.prefix)) {
      heartbeat();
      const values = await redis('reading keys', () =>
        Promise.all(batch.map((key) => Promise.all([textOf(resources.redis, key), resources.redis.pttl(key)]))),
      );
      for (const [value, ttl] of values) {
        // What the application has written there by itself is its own.
        if (value === null || !isMarked(value)) continue;
        if (!isObject(value)) wrong.object++;
        if (ttl === -1) wrong.expiry++;
      }
    }
    const violations = [
      { what: `${target.prefix}* is no JSON object`, rows: wrong.object },
      { what: `${target.prefix}* never expires`, rows: wrong.expiry },
    ].filter((one) => one.rows > 0);
    return { target: target.name, status: violations.length === 0 ? 'passed' : 'failed', violations };
  },
};

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return value !== null && typeof value === 'object' && !Array.isArray(value);
  } catch {
    return false;
  }
}
