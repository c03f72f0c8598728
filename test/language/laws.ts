// The laws of the language, as tests of one declaration: totality, bytes, there and back, purity.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decode, faultOf } from '../../core/bson/decode.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { bsonType, elementsIn, type Extent } from '../../core/bson/reader.ts';
import { shownOf } from '../../core/bson/shown.ts';
import type { Settings } from '../../mappings/language/codec.ts';
import type { Declaration } from '../../mappings/language/declare.ts';
import { forward, spellingsOf, tablesOf, type Content } from '../../mappings/language/forward.ts';
import { planOf, type Plan } from '../../mappings/language/plan.ts';
import { put } from '../../mappings/language/put.ts';
import type { AnyRow } from '../../mappings/language/read.ts';
import { differing } from '../../mappings/language/row-equal.ts';
import { Parent, Reference } from '../../stores/postgres/target.ts';

/** `CAUSEWAY_LAW_RUNS=10000` for a long run. */
const runs = Number(process.env['CAUSEWAY_LAW_RUNS'] ?? 80);

/** Values as the table gives them back: a reference as the row it found, a jsonb as its own parsing, numbers with the digits of their scale. */
export function readBack(plan: Plan, row: AnyRow): AnyRow {
  const result: AnyRow = { ...row };
  for (const { name, column } of plan.fields) {
    const value = row[name];
    if (value instanceof Reference)
      result[name] = new Parent(value.table, 1n, Object.fromEntries(value.candidates.slice(0, 1)));
    const scale = /^numeric\(\d+,(\d+)\)$/.exec(column.type)?.[1];
    if (scale !== undefined && typeof value === 'string') {
      const [whole, fraction = ''] = value.split('.');
      result[name] = `${whole}.${fraction.padEnd(Number(scale), '0')}`;
    }
  }
  for (const { name, plan: inner } of plan.lists)
    result[name] = (row[name] as readonly AnyRow[]).map((one) => readBack(inner, one));
  if (plan.residual) result[plan.residual.name] = JSON.parse(JSON.stringify(row[plan.residual.name])) as unknown;
  return result;
}

export const contentOf = (declaration: Declaration, bytes: Uint8Array, settings: Settings): Content | undefined => {
  const result = forward(declaration, bytes, settings);
  return result.state === 'loaded' ? result.content : undefined;
};
export const backOf = (declaration: Declaration, { rows, documents }: Content): Content => ({
  rows: Object.fromEntries(
    tablesOf(declaration).map(({ name, columns }) => [name, readBack(planOf(columns), rows[name]!)]),
  ),
  documents,
});
const wrong = (declaration: Declaration, bytes: Uint8Array, { rows }: Content, settings: Settings): string[] => {
  const content = contentOf(declaration, bytes, settings);
  if (!content) return ['it does not load'];
  return tablesOf(declaration).flatMap(({ name, columns }) =>
    differing(planOf(columns), content.rows[name]!, rows[name]!).map((one) => `${name}.${one}`),
  );
};

const isFaulty = (bytes: Buffer): boolean => {
  try {
    return faultOf(decode(bytes)) !== undefined;
  } catch {
    return true;
  }
};

/**
 * Paths of fields that are not in the other document with their name and bytes, in whatever order. It may have more: a document made anew says what
 * reading would assume. Fields of aliases are there under their first name.
 */
export function missing(bytes: Buffer, other: Buffer, first: (name: string) => string, path = ''): string[] {
  const [own, theirs] = [[...elementsIn(bytes)], [...elementsIn(other)]];
  const free = new Set(theirs);
  const holds = (a: Extent, b: Extent): boolean => {
    if (a.type !== b.type) return false;
    const [mine, its] = [bytes.subarray(a.at, a.end), other.subarray(b.at, b.end)];
    if (mine.equals(its)) return true;
    const isContainer = a.type === bsonType.object || a.type === bsonType.array;
    // Where the bytes are at fault, they are the same or they are not.
    if (isFaulty(mine) || isFaulty(its)) return false;
    const sameSize = a.type === bsonType.object || [...elementsIn(mine)].length === [...elementsIn(its)].length;
    return isContainer && sameSize && missing(mine, its, first, '.').length === 0;
  };
  const isTwin = (a: Extent, b: Extent): boolean =>
    a.type === b.type && bytes.subarray(a.at, a.end).equals(bytes.subarray(b.at, b.end));
  const nameIn = (document: Buffer, { nameAt, nameEnd }: Extent) => document.toString('latin1', nameAt, nameEnd);
  const inSpread =
    path === '' ? theirs.filter((one) => nameIn(other, one) === 'metadata' && one.type === bsonType.object) : [];
  const inside = inSpread.flatMap(({ at }) => [...elementsIn(other, at)]);
  const take = (field: Extent, matches: (one: Extent) => boolean): boolean => {
    const found = [...free].find((one) => matches(one) && holds(field, one));
    return found !== undefined && free.delete(found);
  };
  const left = own.filter((field) => !take(field, (one) => nameIn(other, one) === nameIn(bytes, field)));
  for (const one of inside) free.add(one);
  return left.flatMap((field) => {
    const name = nameIn(bytes, field);
    if (path !== '') return [name];
    // Under the first of its names, in the field whose fields stand with the document's own, or out of it.
    const isSpelling = (document: Buffer, one: Extent) => first(nameIn(document, one)) === first(name);
    if (take(field, (one) => isSpelling(other, one))) return [];
    // Two spellings that say the same are one field.
    if (own.some((one) => one !== field && isSpelling(bytes, one) && isTwin(one, field))) return [];
    const spread = name === 'metadata' && field.type === bsonType.object ? [...elementsIn(bytes, field.at)] : undefined;
    return spread?.every((one) => take(one, (its) => nameIn(other, its) === nameIn(bytes, one))) ? [] : [name];
  });
}

