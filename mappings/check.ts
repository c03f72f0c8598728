// A mapping is checked whole when it is loaded: what would only fail in the middle of a migration is said at once, with the mapping and the place.
import { uniqueSets, type TableTarget } from '../stores/postgres/target.ts';
import { reservedBeginnings, type KeysTarget } from '../stores/redis/target.ts';
import type { Mapping } from './mapping.ts';

const tablesOf = (mapping: Mapping): TableTarget[] =>
  mapping.targets.filter((target): target is TableTarget => target.store === 'postgres');

const given = new Set(['id', 'source_id']);

/** Sentences about one mapping; none where it is whole. */
export function problemsOf(mapping: Mapping): string[] {
  const problems: string[] = [];
  const names = mapping.targets.map((target) => `${target.store} ${target.name}`);
  for (const twice of new Set(names.filter((one, i) => names.indexOf(one) !== i)))
    problems.push(`it has the target ${twice} twice`);
  const tables = tablesOf(mapping);
  for (const table of tables) problems.push(...tableProblems(tables, table));
  const withSets = tables.filter((table) => table.unique && table.unique.length > 0);
  if (withSets.length > 1)
    problems.push(
      `${withSets.map((table) => table.name).join(' and ')} both have unique sets, and its rules are of one table only`,
    );
  const sets = withSets[0]?.unique?.length ?? 0;
  if (sets !== mapping.unique.length)
    problems.push(
      `it has ${sets} unique ${sets === 1 ? 'set' : 'sets'}${withSets[0] ? ` (table ${withSets[0].name})` : ''} and ${mapping.unique.length} unique ${mapping.unique.length === 1 ? 'rule' : 'rules'}: each set needs its rule, in the same order`,
    );
  const rules = mapping.unique.map((one) => one.rule);
  for (const twice of new Set(rules.filter((one, i) => rules.indexOf(one) !== i)))
    problems.push(`two unique rules are called ${twice}`);
  const has = (table: string, column: string): boolean => {
    const its = tables.find((one) => one.name === table);
    return (
      its !== undefined && (given.has(column) || column === its.child?.column || Object.hasOwn(its.columns, column))
    );
  };
  const missing = (what: string, table: string, columns: readonly string[]) => {
    for (const column of columns)
      if (!has(table, column)) problems.push(`${what} names ${table}.${column}, which its tables do not have`);
  };
  for (const { table, column } of mapping.values) missing('a value rule', table, [column]);
  for (const { name, table, by, localDay, sums } of mapping.invariants)
    missing(`the invariant ${name}`, table, [...by, ...sums, ...(localDay === undefined ? [] : [localDay])]);
  for (const target of mapping.targets.filter((one): one is KeysTarget => one.store === 'redis')) {
    if (!tables.some((table) => table.name === target.durable))
      problems.push(`the keys ${target.name} are durable in ${target.durable}, which is none of its tables`);
    const own = reservedBeginnings.find((one) => one.startsWith(target.prefix) || target.prefix.startsWith(one));
    if (own !== undefined)
      problems.push(
        `the prefix "${target.prefix}" of the keys ${target.name} cannot be told from ${own}, which Causeway's own keys begin with`,
      );
  }
  if (mapping.after.includes(mapping.collection)) problems.push('it comes after itself');
  return problems;
}

function tableProblems(tables: readonly TableTarget[], table: TableTarget): string[] {
  const problems: string[] = [];
  const columns = new Set(Object.keys(table.columns));
  const names = (what: string, its: readonly string[]) => {
    for (const column of its)
      if (!columns.has(column) && !given.has(column) && column !== table.child?.column)
        problems.push(`${what} of ${table.name} names the column ${column}, which it does not have`);
  };
  for (const set of uniqueSets(table)) {
    if (set.length === 0) problems.push(`a unique set of ${table.name} is empty`);
    names('a unique set', set);
    const only = set.map((column) => table.columns[column]).filter((column) => column !== undefined);
    if (only.length > 0 && only.every(({ type, notNull, references }) => notNull && (type === 'boolean' || references)))
      problems.push(
        `the unique set (${set.join(', ')}) of ${table.name} has only booleans and references that are never null: values could not change hands`,
      );
  }
  for (const [column, { derived }] of Object.entries(table.columns))
    if (derived) names(`the column ${column}`, [derived.from]);
  if (table.time !== undefined) names('the time', [table.time]);
  if (table.child) {
    names('the unique columns', table.child.unique);
    const parent = tables.find((one) => one.name === table.child!.of);
    if (!parent) problems.push(`${table.name} belongs to ${table.child.of}, which is none of its tables`);
    else if (parent.child)
      problems.push(`${table.name} belongs to ${parent.name}, which belongs to another table itself`);
    if (table.unique && table.unique.length > 0)
      problems.push(`${table.name} belongs to another table, and cannot have unique sets of its own`);
  }
  for (const column of given)
    if (columns.has(column)) problems.push(`${table.name} has a column ${column}, which the store adds by itself`);
  return problems;
}

/** Sentences about mappings together: what one says of another. */
export function problemsBetween(mappings: ReadonlyMap<string, Mapping>): string[] {
  const problems: string[] = [];
  const owner = new Map<string, string>();
  for (const mapping of mappings.values()) {
    for (const { store, name } of mapping.targets) {
      const place = `${store} ${name}`;
      const other = owner.get(place);
      if (other !== undefined && other !== mapping.collection)
        problems.push(`${other} and ${mapping.collection} both write ${place}`);
      owner.set(place, mapping.collection);
    }
    for (const other of mapping.after)
      if (!mappings.has(other)) problems.push(`${mapping.collection} comes after ${other}, which is no mapping`);
  }
  for (const mapping of mappings.values())
    for (const table of tablesOf(mapping))
      for (const [column, { references }] of Object.entries(table.columns)) {
        const parent =
          references && [...mappings.values()].flatMap(tablesOf).find((one) => one.name === references.table);
        for (const by of (parent && references?.by) ?? [])
          if (!given.has(by) && !Object.hasOwn(parent!.columns, by))
            problems.push(`${table.name}.${column} refers to ${parent!.name}.${by}, a column it does not have`);
      }
  problems.push(...circles(mappings));
  return problems;
}

function circles(mappings: ReadonlyMap<string, Mapping>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      found.push(`${[...path.slice(path.indexOf(name)), name].join(' after ')}: a circle`);
      return;
    }
    if (done.has(name)) return;
    for (const other of mappings.get(name)?.after ?? []) walk(other, [...path, name]);
    done.add(name);
  };
  for (const name of mappings.keys()) walk(name, []);
  return found;
}
