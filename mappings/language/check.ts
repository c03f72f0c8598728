// One declaration, checked whole when it is loaded: each sentence names the column and says what to do.
import { reservedBeginnings } from '../../stores/redis/target.ts';
import type { Columns, Member } from './columns.ts';
import type { Declaration, Table } from './declare.ts';
import { tablesOf } from './forward.ts';
import { madeTables, parentColumn, type Made } from './tables.ts';

const kinds = ['column', 'rows', 'entries', 'derived', 'residual'];
const words =
  'text, uuid, int, bigint, bool, decimal, double, instant, day, array, json, bytes, ref, id, rows, group, entries, derived, residual';
const options = {
  mapping: [
    'collection',
    'aliases',
    'class',
    'version',
    'to',
    'after',
    'skip',
    'neverSkips',
    'accessPatterns',
    'mainRead',
    'queries',
  ],
  table: ['store', 'name', 'columns', 'indexes', 'unique', 'rules', 'invariants', 'time', 'lifecycle'],
};

export function problemsOf(declaration: Declaration): string[] {
  const problems = unknown('the mapping', declaration, options.mapping);
  if (declaration.to.length === 0) problems.push('its documents go nowhere: give `to` a table');
  const tables = tablesOf(declaration);
  for (const table of tables) problems.push(...unknown(`table ${table.name}`, table, options.table));
  const wordless = tables.flatMap((table) => wordProblems(table.name, table.columns));
  // What is no word has no plan either.
  if (wordless.length > 0) return [...problems, ...wordless];
  for (const made of madeTables(declaration)) problems.push(...tableProblems(made));
  for (const table of tables) problems.push(...setProblems(table));
  const homes = tables.filter((table) => Object.values(table.columns).some((member) => member.kind === 'residual'));
  if (tables.length > 0 && homes.length !== 1)
    problems.push(
      homes.length === 0
        ? `${tables[0]!.name} has no residual(), and fields that no column declares would have no place: add \`metadata: residual()\``
        : `${homes.map(({ name }) => name).join(' and ')} both have residual(): leave it in one of them`,
    );
  for (const target of declaration.to) {
    if (target.store === 'redis') problems.push(...keyProblems(target.name, target.prefix, target.durable, tables));
    if (target.store === 'files')
      for (const column of [target.category, target.key, target.value])
        if (!tables.some((one) => one.name === target.table && Object.hasOwn(one.columns, column)))
          problems.push(
            `the files ${target.name} name ${target.table}.${column}, which there is not: name a column of its tables`,
          );
  }
  return problems;
}

const unknown = (what: string, given: object, known: readonly string[]): string[] =>
  Object.keys(given)
    .filter((key) => !known.includes(key))
    .map((key) => `${what} says \`${key}\`, which is no word: it may say ${known.join(', ')}`);

function wordProblems(table: string, columns: Columns): string[] {
  return Object.entries(columns).flatMap(([name, member]: [string, Member | undefined]) => {
    if (typeof member !== 'object' || !kinds.includes(member.kind))
      return [`${table}.${name} is made by no word of the language: use one of ${words}`];
    return member.kind === 'rows' ? wordProblems(member.table, member.columns) : [];
  });
}

