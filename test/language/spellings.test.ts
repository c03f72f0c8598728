// Other spellings of fields within fields, as the engine reads documents.
import { serialize } from 'bson';
import { expect, test } from 'vitest';
import { decode } from '../../core/bson/decode.ts';
import { mapping, table } from '../../mappings/language/declare.ts';
import { toMapping } from '../../mappings/language/engine.ts';
import { group, residual, text } from '../../mappings/language/words.ts';
import { transformDocument } from '../../mappings/transform.ts';

const people = toMapping(
  mapping('people', {
    class: 'static',
    to: table('people', {
      ...group('address', { city: text().from('city', 'town') }),
      name: text().from('name', 'fullName'),
      metadata: residual(),
    }),
  }),
  (name) => name,
);
const read = (document: object) =>
  transformDocument(people, decode(serialize({ _id: 1, ...document })), { zone: 'UTC', providers: [], asOf: 0 });

test('a field is read under any of its names, within another field, too', () => {
  for (const document of [
    { name: 'a', address: { city: 'b' } },
    { fullName: 'a', address: { town: 'b' } },
  ])
    expect(read(document)).toMatchObject({ outcome: { people: [{ name: 'a', city: 'b', metadata: null }] } });
});

test('names that disagree set the document aside, within another field, too', () => {
  for (const document of [{ name: 'a', fullName: 'b' }, { address: { city: 'a', town: 'b' } }])
    expect(read(document)).toMatchObject({ state: 'quarantined', rule: 'aliases_agree' });
});