export interface Law {
  /** Documents of every kind. */
  readonly any: fc.Arbitrary<Buffer>;
  /** Such as the application writes. */
  readonly tame: fc.Arbitrary<Buffer>;
  readonly settings: Settings;
}

export function testLaws(declaration: Declaration, { any, tame, settings }: Law): void {
  test('1 and 5: any bytes are loaded or set aside by a rule that has a name; twice the same; and nothing is written into them', () => {
    let met = 0;
    fc.assert(
      fc.property(any, (bytes) => {
        const before = Buffer.from(bytes);
        const result = forward(declaration, bytes, settings);
        if (result.state === 'quarantined')
          expect(result.rule, JSON.stringify(shownOf(bytes))).not.toBe('mapping_failed');
        if (result.state === 'loaded') met++;
        expect(forward(declaration, bytes, settings)).toEqual(result);
        expect(before.equals(bytes)).toBe(true);
      }),
      { numRuns: runs },
    );
    expect(met).toBeGreaterThan(runs / 20);
  });

  test('3, GetPut: an untouched document is given back, the very bytes', () => {
    fc.assert(
      fc.property(any, (bytes) => {
        const content = contentOf(declaration, bytes, settings);
        if (!content) return;
        const result = put(declaration, {
          sourceId: sourceIdOf(bytes),
          old: bytes,
          wanted: backOf(declaration, content),
          settings,
        });
        expect(result.unrepresentable).toEqual([]);
        expect(result.bytes).toBe(bytes);
      }),
      { numRuns: runs },
    );
  });

  test('3, PutGet and PutPut: a document that takes over another one’s content says it, or tells what it does not say', () => {
    fc.assert(
      fc.property(any, tame, (old, other) => {
        const [content, wanted] = [contentOf(declaration, old, settings), contentOf(declaration, other, settings)];
        if (!content || !wanted) return;
        const target = backOf(declaration, wanted);
        const once = put(declaration, { sourceId: sourceIdOf(old), old, wanted: target, settings });
        if (once.refused) return expect(once.bytes).toBe(old);
        const left = wrong(declaration, once.bytes, target, settings);
        expect(
          left.filter((name) => !once.unrepresentable.some((one) => one === name || one.startsWith(`${name}.`))),
        ).toEqual([]);
        const twice = put(declaration, { sourceId: sourceIdOf(old), old: once.bytes, wanted: target, settings });
        expect(shownOf(twice.bytes)).toEqual(shownOf(once.bytes));
      }),
      { numRuns: runs },
    );
  });

  test('1 and 2: rows and what was kept give back every field, in its bytes', () => {
    // A place that its codec accounts for is one more spelling; any other field that a column may be read from is a field of its own.
    const owned = tablesOf(declaration)
      .flatMap(({ columns }) => planOf(columns).fields)
      .flatMap(({ column, path, places }) =>
        places
          .flat()
          .filter(([name]) => name !== path[0] && column.facts.owns.some(({ field }) => field === name))
          .map((other) => [other, path] as const),
      );
    const first = new Map([...owned, ...spellingsOf(declaration)].map(([other, name]) => [other[0]!, name[0]!]));
    const firstOf = (name: string): string => (first.has(name) ? firstOf(first.get(name)!) : name);
    fc.assert(
      fc.property(any, (bytes) => {
        const content = contentOf(declaration, bytes, settings);
        if (!content) return;
        const wanted = backOf(declaration, content);
        const { bytes: made, refused } = put(declaration, {
          sourceId: sourceIdOf(bytes),
          old: undefined,
          wanted,
          settings,
        });
        expect(refused).toBeUndefined();
        expect(wrong(declaration, made, wanted, settings)).toEqual([]);
        expect(missing(bytes, Buffer.from(made), firstOf)).toEqual([]);
      }),
      { numRuns: runs },
    );
  });
}
