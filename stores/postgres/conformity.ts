// Whether tables are what their mapping declares: columns and types in the catalogue, values in range, references with both ends.
import type pg from 'pg';
import { literal, name, query } from './connection.ts';
import type { ColumnType, TableTarget } from './target.ts';

export interface Violation {
  /** `table.column` and what is wrong with it. */
  readonly what: string;
  readonly rows: number;
  /** Source ids (of a child's rows: their own ids), ten at most. */
  readonly examples: readonly string[];
}

const exampleCount = 10;

const formatted = (type: ColumnType): string => (type === 'timestamptz' ? 'timestamp with time zone' : type);

/** Sentences about columns that are missing, of another type, or allow null although the mapping does not. */
export async function catalogueDifferences(pool: pg.Pool, target: TableTarget): Promise<string[]> {
  const rows = await query<{ column: string; type: string; required: boolean }>(
    pool,
    `looking up the columns of ${target.name}`,
    `select attname as column, format_type(atttypid, atttypmod) as type, attnotnull as required from pg_attribute
     where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`,
    [name(target.name)],
  );
  if (rows.length === 0) return [`${target.name} does not exist`];
  const there = new Map(rows.map((row) => [row.column, row]));
  return Object.entries(target.columns).flatMap(([column, its]) => {
    const found = there.get(column);
    if (!found) return [`${target.name}.${column} does not exist`];
    if (found.type !== formatted(its.type))
      return [`${target.name}.${column} is ${found.type}, not ${formatted(its.type)}`];
    if (its.notNull && !found.required) return [`${target.name}.${column} allows null`];
    return [];
  });
}

export interface ColumnRule {
  readonly column: string;
  readonly json?: readonly string[];
  readonly min?: string;
  readonly max?: string;
  readonly nonFinite?: true;
}

/** Values no column of its type should hold, whatever its type lets through; one scan of the table. Columns must be what is declared. */
export async function valueViolations(
  pool: pg.Pool,
  target: TableTarget,
  rules: readonly ColumnRule[],
): Promise<Violation[]> {
  const conditions = [...finite(target, rules), ...rules.flatMap((rule) => ruled(target, rule))];
  if (conditions.length === 0) return [];
  const counts = conditions.map(({ sql }, i) => `count(*) filter (where ${sql}) as c${i}`);
  const [row] = await query<Record<string, string>>(
    pool,
    `checking the values of ${target.name}`,
    `select ${counts.join(', ')} from ${name(target.name)}`,
  );
  const violations: Violation[] = [];
  for (const [i, { what, sql }] of conditions.entries()) {
    const count = Number(row![`c${i}`]);
    if (count > 0) violations.push({ what, rows: count, examples: await keysWhere(pool, target, sql) });
  }
  return violations;
}

interface Condition {
  readonly what: string;
  readonly sql: string;
}

/** NaN and infinity pass every comparison and spoil every sum. */
function finite(target: TableTarget, rules: readonly ColumnRule[]): Condition[] {
  const allowed = new Set(rules.filter((rule) => rule.nonFinite).map((rule) => rule.column));
  return Object.entries(target.columns).flatMap(([column, { type }]) => {
    if (allowed.has(column)) return [];
    const at = name(column);
    const what = `${target.name}.${column} is not finite`;
    if (type === 'double precision') return [{ what, sql: `${at} in ('NaN', 'Infinity', '-Infinity')` }];
    if (type.startsWith('numeric')) return [{ what, sql: `${at} = 'NaN'` }];
    if (type === 'timestamptz' || type === 'date') return [{ what, sql: `not isfinite(${at})` }];
    return [];
  });
}

function ruled(target: TableTarget, rule: ColumnRule): Condition[] {
  const at = name(rule.column);
  const place = `${target.name}.${rule.column}`;
  const found: Condition[] = [];
  if (rule.json)
    found.push({
      what: `${place} is no ${rule.json.join(' or ')}`,
      sql: `jsonb_typeof(${at}) not in (${rule.json.map(literal).join(', ')})`,
    });
  if (rule.min !== undefined)
    found.push({ what: `${place} is below ${rule.min}`, sql: `${at} < ${literal(rule.min)}` });
  if (rule.max !== undefined)
    found.push({ what: `${place} is above ${rule.max}`, sql: `${at} > ${literal(rule.max)}` });
  return found;
}

async function keysWhere(pool: pg.Pool, target: TableTarget, condition: string): Promise<string[]> {
  const key = target.child ? 'id::text' : 'source_id';
  const rows = await query<{ key: string }>(
    pool,
    `looking for examples in ${target.name}`,
    `select ${key} as key from ${name(target.name)} where ${condition} limit ${exampleCount}`,
  );
  return rows.map((row) => row.key);
}

/** A column whose values are ids of another table. */
export interface DeclaredReference {
  readonly table: string;
  readonly column: string;
  readonly parent: string;
}

export function referencesOf(target: TableTarget): DeclaredReference[] {
  const columns = Object.entries(target.columns).flatMap(([column, its]) =>
    its.references ? [{ table: target.name, column, parent: its.references.table }] : [],
  );
  return target.child
    ? [{ table: target.name, column: target.child.column, parent: target.child.of }, ...columns]
    : columns;
}

export interface CheckedReference extends DeclaredReference {
  /** undefined: the parent is no part of this migration, and there is nothing to refer to. */
  readonly constraint: 'valid' | 'not valid' | 'missing' | undefined;
  readonly dangling: number;
  readonly examples: readonly string[];
}

/** Rows whose other end is missing, and whether the constraint that would prevent them stands. */
export async function checkReference(
  pool: pg.Pool,
  target: TableTarget,
  reference: DeclaredReference,
): Promise<CheckedReference> {
  const { table, column, parent } = reference;
  const [found] = await query<{ parent: boolean; valid: boolean | null }>(
    pool,
    `looking up the foreign key of ${table}.${column}`,
    `select to_regclass($2) is not null as parent,
            (select bool_or(c.convalidated) from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
             where c.contype = 'f' and c.conrelid = to_regclass($1) and c.confrelid = to_regclass($2) and a.attname = $3
               and array_length(c.conkey, 1) = 1) as valid`,
    [name(table), name(parent), column],
  );
  if (!found!.parent) return { ...reference, constraint: undefined, dangling: 0, examples: [] };
  const condition = `${name(column)} is not null and not exists (select 1 from ${name(parent)} p where p.id = ${name(table)}.${name(column)})`;
  const [row] = await query<{ rows: string }>(
    pool,
    `checking ${table}.${column}`,
    `select count(*) as rows from ${name(table)} where ${condition}`,
  );
  const dangling = Number(row!.rows);
  return {
    ...reference,
    constraint: found!.valid === null ? 'missing' : found!.valid ? 'valid' : 'not valid',
    dangling,
    examples: dangling > 0 ? await keysWhere(pool, target, condition) : [],
  };
}
