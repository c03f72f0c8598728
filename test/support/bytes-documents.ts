// Documents as an application has them, with something in them that drivers never write: at the top, within known and unknown fields, as their `_id`.
import { serialize } from 'bson';
import fc from 'fast-check';
import { bufferOf, elementsIn } from '../../core/bson/reader.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { generators } from '../../seed/world.ts';
import { anyDocument, anyValue, documentOf, of, type Field, type Value } from './bson-bytes.ts';

/** A document for a source collection. `ordinary`: as the seed makes it. */
export interface Given {
  readonly source: string;
  readonly mapping: string;
  readonly bytes: Buffer;
  readonly ordinary: boolean;
}

export const fieldsOf = (bytes: Uint8Array): Field[] => {
  const buffer = bufferOf(bytes);
  return [...elementsIn(buffer)].map(({ type, nameAt, nameEnd, at, end }) => [
    Buffer.from(buffer.subarray(nameAt, nameEnd)),
    { type, bytes: Buffer.from(buffer.subarray(at, end)) },
  ]);
};
const nameOf = ([name]: Field): string => name.toString();
const object = 3;

const value = anyValue({ faults: true });
const hex = fc
  .uint8Array({ minLength: 12, maxLength: 12 })
  .map((bytes) => of.objectId(Buffer.from(bytes).toString('hex')));
/** Numbers that are one to a server and have several forms. */
const number = fc
  .tuple(fc.integer({ min: 0, max: 30 }), fc.nat(3))
  .map(([n, form]) => [of.int(n), of.long(BigInt(n)), of.number(n), of.decimal(`${n}.0`)][form]!);
const long = fc
  .tuple(fc.constantFrom('x', '名', '"', '\u0001'), fc.integer({ min: 300, max: 3000 }), fc.boolean())
  .map(([letter, times, inside]) => {
    const text = of.text(`${times} ${letter.repeat(times)}`);
    return inside ? of.object(['b', text], ['1', of.int(1)]) : text;
  });
const id = fc.oneof(
  { weight: 8, arbitrary: hex },
  { weight: 6, arbitrary: value },
  { weight: 2, arbitrary: number },
  { weight: 1, arbitrary: long },
);

const nested = (depth: number): Value => {
  let inner = of.int(1);
  for (let n = 0; n < depth; n++) inner = n % 3 === 2 ? of.array(inner) : of.object(['d', inner]);
  return inner;
};
const heavy = fc.oneof(
  fc.integer({ min: 20, max: 90 }).map(nested),
  fc
    .tuple(fc.constantFrom('x', '名', '\u0000', '😀'), fc.integer({ min: 5_000, max: 100_000 }))
    .map(([letter, times]) => of.text(letter.repeat(times))),
  fc
    .integer({ min: 50, max: 400 })
    .map((n) => of.object(...Array.from({ length: n }, (_, i) => [`${n - i}`, of.int(i)] as const))),
);

type Edit = (fields: readonly Field[]) => Field[];

/** A field set where it stands; where there is none, somewhere. */
const put =
  (name: string, its: Value, place: number): Edit =>
  (fields) => {
    const at = fields.findIndex((field) => nameOf(field) === name);
    return at < 0 ? fields.toSpliced(place % (fields.length + 1), 0, [name, its]) : fields.with(at, [name, its]);
  };
const within =
  (place: number, edit: Edit): Edit =>
  (fields) => {
    const objects = fields.filter(([name, its]) => its.type === object && name.toString() !== '_id');
    const chosen = objects[place % Math.max(1, objects.length)];
    return chosen
      ? fields.map((field) => (field === chosen ? [field[0], of.object(...edit(fieldsOf(field[1].bytes)))] : field))
      : [...fields];
  };
const strange = fc.constantFrom(
  'note',
  '1',
  '600519',
  'x.y',
  '$where',
  '__proto__',
  'toBSON',
  'metadata',
  '_causeway',
  'residual',
  '名',
  '',
  '\u0007',
);

function edits({ shape, otherNames }: Mapping): fc.Arbitrary<Edit> {
  const known = fc.constantFrom(...Object.keys(shape.shape).filter((name) => name !== '_id'));
  const spelled = fc.constantFrom(...Object.keys(otherNames), 'other');
  const set = (name: fc.Arbitrary<string>, its: fc.Arbitrary<Value>) =>
    fc.tuple(name, its, fc.nat(20)).map((given) => put(...given));
  const any = fc.oneof({ weight: 12, arbitrary: value }, { weight: 1, arbitrary: heavy });
  return fc.oneof(
    { weight: 4, arbitrary: set(strange, any) },
    { weight: 4, arbitrary: set(known, any) },
    { weight: 1, arbitrary: set(spelled, any) },
    { weight: 3, arbitrary: fc.tuple(fc.nat(9), set(fc.oneof(known, strange), any)).map((given) => within(...given)) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.nat(20), fc.nat(20)).map(
        ([from, to]): Edit =>
          (fields) =>
            fields.toSpliced(
              to % (fields.length + 1),
              0,
              ...fields.slice(from % fields.length, (from % fields.length) + 1),
            ),
      ),
    },
    {
      weight: 1,
      arbitrary: known.map(
        (name): Edit =>
          (fields) =>
            fields.filter((field) => nameOf(field) !== name),
      ),
    },
    { weight: 1, arbitrary: fc.constant<Edit>((fields) => fields.toReversed()) },
    {
      weight: 1,
      arbitrary: spelled.map(
        (name): Edit =>
          (fields) =>
            fields.map((field) => (nameOf(field) === otherNames[name] ? [name, field[1]] : field)),
      ),
    },
  );
}

/** Documents of the mappings' source collections: one in five as the seed makes it, the others with some edits, a few of fields of any kind. */
export function someDocuments(mappings: ReadonlyMap<string, Mapping>, seed: number): fc.Arbitrary<Given> {
  const sources = generators({ documents: 4000, dirty: 0.2, seed }).filter(({ plan }) => plan.count > 0);
  const changes = new Map([...mappings].map(([name, mapping]) => [name, edits(mapping)]));
  const ordinary = fc.tuple(fc.constantFrom(...sources), fc.nat(4000)).map(([source, at]): Given => ({
    source: source.shape.collection,
    mapping: source.shape.mapping,
    bytes: Buffer.from(serialize(source.make(at % source.plan.count).document)),
    ordinary: true,
  }));
  const changed = ordinary.chain((base) =>
    fc.tuple(id, fc.array(changes.get(base.mapping)!, { minLength: 1, maxLength: 4 })).map(([key, some]): Given => {
      const [, ...rest] = fieldsOf(base.bytes);
      const fields = some.reduce((before, edit) => edit(before), rest);
      return {
        ...base,
        bytes: documentOf([['_id', key], ...fields.filter((field) => nameOf(field) !== '_id')]),
        ordinary: false,
      };
    }),
  );
  const anything = fc
    .tuple(ordinary, anyDocument({ faults: true }, id))
    .map(([base, bytes]): Given => ({ ...base, bytes, ordinary: false }));
  return fc.oneof(
    { weight: 4, arbitrary: ordinary },
    { weight: 15, arbitrary: changed },
    { weight: 1, arbitrary: anything },
  );
}
