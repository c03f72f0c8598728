// Paths of a decoded document, and the tree of those that a table declares. Names are own properties only: `constructor` is a field like any other.
import { setOwn } from '../../core/bson/decode.ts';
import { quarantine } from '../../core/quarantine.ts';
import { isBsonScalar } from '../fields/json.ts';
import type { Document } from '../mapping.ts';
import { sameBson } from './same.ts';

export type Path = readonly string[];
export const pathOf = (text: string): Path => text.split('.');

/** A name within a path that is kept as text: in quotes where it could be taken for something else. */
export const nameText = (name: string): string =>
  name === '__proto__' || name === '' || /^\d+$|[."[]/.test(name) ? JSON.stringify([name]) : name;

/** The names of such a path; undefined where it leads through entries of a list. */
export function namesOf(text: string): Path | undefined {
  const names: string[] = [];
  for (let rest = text; ;) {
    const quoted = /^\["(?:[^"\\]|\\.)*"\]/.exec(rest)?.[0];
    const name = quoted ?? /^[^.]*/.exec(rest)![0];
    if (quoted === undefined && /^\d+$/.test(name)) return undefined;
    names.push(quoted === undefined ? name : (JSON.parse(quoted) as [string])[0]);
    if (name.length === rest.length) return names;
    rest = rest.slice(name.length + 1);
  }
}

export const isPlain = (value: unknown): value is Document =>
  value !== null && typeof value === 'object' && !Array.isArray(value) && !isBsonScalar(value);

export function at(document: Document, path: Path): unknown {
  if (path.length === 1) return Object.hasOwn(document, path[0]!) ? document[path[0]!] : undefined;
  let found: unknown = document;
  for (const name of path) {
    if (!isPlain(found) || !Object.hasOwn(found, name)) return undefined;
    found = found[name];
  }
  return found;
}

/** Declared paths: a leaf is read as a whole. */
export interface Tree {
  readonly leaf: boolean;
  readonly inner: ReadonlyMap<string, Tree>;
}

export function treeOf(paths: readonly Path[]): Tree {
  const inner = new Map<string, Path[]>();
  for (const [name, ...rest] of paths) {
    if (name === undefined) continue;
    inner.set(name, [...(inner.get(name) ?? []), rest]);
  }
  return {
    leaf: paths.some((path) => path.length === 0),
    inner: new Map([...inner].map(([name, its]) => [name, treeOf(its)])),
  };
}

/** What of the document no path declares: the same fields with less in them. undefined where nothing is left. */
export function undeclared(tree: Tree, document: Document): Document | undefined {
  let rest: Document | undefined;
  for (const name in document) {
    const its = tree.inner.get(name);
    if (its?.leaf) continue;
    const value = document[name];
    const left = its && isPlain(value) && !isEmpty(value) ? undeclared(its, value) : value;
    if (left === undefined && its) continue;
    setOwn((rest ??= {}), name, left);
  }
  return rest;
}

const isEmpty = (value: object): boolean => {
  for (const _ in value) return false;
  return true;
};

/** Other spelling -> first name. */
export type Spellings = readonly (readonly [other: Path, first: Path])[];

/** The document with its fields under their first names; the same object where there is nothing to rename. Throws Quarantined (aliases_agree). */
export function withFirstNames(spellings: Spellings, document: Document): Document {
  let result = document;
  for (const [other, first] of spellings) {
    const value = at(result, other);
    if (value === undefined) continue;
    const there = at(result, first);
    if (there !== undefined && !sameBson(there, value))
      quarantine('aliases_agree', other.join('.'), `${other.join('.')} and ${first.join('.')} hold different values`);
    result = without(result, other);
    if (there === undefined) result = set(result, first, value);
  }
  return result;
}

function without(document: Document, [name, ...rest]: Path): Document {
  const copy = { ...document };
  if (rest.length === 0) delete copy[name!];
  else {
    const inner = without(document[name!] as Document, rest);
    if (isEmpty(inner)) delete copy[name!];
    else setOwn(copy, name!, inner);
  }
  return copy;
}

function set(document: Document, [name, ...rest]: Path, value: unknown): Document {
  const copy = { ...document };
  const inner = Object.hasOwn(document, name!) ? document[name!] : undefined;
  if (rest.length === 0) setOwn(copy, name!, value);
  // A value that holds no fields stays where it is: the field of a field has no place then.
  else if (inner === undefined || isPlain(inner)) setOwn(copy, name!, set(inner ?? {}, rest, value));
  else quarantine('aliases_agree', name!, `${name} holds no fields, and another spelling has a field of it`);
  return copy;
}
