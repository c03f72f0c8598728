// The mappings of TradingAgents-CN in the language, beside those of today: the same rows, verdicts and way back, dirty kinds included.
import { EJSON, serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode } from '../../core/bson/decode.ts';
import { shownOf } from '../../core/bson/shown.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { problemsOf as problemsOfMapping } from '../../mappings/check.ts';
import { cellsOf, sameCell } from '../../mappings/back/cells.ts';
import { checked } from '../../mappings/language/application.ts';
import { toMapping } from '../../mappings/language/engine.ts';
import { tablesOf } from '../../mappings/language/forward.ts';
import { contentFrom } from '../../mappings/language/nested.ts';
import { put } from '../../mappings/language/put.ts';
import { application } from '../../mappings/tradingagents-cn/index.ts';
import type { Mapping, Outcome } from '../../mappings/mapping.ts';
import { loadMappings } from '../../mappings/registry.ts';
import { transformDocument, withFirstNames } from '../../mappings/transform.ts';
import { contentOf, putDocument } from '../../mappings/way-back.ts';
import { generators } from '../../seed/world.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { contentChanges } from '../support/changes-of-content.ts';
import { documentsFor } from './generated.ts';

const runs = Number(process.env['CAUSEWAY_LAW_RUNS'] ?? 100);
const today = await loadMappings();
const settings = { zone: 'Asia/Shanghai', providers: [], asOf: Date.UTC(2026, 10, 24) };
const names: Readonly<Record<string, string>> = { subscription_users: 'users' };
const tableOf = (name: string) => names[name] ?? name;
const seeded = generators({ documents: 3000, dirty: 0.5, seed: 11 });

type Json = null | string | number | boolean | Json[] | { [key: string]: Json };
/** What is kept beyond what the mapping of today keeps is no difference: more of the bytes come back. */
function withoutMore(own: Json, other: Json): Json {
  if (Array.isArray(own))
    return own.map((one, i) => withoutMore(one, Array.isArray(other) ? (other[i] ?? null) : null));
  if (own === null || typeof own !== 'object') return own;
  const its = other !== null && typeof other === 'object' && !Array.isArray(other) ? other : {};
  return Object.fromEntries(
    Object.entries(own).flatMap(([key, value]): [string, Json][] => {
      if (key === '_causeway' && value !== null && typeof value === 'object' && !Array.isArray(value)) {
        const kept =
          its[key] !== null && typeof its[key] === 'object'
            ? ((its[key] as { original?: { [key: string]: Json } }).original ?? {})
            : {};
        const inBytes = (one: Json) => one !== null && typeof one === 'object' && '$bson' in one;
        const original = Object.fromEntries(
          Object.entries((value['original'] ?? {}) as { [key: string]: Json }).flatMap(
            ([quoted, one]): [string, Json][] => {
              const path = quoted.replace('["__proto__"]', '__proto__');
              return Object.hasOwn(kept, path) ? [[path, inBytes(one) ? kept[path]! : one]] : [];
            },
          ),
        );
        if (Array.isArray(value['warnings'])) value['warnings'].sort();
        const rest = { ...value, ...(value['original'] !== undefined && { original }) };
        if (Object.keys(original).length === 0) delete (rest as { original?: Json }).original;
        return Object.keys(rest).length === 0 ? [] : [[key, rest]];
      }
      return [[key, withoutMore(value, its[key] ?? null)]];
    }),
  );
}
const plainly = (value: unknown): Json =>
  JSON.parse(JSON.stringify(value, (_, its: unknown) => (typeof its === 'bigint' ? Number(its) : its))) as Json;
/** Rows without those columns in which nothing stands: an empty residual is none. */
const sorted = (its: unknown): unknown => {
  if (Array.isArray(its)) return its.map(sorted);
  if (its === null || typeof its !== 'object') return its;
  return Object.fromEntries(
    Object.entries(its)
      .filter(([, one]) => !(Array.isArray(one) && one.length === 0))
      .map(([key, one]) => [key, key === 'warnings' ? [...(one as string[])].sort() : sorted(one)]),
  );
};
const rowsOf = (outcome: Outcome): Json =>
  JSON.parse(
    JSON.stringify(sorted(plainly(outcome)))
      .replaceAll('_not_integer"', '_unreadable"')
      .replaceAll(/"metadata":\{\}/g, '"metadata":null'),
  ) as Json;

