// Two readers of BSON that share no code say the same of every document: the one that loads, and the verifier's.
import { serialize } from 'bson';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { differencesInBytes, readDocument, readId } from '../../activities/verify/bytes.ts';
import { decodeDocument, faultOf } from '../../core/bson/decode.ts';
import { bsonType } from '../../core/bson/reader.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { isShortened } from '../../core/long-keys.ts';
import { toJson } from '../../mappings/fields/json.ts';
import { Notes } from '../../mappings/notes.ts';
import { anyDocument, anyValue, documentOf, of } from '../support/bson-bytes.ts';

const anything = anyDocument({ faults: true }, anyValue({ faults: true }));
const write = (document: Record<string, unknown>) =>
  Buffer.from(serialize({ v: document }, { ignoreUndefined: false }));

test('identity, order, what is to be set aside, and what a mapping makes of it', () => {
  fc.assert(
    fc.property(anything, (bytes) => {
      const [ours, theirs] = [decodeDocument(bytes), readDocument(bytes)];
      expect(theirs.id).toBe(sourceIdOf(bytes));
      expect(readId(bytes)).toEqual({ id: sourceIdOf(bytes), isObjectId: bytes[4] === bsonType.objectId });
      expect(theirs.aside).toBe(faultOf(ours.document) !== undefined);
      if (theirs.aside) return;
      expect(theirs.reordered).toBe(ours.reordered);
      expect(write(theirs.document).equals(write(ours.document))).toBe(true);
      const json = ({ document }: { document: Record<string, unknown> }) => {
        const notes = new Notes();
        return { json: toJson(document, '', notes), residual: notes.residual() };
      };
      expect(json(theirs)).toEqual(json(ours));
    }),
    { numRuns: 3000 },
  );
});

test('names that only look like numbers keep their place, and numbers of arrays do not', () => {
  for (const [name, moves] of [
    ['0.1', false],
    ['1e3', false],
    ['01', false],
    ['4294967295', false],
    ['4294967294', true],
    ['0', true],
  ] as const) {
    const bytes = documentOf([
      ['_id', of.int(1)],
      [name, of.int(2)],
    ]);
    expect([name, decodeDocument(bytes).reordered, readDocument(bytes).reordered]).toEqual([name, moves, moves]);
  }
});

test('a key that is too long for an index goes by the same short name with both, whatever is in it', () => {
  const letters = '名'.repeat(400);
  const ids = [
    of.text('x'.repeat(999)),
    of.text(letters),
    of.symbol(letters),
    of.object(['b', of.text('y'.repeat(1200))], ['1', of.int(2)]),
    of.codeWithScope('', documentOf([['', of.double('010000000000f8ff')]])),
    of.codeWithScope('f'.repeat(700), documentOf([['$x', of.binary(0, Buffer.alloc(500))]])),
    of.binary(2, Buffer.alloc(1000, 7)),
    of.array(of.text('z'.repeat(600)), of.text(Buffer.alloc(600, 0xff))),
  ];
  const names = ids.map((id) => {
    const bytes = documentOf([['_id', id]]);
    const { id: name } = readDocument(bytes);
    expect(name).toBe(sourceIdOf(bytes));
    expect(readId(bytes).id).toBe(name);
    return name;
  });
  expect(names.filter(isShortened)).toHaveLength(ids.length - 1);
});

test('a document is different from another in the fields whose bytes are others, whatever a decoder makes of them', () => {
  const base = documentOf([
    ['_id', of.int(1)],
    ['a', of.object(['b', of.date(9_000_000_000_000_000n)], ['1', of.array(of.int(1), of.text('x'))])],
  ]);
  const other = (inner: ReturnType<typeof of.object>) =>
    documentOf([
      ['_id', of.int(1)],
      ['a', inner],
    ]);
  const b = of.date(9_000_000_000_000_001n);
  const list = of.array(of.int(1), of.text('x'));
  expect(differencesInBytes(base, base, 'd')).toEqual([]);
  expect(differencesInBytes(base, other(of.object(['1', list], ['b', of.date(9_000_000_000_000_000n)])), 'd')).toEqual(
    [],
  );
  expect(differencesInBytes(base, other(of.object(['b', b], ['1', list])), 'd')).toEqual(['d.a.b']);
  expect(
    differencesInBytes(base, other(of.object(['b', of.date(9_000_000_000_000_000n)], ['b', b], ['1', list])), 'd'),
  ).toEqual(['d.a.b']);
  expect(
    differencesInBytes(base, other(of.object(['b', of.date(9_000_000_000_000_000n)], ['1', of.array(of.int(2))])), 'd'),
  ).toEqual(['d.a.1.length', 'd.a.1.0']);
  expect(differencesInBytes(base, other(of.object(['1', list])), 'd')).toEqual(['d.a.b']);
});
