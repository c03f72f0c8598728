// Documents for the laws: of a declaration's fields, with values that its codecs take, values of any BSON type, and fields that nobody declared.
import fc from 'fast-check';
import { planOf, type Field, type Plan } from '../../mappings/language/plan.ts';
import { tablesOf } from '../../mappings/language/forward.ts';
import type { Declaration } from '../../mappings/language/declare.ts';
import { anyValue, documentOf, of, type Field as BsonField, type Value } from '../support/bson-bytes.ts';

const word = fc.oneof(
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
  fc.emailAddress(),
  fc.constantFrom('a', 'b', '新', 'x y', 'NaN', '1', '2026-01-01', 'a\u0000b', '', 'a@b.c', 'A@B.C'),
);
const hex = fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const cents = fc.integer({ min: 0, max: 1e9 });
const millis = fc.integer({ min: 0, max: 4e12 });
const dayText = millis.map((its) => new Date(its).toISOString().slice(0, 10));
const plainJson = fc.oneof(
  word.map(of.text),
  fc.integer().map(of.int),
  fc.array(fc.integer().map(of.int), { maxLength: 3 }).map((items) => of.array(...items)),
  fc.constant(of.object(['a', of.int(1)], ['b', of.object(['c', of.number(1)])])),
);
const number = fc.oneof(
  cents.map((its) => of.number(its / 100)),
  cents.map((its) => of.decimal((its / 100).toFixed(2))),
  fc.integer().map(of.int),
  fc.double().map(of.number),
  cents.map((its) => of.text(String(its / 100))),
);

