// JSON of the target back into BSON: what the JSON says already keeps its bytes, types and order; what it says anew gets the type of what it replaces.
import { Decimal128, Double, Int32, Long } from 'bson';
import { decodeValue } from '../../core/bson/decode.ts';
import { valueOfText } from '../../core/bson/parse.ts';
import { bsonType } from '../../core/bson/reader.ts';
import { toJson } from '../fields/json.ts';
import { keptJson, Notes } from '../notes.ts';
import { containerOf, elementOf, elementsOf, field, isArray, isObject, valueOf, type Element } from './elements.ts';

/** Values kept under `_causeway.original`, by path. */
export type Originals = Readonly<Record<string, unknown>>;

/** The same text for the same JSON, whatever the order of its keys. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value ?? null);
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${entries
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`)
    .sort()
    .join(',')}}`;
}

const jsonOf = (value: unknown): unknown => toJson(value, '', new Notes());
const says = (element: Element, json: unknown): boolean =>
  canonicalJson(jsonOf(valueOf(element))) === canonicalJson(json);

/** The field that says `json`, made of `old` as far as that says the same. `originals` by path from `path` on, for what `old` does not hold. */
export function fromJson(
  name: string,
  json: unknown,
  old: Element | undefined,
  path: string,
  originals: Originals = {},
): Element {
  if (old && says(old, json)) return old;
  const kept = Object.hasOwn(originals, path) ? elementOf(name, fromKept(originals[path])) : undefined;
  if (kept && says(kept, json)) return kept;
  if (Array.isArray(json)) return containerOf(name, 4, listOf(json, old, path, originals));
  if (json !== null && typeof json === 'object') {
    const scalar = scalarOf(json);
    if (scalar !== undefined) return elementOf(name, scalar);
    return containerOf(name, 3, fieldsOf(json as Record<string, unknown>, old, path, originals));
  }
  return elementOf(name, typeof json === 'number' ? numberOf(json, old && valueOf(old)) : json);
}

/** What `Notes.keep` wrote, as the BSON value it was. */
export function fromKept(kept: unknown): unknown {
  const { type, bytes } = valueOfText(JSON.stringify(keptJson(kept)))!;
  return decodeValue(type, bytes);
}

function fieldsOf(
  json: Record<string, unknown>,
  old: Element | undefined,
  path: string,
  originals: Originals,
): Element[] {
  const had = old && isObject(old) ? elementsOf(old.value) : [];
  const wanted = new Map(Object.entries(json).filter(([, value]) => value !== undefined));
  const result: Element[] = [];
  for (const element of had) {
    const key = element.name.replaceAll('\u0000', '');
    if (wanted.has(key) && field(had, element.name) === element)
      result.push(fromJson(element.name, wanted.get(key), element, `${path}.${element.name}`, originals));
    wanted.delete(key);
  }
  for (const [key, value] of wanted) result.push(fromJson(key, value, undefined, `${path}.${key}`, originals));
  return result;
}

/** Entries that stayed, from both ends, are taken as they are; those between go by their place. */
function listOf(json: readonly unknown[], old: Element | undefined, path: string, originals: Originals): Element[] {
  const had = old && isArray(old) ? elementsOf(old.value) : [];
  let head = 0;
  while (head < had.length && head < json.length && says(had[head]!, json[head])) head++;
  let tail = 0;
  const left = Math.min(had.length, json.length) - head;
  while (tail < left && says(had[had.length - 1 - tail]!, json[json.length - 1 - tail])) tail++;
  return json.map((value, i) => {
    if (i >= json.length - tail) return had[had.length - (json.length - i)]!;
    const from = i < had.length - tail ? had[i] : undefined;
    return fromJson(String(i), value, from, `${path}.${i}`, originals);
  });
}

/** A canonical Extended JSON object as the value it stands for, if the way there leads back to the same JSON. */
function scalarOf(json: object): unknown {
  const [key] = Object.keys(json);
  if (!key?.startsWith('$')) return undefined;
  const found = valueOfText(JSON.stringify(json));
  if (!found || found.type === bsonType.object) return undefined;
  const value = decodeValue(found.type, found.bytes);
  return canonicalJson(jsonOf(value)) === canonicalJson(json) ? value : undefined;
}

/** A number of the type it had, where that gives the same JSON; else Int32 or Double. */
function numberOf(number: number, old: unknown): unknown {
  const small = Number.isInteger(number) && number >= -2147483648 && number <= 2147483647;
  if (old instanceof Double) return new Double(number);
  return small ? new Int32(number) : new Double(number);
}

const tokens = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** JSON text from PostgreSQL. A number that no double holds stands as Extended JSON of a Long or Decimal128, so that its digits stay. */
export function parseJson(text: string): unknown {
  return JSON.parse(
    text.replace(tokens, (token) => {
      if (token.startsWith('"') || token.length < 16) return token;
      if (canonicalDecimal(token) === canonicalDecimal(String(Number(token)))) return token;
      if (/^-?\d+$/.test(token) && BigInt.asIntN(64, BigInt(token)) === BigInt(token))
        return `{"$numberLong":"${Long.fromString(token).toString()}"}`;
      return `{"$numberDecimal":"${Decimal128.fromStringWithRounding(token).toString()}"}`;
    }),
  ) as unknown;
}

/** The same text for the same decimal number, whatever its zeros and exponent. */
export function canonicalDecimal(text: string): string {
  const found = /^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(text);
  if (!found) return text;
  const [, sign, whole = '', fraction = '', exponent = '0'] = found;
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const short = digits.replace(/0+$/, '');
  if (short === '') return '0';
  return `${sign === '-' ? '-' : ''}${short}e${Number(exponent) - fraction.length + digits.length - short.length}`;
}
