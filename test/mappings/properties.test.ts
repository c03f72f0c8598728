// Laws of every mapping, for documents nobody thought of: total, pure, complete, and fit for their columns.
import { Binary, Decimal128, deserialize, Double, EJSON, Int32, Long, ObjectId, serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Document } from '../../mappings/mapping.ts';
import { loadMappings } from '../../mappings/registry.ts';
import { transformDocument } from '../../mappings/transform.ts';
import { generators } from '../../seed/world.ts';
import { encoderOf } from '../../stores/postgres/copy.ts';
import { Reference, type Row, type TableTarget } from '../../stores/postgres/target.ts';

const settings = { zone: 'Asia/Shanghai', providers: [], asOf: Date.UTC(2026, 10, 24) };
const decode = (bytes: Uint8Array): Document => deserialize(bytes, { promoteValues: false, promoteLongs: false });

const scalar = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '',
    '\u0000',
    'a\u0000b',
    'NaN',
    '2025-10-20T14:03:22+08:00',
    'admin',
    '¥1',
    '85%',
    '{"a":1}',
    '600519',
    '🧪',
    'null',
  ),
  fc.constant(null),
  fc.boolean(),
  fc.integer().map((value) => new Int32(value)),
  fc.double().map((value) => new Double(value)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => Long.fromBigInt(value)),
  fc.constantFrom('1.5', 'NaN', 'Infinity', '1E+400', '-0').map((value) => Decimal128.fromString(value)),
  fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => new ObjectId(bytes)),
  fc.date({ noInvalidDate: true, min: new Date('-010000-01-01'), max: new Date('+020000-01-01') }),
  fc.uint8Array({ maxLength: 4 }).map((bytes) => new Binary(bytes)),
);
const key = fc.oneof(
  fc.constantFrom('gpt-4.1', '$note', 'a b', '__proto__', 'constructor', 'metadata', '_causeway', 'key'),
  fc.string({ minLength: 1, maxLength: 6 }).filter((name) => !name.includes('\u0000')),
);
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(key, tie('any'), { maxKeys: 3 }),
  ),
})).any;

describe.each([...(await loadMappings()).values()].map((mapping) => [mapping.collection, mapping] as const))(
  '%s',
  (_, mapping) => {
    const clean = generators({ documents: 1000, dirty: 0, seed: 3 }).filter(
      (one) => one.shape.mapping === mapping.collection,
    );
    const fields = [
      ...Object.keys(mapping.shape.shape),
      ...Object.keys(mapping.otherNames),
      'unknown',
      'metadata',
      '_causeway',
    ].filter((field) => field !== '_id');
    /** A clean document with a few fields replaced by anything. */
    const document = fc
      .record({
        of: fc.constantFrom(...clean),
        index: fc.nat(20),
        changes: fc.dictionary(fc.constantFrom(...fields), value, { maxKeys: 4 }),
      })
      .map(({ of, index, changes }) => serialize({ ...of.make(index % of.plan.count).document, ...changes }));

    test('any document is loaded, quarantined by a named rule, or skipped; twice the same; and left as it was', () => {
      fc.assert(
        fc.property(document, (bytes) => {
          const given = decode(bytes);
          const result = transformDocument(mapping, given, settings);
          if (result.state === 'quarantined') expect(result.rule, result.message).not.toBe('mapping_failed');
          expect(EJSON.stringify(transformDocument(mapping, decode(bytes), settings))).toBe(EJSON.stringify(result));
          expect(Buffer.compare(serialize(given), serialize(decode(bytes)))).toBe(0);
        }),
        { numRuns: 300 },
      );
    });

    test('rows fit their columns', () => {
      fc.assert(
        fc.property(document, (bytes) => {
          const result = transformDocument(mapping, decode(bytes), settings);
          if (result.state !== 'loaded') return;
          for (const target of mapping.targets) {
            for (const row of result.outcome[target.name] ?? []) {
              if (target.store === 'postgres') {
                const resolved = Object.entries(row as Row).map(
                  ([column, its]) => [column, its instanceof Reference ? null : its] as const,
                );
                encoderOf(target as TableTarget)('id', Object.fromEntries(resolved));
              } else if (target.store === 'redis') expect(JSON.stringify(row)).not.toContain('\\u0000');
              else serialize(row as Document, { ignoreUndefined: true });
            }
          }
        }),
        { numRuns: 300 },
      );
    });

    test('no field is dropped: each shows in a row or in what was kept', () => {
      const marked = fc.record({
        of: fc.constantFrom(...clean),
        index: fc.nat(20),
        field: fc.constantFrom('unknown', 'stock_code_x', 'note', '__proto__', 'constructor'),
        within: fc.option(fc.constantFrom(...fields)),
      });
      fc.assert(
        fc.property(marked, ({ of, index, field, within }) => {
          const added = { [field]: { deep: ['mark-7f3a', new Double(2.5)] } };
          const { document } = of.make(index % of.plan.count);
          const given = decode(serialize({ ...document, ...(within === null ? added : { [within]: added }) }));
          const result = transformDocument(mapping, given, settings);
          if (result.state === 'loaded') expect(EJSON.stringify(result.outcome)).toContain('mark-7f3a');
        }),
        { numRuns: 300 },
      );
    });
  },
);
