// Laws of the way back, for every mapping: an untouched document keeps its bytes, a changed one says the change and keeps the rest.
import { readFileSync } from 'node:fs';
import { deserialize, EJSON, serialize } from 'bson';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sourceId } from '../../core/identity.ts';
import { cellsOf, sameCell } from '../../mappings/back/cells.ts';
import { elementsOf } from '../../mappings/back/elements.ts';
import type { Document, Mapping, Outcome } from '../../mappings/mapping.ts';
import { loadMappings } from '../../mappings/registry.ts';
import { contentOf, putDocument, type Put } from '../../mappings/way-back.ts';
import { generators } from '../../seed/world.ts';
import { Parent, Reference } from '../../stores/postgres/target.ts';
import { contentChanges } from '../support/changes-of-content.ts';

const mappings = await loadMappings();
const settings = { zone: 'Asia/Shanghai', providers: [] };
const decode = (bytes: Uint8Array): Document => deserialize(bytes, { promoteValues: false, promoteLongs: false });
const text = (bytes: Uint8Array) => EJSON.stringify(decode(bytes), { relaxed: false });
const shapes = Object.entries(
  EJSON.deserialize(JSON.parse(readFileSync(new URL('../support/shapes.json', import.meta.url), 'utf8')) as Document, {
    relaxed: false,
  }) as Record<string, Document[]>,
);
const seeded = generators({ documents: 3000, dirty: 0.5, seed: 11 });

/** Every document of the seed, dirty ones too, and every example: those that load, as bytes. */
function documentsOf(mapping: Mapping): Uint8Array[] {
  const made = seeded
    .filter((one) => one.shape.mapping === mapping.collection)
    .flatMap((one) => Array.from({ length: one.plan.count }, (_, i) => one.make(i).document));
  const examples = shapes.filter(([name]) => [mapping.collection, ...mapping.aliases].includes(name));
  return [...examples.flatMap(([, documents]) => documents), ...made]
    .map((document) => serialize(document))
    .filter((bytes) => contentOf(mapping, bytes, settings) !== undefined);
}

/** References as they are read back: the row that the first thing looked for would find. */
function readBack(content: Outcome): Outcome {
  const parent = (value: unknown) => {
    if (!(value instanceof Reference)) return value;
    const [by, key] = value.candidates[0]!;
    return new Parent(value.table, 1n, { [by]: key });
  };
  return Object.fromEntries(
    Object.entries(content).map(([target, rows]) => [
      target,
      rows.map((row) => Object.fromEntries(Object.entries(row).map(([column, value]) => [column, parent(value)]))),
    ]),
  );
}

const put = (mapping: Mapping, bytes: Uint8Array | undefined, content: Outcome, id = idOf(bytes!)): Put =>
  putDocument(mapping, id, bytes, content, settings);
const idOf = (bytes: Uint8Array) => sourceId(decode(bytes)['_id']);

/** Names of cells in which the document's own content is another. */
function differing(mapping: Mapping, bytes: Uint8Array, content: Outcome): string[] {
  const found = contentOf(mapping, bytes, settings);
  if (!found) return ['it does not load'];
  const [a, b] = [cellsOf(mapping, found), cellsOf(mapping, content)];
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => !sameCell(a.get(name), b.get(name)));
}

/** Fields, by first name, that are not byte for byte what and where they were. */
function touched(mapping: Mapping, before: Uint8Array, after: Uint8Array): string[] {
  const first = (name: string) => mapping.otherNames[name] ?? name;
  const [old, now] = [elementsOf(before), elementsOf(after)];
  const same = (name: string) => {
    const [a, b] = [old.filter((one) => one.name === name), now.filter((one) => one.name === name)];
    return (
      a.length === b.length &&
      a.every((one, i) => one.type === b[i]!.type && Buffer.compare(one.value, b[i]!.value) === 0)
    );
  };
  const names = [...new Set([...old, ...now].map((one) => one.name))];
  const kept = old.map((one) => one.name).filter((name) => now.some((one) => one.name === name));
  expect(now.slice(0, kept.length).map((one) => one.name)).toEqual(kept);
  return names.filter((name) => !same(name)).map(first);
}

describe.each([...mappings.values()].map((mapping) => [mapping.collection, mapping] as const))('%s', (_, mapping) => {
  const documents = documentsOf(mapping);
  const contents = new Map(documents.map((bytes) => [bytes, readBack(contentOf(mapping, bytes, settings)!)]));
  const changed = fc.record({
    bytes: fc.constantFrom(...documents),
    changes: fc.array(fc.oneof(...contentChanges[mapping.collection]!), { minLength: 1, maxLength: 3 }),
  });

  test('GetPut: an untouched document is given back, the very bytes', () => {
    expect(documents.length).toBeGreaterThan(50);
    for (const bytes of documents) expect(put(mapping, bytes, contents.get(bytes)!).bytes, text(bytes)).toBe(bytes);
  });

  test('PutGet: a changed document says what the targets hold, and differs only there', () => {
    fc.assert(
      fc.property(changed, ({ bytes, changes }) => {
        const content = changes.reduce((before, change) => change.apply(before), contents.get(bytes)!);
        const result = put(mapping, bytes, content);
        const said = `${changes.map((one) => one.what).join()}: ${text(bytes)} -> ${text(result.bytes)}`;
        expect(result.unsaid, said).toEqual([]);
        expect(differing(mapping, result.bytes, content), said).toEqual([]);
        const allowed = new Set(changes.flatMap((one) => one.shows));
        if (!allowed.has('*'))
          expect(
            touched(mapping, bytes, result.bytes).filter((name) => !allowed.has(name)),
            said,
          ).toEqual([]);
      }),
      { numRuns: 800 },
    );
  });

  test('PutPut: putting the same again changes nothing, and what was there before can be put back', () => {
    fc.assert(
      fc.property(changed, ({ bytes, changes }) => {
        const content = changes.reduce((before, change) => change.apply(before), contents.get(bytes)!);
        const once = put(mapping, bytes, content).bytes;
        expect(put(mapping, once, content).bytes, `${changes.map((one) => one.what).join()}: ${text(once)}`).toBe(once);
        const back = put(mapping, once, contents.get(bytes)!);
        expect(back.unsaid, `${changes.map((one) => one.what).join()}: ${text(bytes)} -> ${text(once)}`).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('without the old document one is made that says the same', () => {
    for (const bytes of documents) {
      const result = put(mapping, undefined, contents.get(bytes)!, idOf(bytes));
      const said = `${text(bytes)} -> ${text(result.bytes)}`;
      expect(result.unsaid, said).toEqual([]);
      expect(differing(mapping, result.bytes, contents.get(bytes)!), said).toEqual([]);
      expect(put(mapping, undefined, contents.get(bytes)!, idOf(bytes)).bytes).toEqual(result.bytes);
    }
  });
});