function same(mapping: Mapping, old: Mapping, bytes: Uint8Array, byRule = true): void {
  const [own, its] = [
    transformDocument(mapping, decode(bytes), settings),
    transformDocument(old, decode(bytes), settings),
  ];
  const shown = () => `${JSON.stringify(shownOf(bytes))}\n${JSON.stringify(plainly(own))}`;
  if (own.state !== 'loaded' || its.state !== 'loaded') {
    const verdict = (one: typeof own) =>
      one.state === 'loaded' ? 'loaded' : byRule ? [one.state, one.rule] : one.state;
    expect(verdict(own), shown()).toEqual(verdict(its));
    return;
  }
  // An object or a list where text is meant: the mapping of today makes `[object Object]` or `1,2` of it; in the language it is nothing, and kept.
  if (
    !byRule &&
    own.warnings.some((one) => one.endsWith('_unreadable')) &&
    its.warnings.some((one) => one.endsWith('_not_text'))
  )
    return;
  const expected = rowsOf(its.outcome);
  expect(rowsOf(withoutMore(plainly(own.outcome), expected) as unknown as Outcome), shown()).toEqual(expected);
  expect([...own.warnings].sort(), shown()).toEqual(
    its.warnings.map((one) => one.replace(/_not_integer$/, '_unreadable')).sort(),
  );
}

test('the application is whole, and comes in the order of loading', () => {
  const sorted = checked(application.map((declaration) => ({ from: declaration.collection, declaration })));
  expect(sorted.length).toBe(application.length);
});

describe.each(application.map((declaration) => [declaration.collection, declaration] as const))(
  '%s',
  (name, declaration) => {
    const [mapping, old] = [toMapping(declaration, tableOf), today.get(name)!];
    const made = seeded
      .filter((one) => one.shape.mapping === name)
      .flatMap((one) => Array.from({ length: one.plan.count }, (_, i) => one.make(i).document));
    const documents = made.map((document) => serialize(document));

    test('is whole; its tables have the columns of today', () => {
      expect(problemsOfMapping(mapping)).toEqual([]);
      const columns = (its: Mapping) =>
        Object.fromEntries(
          its.targets
            .filter((one) => one.store === 'postgres')
            .map((one) => [
              one.name,
              Object.fromEntries(
                Object.entries((one as TableTarget).columns).map(([column, { type, notNull }]) => [
                  column,
                  `${type}${notNull ? ' not null' : ''}`,
                ]),
              ),
            ]),
        );
      expect(columns(mapping)).toEqual(columns(old));
      expect(mapping.otherNames).toEqual(old.otherNames);
    });

    test('the same rows and verdicts for every document of the seed', () => {
      expect(documents.length).toBeGreaterThan(50);
      for (const bytes of documents) same(mapping, old, bytes);
    });

    test('rivals are the same', () => {
      for (const bytes of documents) {
        if (transformDocument(old, decode(bytes), settings).state !== 'loaded') continue;
        const document = withFirstNames(old, decode(bytes));
        expect(mapping.unique.map((one) => one.key(document))).toEqual(old.unique.map((one) => one.key(document)));
      }
    });

    test.runIf(tablesOf(declaration).length > 0)('the same rows and verdicts for documents nobody thought of', () => {
      fc.assert(
        fc.property(documentsFor(declaration, { share: 10 }), (bytes) => same(mapping, old, bytes, false)),
        { numRuns: runs },
      );
    });

    test('the same way back', () => {
      const loaded = documents.filter((bytes) => contentOf(old, bytes, settings) !== undefined);
      const other: string[] = [];
      let met = 0;
      fc.assert(
        fc.property(fc.constantFrom(...loaded), fc.oneof(...contentChanges[name]!), (bytes, change) => {
          const content = change.apply(contentOf(old, bytes, settings)!);
          const its = putDocument(old, sourceIdOf(bytes), bytes, content, settings);
          const own = put(declaration, {
            sourceId: sourceIdOf(bytes),
            old: bytes,
            wanted: contentFrom(declaration, content),
            settings,
          });
          met++;
          // What is written says the same, as the mapping of today reads it; the bytes are the same as a rule.
          if (its.refused || own.refused)
            return expect(Boolean(own.refused) || own.unrepresentable.length > 0, change.what).toBe(true);
          const read = (result: Uint8Array) => cellsOf(old, contentOf(old, result, settings) ?? {});
          const [a, b] = [read(own.bytes), read(its.bytes)];
          const differing = [...new Set([...a.keys(), ...b.keys()])].filter(
            (one) =>
              !sameCell(a.get(one), b.get(one)) &&
              ![...own.unrepresentable, ...its.unsaid].some((told) => one.startsWith(told)),
          );
          expect(differing, `${change.what} ${EJSON.stringify(shownOf(bytes))}`).toEqual([]);
          if (JSON.stringify(shownOf(own.bytes)) !== JSON.stringify(shownOf(its.bytes))) other.push(change.what);
        }),
        { numRuns: runs },
      );
      expect(met).toBe(runs);
      expect(other.length / met, [...new Set(other)].join(', ')).toBeLessThan(0.05);
    });
  },
);