function tableProblems(made: Made): string[] {
  const { name: table, plan, parent } = made;
  const problems: string[] = [];
  const names = new Set(made.columns.map(([name]) => name));
  const given = ['id', ...(parent === undefined ? ['source_id'] : [parentColumn(parent), 'position'])];
  for (const one of given)
    if (Object.hasOwn(plan.columns, one))
      problems.push(`${table}.${one} is a column that the store adds by itself: give it another name`);
  const read = new Map<string, string>();
  const reads = (column: string, path: readonly string[]) => {
    const text = path.join('.');
    if (path.some((part) => part === ''))
      problems.push(`${table}.${column} has no source: name its field with .from('field')`);
    const other = read.get(text);
    if (other !== undefined)
      problems.push(`${table}.${column} and ${table}.${other} both read ${text}: make one of them derived()`);
    for (const [inner, its] of read)
      if (inner.startsWith(`${text}.`) || text.startsWith(`${inner}.`))
        problems.push(`${table}.${column} reads ${text}, and ${table}.${its} reads ${inner}: one is inside the other`);
    read.set(text, column);
  };
  for (const { name, column, places } of plan.fields) {
    for (const path of places[0]!) reads(name, path);
    const { codec, facts } = column;
    if (typeof codec.write !== 'function')
      problems.push(
        `${table}.${name}: the codec ${codec.name} has no way back: give it \`write\`, which says what a value is in a document`,
      );
    if (facts.unique?.by === 'caseless' && codec.type !== 'text')
      problems.push(`${table}.${name} is unique caseless and is no text: say unique() alone`);
    for (const one of facts.unique?.rank ?? [])
      if (!names.has(one)) problems.push(`${table}.${name} ranks by ${one}, which is no column of ${table}: name one`);
    const fallback = facts.fallback;
    if (fallback && facts.checks.some(({ holds }) => !holds(fallback.value as never)))
      problems.push(`${table}.${name}: what orElse says is refused by its own check: say another value`);
    if (facts.unique && parent !== undefined)
      problems.push(
        `${table}.${name} is unique, and rows of ${table} belong to another table: name it in \`key\` of its rows`,
      );
  }
  for (const { name, path } of plan.lists) reads(name, path);
  for (const { name, entries } of plan.entries) {
    if (Object.keys(entries.fields).length === 0)
      problems.push(`${table}.${name} has no fields: name them in \`fields\``);
    for (const field of Object.keys(entries.fields)) reads(name, [field]);
  }
  for (const { name, derived } of plan.derived) {
    if (derived.from.length === 0)
      problems.push(`${table}.${name} is derived from nothing: name the columns it follows from`);
    for (const one of derived.from)
      if (!names.has(one))
        problems.push(`${table}.${name} is derived from ${one}, which is no column of ${table}: name one`);
  }
  if (parent !== undefined)
    for (const one of made.key)
      if (!names.has(one))
        problems.push(
          `rows of ${table} are known by ${one}, which is no column of ${table}: name one, or leave \`key\` out`,
        );
  return problems;
}

function setProblems(table: Table): string[] {
  const problems: string[] = [];
  const [root] = madeTables({
    collection: '',
    aliases: [],
    class: 'static',
    version: 1,
    to: [table],
    after: [],
    accessPatterns: [],
    queries: [],
  });
  const names = new Set([...root!.columns.map(([name]) => name), 'id', 'source_id']);
  const has = (what: string, columns: readonly string[]) => {
    for (const column of columns)
      if (!names.has(column.replace(/ desc$/, '')))
        problems.push(`${what} of ${table.name} names ${column}, which is no column of it: name one`);
  };
  for (const index of table.indexes ?? []) has('an index', index);
  const rules: string[] = root!.plan.fields.flatMap(({ name, column: { facts } }) =>
    facts.unique ? [facts.unique.rule || `${name}_unique`] : [],
  );
  for (const { columns, rule, rank = [] } of table.unique ?? []) {
    has('a unique set', [...columns, ...rank]);
    if (!rule)
      problems.push(
        `the unique set (${columns.join(', ')}) of ${table.name} has no rule, under which clashes are set aside: add \`rule\``,
      );
    else rules.push(rule);
  }
  for (const twice of new Set(rules.filter((one, i) => rules.indexOf(one) !== i)))
    problems.push(`two unique rules of ${table.name} are called ${twice}: give each a name of its own`);
  for (const { name, by, sums, localDay } of table.invariants ?? []) {
    has(`the invariant ${name}`, [...by, ...sums, ...(localDay === undefined ? [] : [localDay])]);
    for (const column of by) {
      const member = table.columns[column];
      if (member?.kind === 'column' && !member.facts.public)
        problems.push(
          `the invariant ${name} groups by ${table.name}.${column}, whose values would stand in reports: say .public() of it if it holds no personal data`,
        );
    }
  }
  if (table.time !== undefined) {
    const member = table.columns[table.time];
    const never = member?.kind === 'derived' ? !member.null : member?.kind === 'column' && isNeverNull(member.facts);
    if (!never)
      problems.push(`${table.name} is partitioned by ${table.time}, which may be null: say .required() of it`);
  }
  return problems;
}

export const isNeverNull = (facts: {
  readonly required?: string;
  readonly fallback?: { readonly value: unknown };
}): boolean => facts.required !== undefined || (facts.fallback !== undefined && facts.fallback.value !== null);

function keyProblems(name: string, prefix: string, durable: string | undefined, tables: readonly Table[]): string[] {
  const problems: string[] = [];
  if (durable !== undefined && !tables.some((table) => table.name === durable))
    problems.push(
      `the keys ${name} are durable in ${durable}, which is none of its tables: put it into \`to\` as well`,
    );
  const own = reservedBeginnings.find((one) => one.startsWith(prefix) || prefix.startsWith(one));
  if (own !== undefined)
    problems.push(`the prefix "${prefix}" of the keys ${name} cannot be told from ${own}: choose another`);
  return problems;
}
