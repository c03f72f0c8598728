// What differs between two images of one document, said by table, column and path. Values stay here.
import type { Mapping } from '../../mappings/mapping.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { Item } from './canonical.ts';
import { differences } from './differ.ts';
import { tablesOf } from './read-back.ts';

export interface Naming {
  readonly differs: readonly string[];
  /** Reference columns among them, with the source id that the row names. */
  readonly references: readonly { readonly table: string; readonly column: string; readonly actual: string | null }[];
}

type Parsed = readonly unknown[];

/** Items that only one side has, paired by table and, for child rows, by what identifies them under their parent. */
export function nameDifferences(mapping: Mapping, expected: readonly Item[], actual: readonly Item[]): Naming {
  const [missing, extra] = without(expected, actual);
  const differs: string[] = [];
  const references: Naming['references'][number][] = [];
  const tables = new Map(tablesOf(mapping).map((target) => [target.name, target]));
  const kinds = new Set([...missing, ...extra].map((item) => (JSON.parse(item) as Parsed)[0] as string));
  for (const kind of kinds) {
    const target = tables.get(kind);
    const of = (items: readonly Item[]) => items.filter((item) => (JSON.parse(item) as Parsed)[0] === kind);
    const left = of(extra);
    for (const item of of(missing)) {
      const at = left.findIndex((other) => identity(target, other) === identity(target, item));
      if (at < 0) differs.push(`${kind}: a row is missing`);
      else {
        const named = nameColumns(kind, target, item, left[at]!);
        differs.push(...named.differs);
        references.push(...named.references);
        left.splice(at, 1);
      }
    }
    for (const _ of left) differs.push(`${kind}: a row too many`);
  }
  return { differs, references };
}

/** The items of each side that the other does not have, with their multiplicity. */
function without(expected: readonly Item[], actual: readonly Item[]): [Item[], Item[]] {
  const extra = [...actual];
  const missing = expected.filter((item) => {
    const at = extra.indexOf(item);
    if (at >= 0) extra.splice(at, 1);
    return at < 0;
  });
  return [missing, extra];
}

/** A jsonb column takes two places of an item: whether it is null, and its value. */
function placesOf(target: TableTarget): { column: string; at: number; json: boolean; reference: boolean }[] {
  let at = 2;
  return Object.entries(target.columns).map(([column, its]) => {
    const json = its.type === 'jsonb';
    const place = { column, at, json, reference: its.references !== undefined };
    at += json ? 2 : 1;
    return place;
  });
}

function identity(target: TableTarget | undefined, item: Item): string {
  const unique = target?.child?.unique;
  if (!target || !unique) return '';
  const values = JSON.parse(item) as Parsed;
  return JSON.stringify(placesOf(target).flatMap(({ column, at }) => (unique.includes(column) ? [values[at]] : [])));
}

const ledgerColumns = ['', '', 'state', 'source_digest', 'place', 'version', 'kept'];

function nameColumns(kind: string, target: TableTarget | undefined, expected: Item, actual: Item): Naming {
  const [ours, theirs] = [JSON.parse(expected) as Parsed, JSON.parse(actual) as Parsed];
  if (!target)
    return {
      differs: ledgerColumns.flatMap((column, at) => (ours[at] === theirs[at] ? [] : [`ledger.${column}`])),
      references: [],
    };
  const differs: string[] = [];
  const references: Naming['references'][number][] = [];
  for (const { column, at, json, reference } of placesOf(target)) {
    const path = `${kind}.${column}`;
    if (json) {
      if (ours[at] !== theirs[at]) differs.push(path);
      else differs.push(...differences(ours[at + 1], theirs[at + 1], path));
    } else if (ours[at] !== theirs[at]) {
      differs.push(path);
      if (reference) references.push({ table: kind, column, actual: theirs[at] as string | null });
    }
  }
  // Numbers that JavaScript reads alike and PostgreSQL does not: 1 and 1.0.
  const json = placesOf(target).filter((place) => place.json);
  if (differs.length === 0) differs.push(...json.map(({ column }) => `${kind}.${column}`));
  return { differs, references };
}
