// Every kind of dirt the seed plants, through the mappings: what tradingagents.md section 6 says of it is what happens.
import { deserialize, serialize } from 'bson';
import { describe, expect, test } from 'vitest';
import type { Document, Mapping } from '../../mappings/mapping.ts';
import { loadMappings } from '../../mappings/registry.ts';
import { transformDocument, withFirstNames } from '../../mappings/transform.ts';
import { generators } from '../../seed/world.ts';
import { encoderOf } from '../../stores/postgres/copy.ts';
import { Reference, type Row, type TableTarget } from '../../stores/postgres/target.ts';

const mappings = await loadMappings();
const settings = { zone: 'Asia/Shanghai', providers: [], asOf: Date.UTC(2026, 10, 24) };
const decoded = (document: Document) => deserialize(serialize(document), { promoteValues: false, promoteLongs: false });
const unique = new Set(['username_unique', 'email_unique', 'session_id_unique', 'key_unique']);

/** Rows must be encodable: that is where a value that does not fit its column shows. */
function encode(mapping: Mapping, outcome: Record<string, readonly unknown[]>): void {
  for (const target of mapping.targets) {
    if (target.store !== 'postgres') continue;
    for (const row of (outcome[target.name] ?? []) as Row[]) {
      const resolved = Object.fromEntries(
        Object.entries(row).map(([column, value]) => [column, value instanceof Reference ? null : value]),
      );
      encoderOf(target as TableTarget)('id', resolved);
    }
  }
}

describe.each(
  generators({ documents: 3000, dirty: 0.5, seed: 11 }).map(
    (generator) => [generator.shape.collection, generator] as const,
  ),
)('%s', (_, generator) => {
  const mapping = mappings.get(generator.shape.mapping)!;
  const made = Array.from({ length: generator.plan.count }, (__, i) => generator.make(i));

  test('clean documents load', () => {
    for (const { document } of made.filter((one) => one.clean)) {
      const result = transformDocument(mapping, decoded(document), settings);
      expect(result, JSON.stringify(document)).toMatchObject({ state: 'loaded' });
      if (result.state === 'loaded') encode(mapping, result.outcome);
    }
  });

  const planted = made.filter((one) => one.planted);
  const variants = [...new Map(planted.map((one) => [`${one.planted!.case} ${one.planted!.variant}`, one])).entries()];
  test.each(variants)('case %s', (__, { document, planted: plan }) => {
    const result = transformDocument(mapping, decoded(document), settings);
    if (plan!.rule !== undefined && unique.has(plan!.rule)) {
      // The engine settles these: the mapping only has to see that the keys are the same.
      const winner = made.find(
        (one) =>
          one.clean &&
          mapping.unique.some(
            (rule) =>
              rule.rule === plan!.rule &&
              rule.key(decoded(one.document)) === rule.key(withFirstNames(mapping, decoded(document))),
          ),
      );
      expect(winner, 'another document with the same key').toBeDefined();
      return;
    }
    expect(result.state).toBe(plan!.expect);
    if (result.state === 'quarantined') expect(result.rule).toBe(plan!.rule);
    if (result.state === 'loaded') {
      expect(result.outcome).toBeDefined();
      encode(mapping, result.outcome);
    }
  });
});
