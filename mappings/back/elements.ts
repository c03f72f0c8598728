// A BSON document as its elements: fields are replaced, added and removed while every other one keeps its bytes and its place.
import { serialize } from 'bson';
import { decodeValue } from '../../core/bson/decode.ts';
import { bufferOf, elementsIn } from '../../core/bson/reader.ts';

/** One field: its name, and its BSON type with the bytes of its value. */
export interface Element {
  readonly name: string;
  readonly type: number;
  readonly value: Uint8Array;
}

const object = 3;
const array = 4;
const names = new TextDecoder('utf-8', { ignoreBOM: true });
const text = new TextEncoder();

export const isContainer = ({ type }: Element): boolean => type === object || type === array;
export const isArray = ({ type }: Element): boolean => type === array;
export const isObject = ({ type }: Element): boolean => type === object;

export function elementsOf(document: Uint8Array): Element[] {
  return [...elementsIn(bufferOf(document))].map(({ type, nameAt, nameEnd, at, end }) => ({
    name: names.decode(document.subarray(nameAt, nameEnd)),
    type,
    value: document.subarray(at, end),
  }));
}

export function documentOf(elements: readonly Element[]): Uint8Array {
  const named = elements.map((element) => ({ ...element, bytes: text.encode(element.name) }));
  const length = named.reduce((sum, { bytes, value }) => sum + bytes.length + value.length + 2, 5);
  const result = new Uint8Array(length);
  new DataView(result.buffer).setInt32(0, length, true);
  let at = 4;
  for (const { type, bytes, value } of named) {
    result[at] = type;
    result.set(bytes, at + 1);
    result.set(value, at + bytes.length + 2);
    at += bytes.length + value.length + 2;
  }
  return result;
}

/** A field made of any BSON value. */
export const elementOf = (name: string, value: unknown): Element => ({
  ...elementsOf(serialize({ v: value }))[0]!,
  name,
});

/** A field that holds a document or a list of these elements. A list's elements are numbered anew. */
export const containerOf = (name: string, type: number, elements: readonly Element[]): Element => ({
  name,
  type,
  value: documentOf(type === array ? elements.map((element, i) => ({ ...element, name: String(i) })) : elements),
});

export const emptyObject = (name: string): Element => containerOf(name, object, []);

/** The value as decoded everywhere else: without promotion. */
export const valueOf = ({ type, value }: Element): unknown => decodeValue(type, value);

/** The last field of the name, which is the one that decoding gives. */
export const field = (elements: readonly Element[], name: string): Element | undefined =>
  elements.findLast((element) => element.name === name);

export function elementAt(document: Uint8Array, path: readonly string[]): Element | undefined {
  let elements = elementsOf(document);
  for (const [depth, name] of path.entries()) {
    const found = field(elements, name);
    if (!found || depth === path.length - 1) return found;
    if (!isContainer(found)) return undefined;
    elements = elementsOf(found.value);
  }
  return undefined;
}

/**
 * The document with the field at `path` being what `change` makes of it: in its place if it was there, else at the end; removed where that
 * is undefined. Documents on the way are made where they are missing, and where something else stands that holds no fields.
 */
export function changed(
  document: Uint8Array,
  path: readonly string[],
  change: (old: Element | undefined) => Element | undefined,
): Uint8Array {
  return documentOf(changedIn(elementsOf(document), path, change));
}

function changedIn(
  elements: readonly Element[],
  [name, ...rest]: readonly string[],
  change: (old: Element | undefined) => Element | undefined,
): Element[] {
  const at = elements.findLastIndex((element) => element.name === name);
  const old = elements[at];
  const next = rest.length === 0 ? change(old) : within(old, name!, rest, change);
  if (next === old) return [...elements];
  if (!next) return elements.filter((element) => element.name !== name);
  return old ? elements.with(at, { ...next, name: name! }) : [...elements, { ...next, name: name! }];
}

function within(
  old: Element | undefined,
  name: string,
  rest: readonly string[],
  change: (old: Element | undefined) => Element | undefined,
): Element | undefined {
  const container = old && isContainer(old) ? old : emptyObject(name);
  const inner = changedIn(elementsOf(container.value), rest, change);
  // Nothing was there and nothing came: no empty document is left behind.
  if (inner.length === 0 && container !== old) return old;
  return containerOf(name, container.type, inner);
}
