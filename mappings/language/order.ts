// The order of loading: what is referred to before what refers to it.
import type { Declaration } from './declare.ts';
import { madeTables } from './tables.ts';

/** Mappings that one refers to, itself included where its rows refer to each other. */
export function referred(declaration: Declaration): string[] {
  const columns = madeTables(declaration).flatMap(({ plan }) => plan.fields);
  const refs = columns.flatMap(({ column }) => (column.codec.refers ? [column.codec.refers.mapping] : []));
  return [...new Set([...declaration.after, ...refs])];
}

export interface Order {
  readonly loaded: readonly string[];
  /** Mappings that refer to each other, each closed: `a, b, a`. */
  readonly cycles: readonly (readonly string[])[];
  /** Mappings whose rows refer to rows of their own table: found when all of them are there. */
  readonly trees: readonly string[];
}

export function orderOf(declarations: readonly Declaration[]): Order {
  const byName = new Map(declarations.map((one) => [one.collection, one]));
  const loaded: string[] = [];
  const cycles: string[][] = [];
  const visit = (name: string, path: readonly string[]): void => {
    if (loaded.includes(name) || !byName.has(name)) return;
    if (path.includes(name)) {
      cycles.push([...path.slice(path.indexOf(name)), name]);
      return;
    }
    for (const other of referred(byName.get(name)!)) if (other !== name) visit(other, [...path, name]);
    if (!loaded.includes(name)) loaded.push(name);
  };
  for (const name of byName.keys()) visit(name, []);
  return {
    loaded,
    cycles,
    trees: declarations.filter((one) => referred(one).includes(one.collection)).map((one) => one.collection),
  };
}
