// BSON values of an optimised document: compared by what they say, and written back over what they replace.
import { Decimal128, Double, EJSON, Int32, Long } from 'bson';
import { isBsonScalar } from '../fields/json.ts';
import { containerOf, elementOf, elementsOf, field, isArray, isObject, valueOf, type Element } from './elements.ts';
import { canonicalDecimal } from './json.ts';

const isNumber = (value: unknown): boolean =>
  typeof value === 'number' ||
  value instanceof Int32 ||
  value instanceof Double ||
  value instanceof Long ||
  value instanceof Decimal128;

/** The decimal text of any number. */
export const numberText = (value: unknown): string | undefined => (isNumber(value) ? String(value) : undefined);

/** The same text for values that say the same: numbers of any type by their value, fields in any order. */
export function canonicalBson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalBson).join(',')}]`;
  if (value === undefined || value === null) return 'null';
  const number = numberText(value);
  if (number !== undefined) return `n${canonicalDecimal(number)}`;
  if (value instanceof Date) return `d${value.getTime()}`;
  if (typeof value !== 'object') return JSON.stringify(value);
  if (isBsonScalar(value)) return `s${EJSON.stringify({ value }, { relaxed: false })}`;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${entries
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalBson(inner)}`)
    .sort()
    .join(',')}}`;
}

/** The field holding `value`; what `old` says already keeps its bytes. */
export function fromBson(name: string, value: unknown, old: Element | undefined): Element {
  if (old && canonicalBson(valueOf(old)) === canonicalBson(value)) return old;
  if (Array.isArray(value) && old && isArray(old)) {
    const had = elementsOf(old.value);
    return containerOf(
      name,
      old.type,
      value.map((inner, i) => fromBson(String(i), inner, had[i])),
    );
  }
  if (old && isObject(old) && isFields(value)) {
    const had = elementsOf(old.value);
    const wanted = new Map(Object.entries(value).filter(([, inner]) => inner !== undefined));
    const kept = had.filter((element) => wanted.has(element.name) && field(had, element.name) === element);
    const result = kept.map((element) => fromBson(element.name, wanted.get(element.name), element));
    for (const element of kept) wanted.delete(element.name);
    for (const [key, inner] of wanted) result.push(elementOf(key, inner));
    return containerOf(name, old.type, result);
  }
  return elementOf(name, value);
}

/** A list over a document is no change of its fields. */
const isFields = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value) && !isBsonScalar(value);
