// A table's columns made ready for reading and writing: paths taken apart, members by kind. Made once per declaration.
import type { SqlType } from './codec.ts';
import type { Column } from './column.ts';
import type { Columns, Derived, Entries, Residual, Rows } from './columns.ts';
import { pathOf, treeOf, type Path, type Spellings, type Tree } from './paths.ts';

export interface Field {
  readonly name: string;
  readonly column: Column;
  readonly path: Path;
  /** The path as it is shown. */
  readonly shown: string;
  /** Of every place that may hold it, in order: the first name and its other spellings. */
  readonly places: readonly (readonly Path[])[];
}
export interface List {
  readonly name: string;
  readonly rows: Rows;
  readonly path: Path;
  readonly plan: Plan;
}

export interface Plan {
  readonly columns: Columns;
  /** A row in which nothing stands. */
  readonly empty: Readonly<Record<string, null>>;
  readonly fields: readonly Field[];
  readonly lists: readonly List[];
  readonly entries: readonly { readonly name: string; readonly entries: Entries }[];
  readonly derived: readonly { readonly name: string; readonly derived: Derived }[];
  readonly residual: { readonly name: string; readonly residual: Residual } | undefined;
  /** Lists and entries: members that are no column. */
  readonly nested: ReadonlySet<string>;
  readonly tree: Tree;
  readonly spellings: Spellings;
  /** Fields that codecs account for besides their own. */
  readonly owned: Column['facts']['owns'];
}

const plans = new WeakMap<object, Plan>();

export function planOf(columns: Columns): Plan {
  let plan = plans.get(columns);
  if (!plan) plans.set(columns, (plan = made(columns)));
  return plan;
}

function made(columns: Columns): Plan {
  const fields: Field[] = [];
  const lists: List[] = [];
  const entries: Plan['entries'][number][] = [];
  const derived: Plan['derived'][number][] = [];
  let residual: Plan['residual'];
  for (const [name, member] of Object.entries(columns)) {
    switch (member.kind) {
      case 'column': {
        const [first, ...others] = (member.facts.from ?? [name]).map(pathOf);
        const places = [[first!, ...others], ...member.facts.or.map((one) => one.map(pathOf))];
        fields.push({ name, column: member, path: first!, shown: first!.join('.'), places });
        if (member.facts.unique?.by === 'caseless') derived.push({ name: `${name}_key`, derived: keyOf(name) });
        break;
      }
      case 'rows':
        lists.push({ name, rows: member, path: pathOf(member.path), plan: planOf(member.columns) });
        break;
      case 'entries':
        entries.push({ name, entries: member });
        break;
      case 'derived':
        derived.push({ name, derived: member });
        break;
      case 'residual':
        residual = { name, residual: member };
    }
  }
  const inEntries = entries.flatMap(({ entries: its }) => Object.keys(its.fields).map((name) => [name]));
  const spelled = [
    ...fields.flatMap(({ places }) =>
      places.flatMap(([first, ...others]) => others.map((other) => [other, first!] as const)),
    ),
    ...entries.flatMap(({ entries: its }) =>
      Object.entries(its.aliases).flatMap(([name, others]) => others.map((other) => [[other], [name]] as const)),
    ),
  ];
  const spellings = [...new Map(spelled.map((one) => [one[0].join('\0'), one])).values()];
  const tree = treeOf([...fields.map(({ path }) => path), ...lists.map(({ path }) => path), ...inEntries]);
  const owned = fields.flatMap(({ column }) => column.facts.owns);
  const empty = Object.fromEntries(Object.keys(columns).map((name) => [name, null]));
  const nested = new Set([...lists, ...entries].map(({ name }) => name));
  return { columns, empty, nested, fields, lists, entries, derived, residual, tree, spellings, owned };
}

/** What is the same for values that only case, width, composition or surrounding space tell apart. */
export const caseless = (text: string): string => text.normalize('NFKC').trim().toLowerCase().normalize('NFKC');

const keyOf = (name: string): Derived => ({
  kind: 'derived',
  type: 'text',
  from: [name],
  null: false,
  make: (text: unknown) => (typeof text === 'string' ? caseless(text) : null),
  sql: `normalize(lower(btrim(normalize(new.${name}, NFKC), E' \\t\\n\\r\\f\\v')), NFKC)`,
});

/** SQL columns of the table itself, in their order: what its rows have. */
export function sqlColumns(plan: Plan): [name: string, type: SqlType][] {
  const result: [string, SqlType][] = [];
  for (const [name, member] of Object.entries(plan.columns)) {
    if (member.kind === 'column' || member.kind === 'derived') result.push([name, member.type]);
    if (member.kind === 'column' && member.facts.unique?.by === 'caseless') result.push([`${name}_key`, 'text']);
    if (member.kind === 'residual') result.push([name, 'jsonb']);
  }
  return result;
}
