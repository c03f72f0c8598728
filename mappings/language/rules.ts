// What validation counts in the tables: every check, unique set and rule of a declaration as SQL, under the name it has in the copy.
import type { BusinessRule } from '../mapping.ts';
import { checksOf, listed, quoted, uniqueSetsOf } from './ddl.ts';
import type { Declaration } from './declare.ts';
import { tablesOf } from './forward.ts';
import { planOf } from './plan.ts';
import { madeTables, type Made } from './tables.ts';

/** Several conditions of one name are one rule: the first that breaks it counts. */
export function rulesOf(declaration: Declaration): readonly BusinessRule[] {
  const conditions = madeTables(declaration).flatMap((made) => [...merged(made)]);
  const sets = tablesOf(declaration).flatMap((table) =>
    uniqueSetsOf(table, planOf(table.columns)).map(({ rule, columns }) => ({
      name: rule,
      sql: `select count(*) from (select 1 from ${quoted(table.name)} where ${columns.map((one) => `${quoted(one)} is not null`).join(' and ')} group by ${listed(columns)} having count(*) > 1) twice`,
    })),
  );
  const own = tablesOf(declaration).flatMap((table) =>
    (table.rules ?? []).flatMap(({ name, sql }) => (sql === undefined ? [] : [{ name, sql }])),
  );
  const all = new Map<string, string[]>();
  for (const { name, sql } of [...conditions, ...sets, ...own]) all.set(name, [...(all.get(name) ?? []), sql]);
  return [...all].map(([name, counts]) => ({
    name,
    sql: counts.length === 1 ? counts[0]! : `select sum(count) as count from (${counts.join(' union all ')}) counts`,
  }));
}

function* merged(made: Made): Generator<BusinessRule> {
  const holds = new Map<string, string[]>();
  const add = (rule: string, sql: string) => holds.set(rule, [...(holds.get(rule) ?? []), `(${sql})`]);
  for (const { name, column } of made.plan.fields) {
    if (column.facts.required) add(column.facts.required, `${quoted(name)} is not null`);
    for (const { rule, sql } of checksOf(made.plan, name)) add(rule, sql);
  }
  for (const [name, sql] of made.known) add(`${name}_known`, sql);
  for (const [name, all] of holds)
    yield { name, sql: `select count(*) from ${quoted(made.name)} where not (${all.join(' and ')})` };
}