function good({ column: { codec, facts } }: Field): fc.Arbitrary<Value> {
  if (facts.values) return fc.constantFrom(...(facts.values as string[])).map(of.text);
  const kind = codec.name.replace(/\(.*/, '');
  if (codec.name === 'array(text)')
    return fc.array(word.map(of.text), { maxLength: 3 }).map((items) => of.array(...items));
  switch (kind) {
    case 'text':
      return word.filter((text) => facts.checks.every(({ holds }) => holds(text as never))).map(of.text);
    case 'uuid':
      return fc
        .uuid()
        .chain((text) => fc.constantFrom(of.text(text), of.binary(4, Buffer.from(text.replaceAll('-', ''), 'hex'))));
    case 'int':
      return fc.integer({ min: 0, max: 1000 }).map(of.int);
    case 'bigint':
      return fc.oneof(fc.integer().map(of.int), fc.bigInt({ min: 0n, max: 2n ** 62n }).map(of.long));
    case 'bool':
      return fc.oneof(fc.boolean().map(of.bool), fc.constantFrom(of.text('yes'), of.int(0), of.text('')));
    case 'decimal':
    case 'double':
      return number;
    case 'instant':
      return fc.oneof(
        millis.map((its) => of.date(BigInt(its))),
        millis.map((its) => of.text(new Date(its).toISOString().slice(0, 19))),
        millis.map((its) => of.text(new Date(its).toISOString())),
        millis.map((its) => of.int(Math.floor(its / 4000))),
      );
    case 'day':
      return fc.oneof(
        dayText.map(of.text),
        millis.map((its) => of.date(BigInt(its))),
      );
    case 'json':
      return plainJson;
    case 'bytes':
      return fc.uint8Array({ maxLength: 6 }).map((its) => of.binary(0, Buffer.from(its)));
    default:
      return fc.oneof(hex.map(of.objectId), hex.map(of.text), word.map(of.text));
  }
}

export interface Wild {
  /** Of a hundred declared fields, how many hold anything. */
  readonly share: number;
  readonly faults?: boolean;
  /** Values in the forms that the application writes, most of the time. */
  readonly plain?: true;
}

/** The plain form of a kind. */
function plainly(field: Field): fc.Arbitrary<Value> {
  const { codec, facts } = field.column;
  if (facts.values) return good(field);
  switch (codec.name.replace(/\(.*/, '')) {
    case 'decimal':
    case 'double':
      return fc.oneof(
        { weight: 8, arbitrary: cents.map((its) => of.number((its % 1e6) / 100)) },
        { weight: 1, arbitrary: fc.double({ min: 1e-5, max: 1e5, noNaN: true }).map(of.number) },
      );
    case 'bigint':
      return fc.oneof(fc.integer().map(of.int), fc.bigInt({ min: 2n ** 31n, max: 2n ** 62n }).map(of.long));
    case 'bool':
      return fc.boolean().map(of.bool);
    case 'instant':
      return codec.bson.includes('date')
        ? millis.map((its) => of.date(BigInt(its)))
        : millis.map((its) => of.text(`${new Date(its).toISOString().slice(0, 23)}417+08:00`));
    default:
      return good(field);
  }
}

/** A document or entry: declared fields, nested where their paths are, and others. */
function fieldsOf(plan: Plan, wild: Wild, isRoot: boolean): fc.Arbitrary<BsonField[]> {
  const any = anyValue({ depth: 2, faults: wild.faults ?? false });
  const either = (its: fc.Arbitrary<Value>) =>
    wild.share === 0
      ? its
      : fc.oneof(
          { weight: 100 - wild.share, arbitrary: its },
          { weight: wild.share, arbitrary: fc.oneof(any, fc.constant(of.nothing)) },
        );
  const parts: fc.Arbitrary<readonly (readonly [readonly string[], Value])[]>[] = [];
  for (const field of plan.fields) {
    const needed = field.column.facts.required !== undefined;
    const value = wild.plain
      ? fc.oneof({ weight: 20, arbitrary: plainly(field) }, { weight: 1, arbitrary: good(field) })
      : either(good(field));
    const path = field.places[0]!.length > 1 ? fc.constantFrom(...field.places[0]!) : fc.constant(field.path);
    const one = fc.tuple(path, value).map((its) => [its]);
    parts.push(needed ? one : fc.oneof({ weight: 3, arbitrary: one }, { weight: 1, arbitrary: fc.constant([]) }));
  }
  for (const list of plan.lists) {
    const entry = fieldsOf(list.plan, wild, false).map((fields) => of.object(...fields));
    const value = either(fc.array(entry, { maxLength: 3 }).map((items) => of.array(...items)));
    parts.push(
      fc.oneof(
        { weight: 4, arbitrary: value.map((its) => [[list.path, its] as const]) },
        { weight: 1, arbitrary: fc.constant([]) },
      ),
    );
  }
  const names = [
    'extra',
    'metadata',
    '_causeway',
    'constructor',
    '__proto__',
    'x.y',
    '12',
    'name',
    'shipping_address',
    ...(isRoot ? [] : ['_id']),
  ];
  const other = fc.tuple(fc.constantFrom(...names), any).map(([name, value]) => [[[name], value] as const]);
  const plainValue = fc.oneof(
    word.map(of.text),
    fc.integer().map(of.int),
    fc.double().map(of.number),
    millis.map((its) => of.date(BigInt(its))),
    fc.boolean().map(of.bool),
    fc.constant(of.nothing),
    hex.map(of.objectId),
  );
  const plainOther = fc
    .tuple(fc.constantFrom('extra', '_created_at', 'stock_code', 'X9', '_causeway', '9x'), plainValue)
    .map(([name, value]) => [[[name], value] as const]);
  return fc
    .tuple(fc.tuple(...parts), fc.array(wild.plain ? plainOther : other, { maxLength: 2 }))
    .map(([its, others]) => nested([...its.flat(), ...others.flat()]));
}

/** Paths put together; the first of a name wins. */
function nested(values: readonly (readonly [readonly string[], Value])[]): BsonField[] {
  const result = new Map<string, Value | (readonly [readonly string[], Value])[]>();
  for (const [[first, ...rest], value] of values) {
    const there = result.get(first!);
    if (rest.length === 0) {
      if (there === undefined) result.set(first!, value);
    } else if (there === undefined) result.set(first!, [[rest, value]]);
    else if (Array.isArray(there)) there.push([rest, value]);
  }
  return [...result].map(([name, its]) => [name, Array.isArray(its) ? of.object(...nested(its)) : (its as Value)]);
}

export function documentsFor(declaration: Declaration, wild: Wild): fc.Arbitrary<Buffer> {
  const plan = planOf(tablesOf(declaration)[0]!.columns);
  const own = wild.plain
    ? hex.map(of.objectId)
    : fc.oneof(hex.map(of.objectId), word.map(of.text), fc.integer().map(of.int));
  return fc
    .tuple(own, fieldsOf(plan, wild, true))
    .map(([id, fields]) => documentOf(fields.some(([name]) => name === '_id') ? fields : [['_id', id], ...fields]));
}
