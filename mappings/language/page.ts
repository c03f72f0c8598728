// A page per mapping: each source path, its column, type and rules, and what happens to values that are not what they should be.
import { uniqueSetsOf } from './ddl.ts';
import type { Declaration } from './declare.ts';
import type { Field } from './plan.ts';
import { referred } from './order.ts';
import { madeTables, parentColumn } from './tables.ts';

export function pageOf(declaration: Declaration): string {
  const names = [declaration.collection, ...declaration.aliases].map((one) => `\`${one}\``).join(', ');
  const after = referred(declaration);
  const lines = [
    `# ${declaration.collection}`,
    '',
    `Source: ${names}. Class: ${declaration.class}.${after.length > 0 ? ` Loaded after ${after.join(', ')}.` : ''}`,
  ];
  for (const made of madeTables(declaration)) {
    const of =
      made.parent === undefined
        ? ''
        : ` Rows of \`${made.parent}\` (\`${parentColumn(made.parent)}\`), known by ${made.key.join(', ')}.`;
    lines.push(
      '',
      `## ${made.name}`,
      '',
      `PostgreSQL${made.table.time !== undefined && made.parent === undefined ? `, hypertable on \`${made.table.time}\`` : ''}.${of}`,
      '',
    );
    lines.push('| field | column | type | rules | other values |', '| --- | --- | --- | --- | --- |');
    for (const field of made.plan.fields) lines.push(rowOf(field));
    for (const { name, derived } of made.plan.derived)
      lines.push(`| | ${name} | ${derived.type} | follows from ${derived.from.join(', ')} | |`);
    for (const { rows, path } of made.plan.lists)
      lines.push(`| ${path.join('.')} | → ${rows.table} | | | no list: set aside |`);
    if (made.plan.residual) lines.push(`| every other | ${made.plan.residual.name} | jsonb | | |`);
    if (made.parent !== undefined) continue;
    for (const { rule, columns, rank } of uniqueSetsOf(made.table, made.plan))
      lines.push(
        '',
        `Unique: ${columns.join(', ')} (\`${rule}\`); the one that ranks highest by ${[...rank, 'source id'].join(', ')} stays.`,
      );
    for (const rule of made.table.rules ?? [])
      lines.push('', `Rule \`${rule.name}\`${'or' in rule ? ` (${rule.or})` : ''}.`);
  }
  for (const target of declaration.to)
    if (target.store !== 'postgres') lines.push('', `Also ${target.store} \`${target.name}\`.`);
  return `${lines.join('\n')}\n`;
}

function rowOf({ name, column: { codec, facts }, path, places }: Field): string {
  const aliases = places[0]!.slice(1).map((one) => one.join('.'));
  const source = [path.join('.'), ...(aliases.length > 0 ? [`(also ${aliases.join(', ')})`] : [])].join(' ');
  const rules = [
    ...(facts.required === undefined ? [] : [`\`${facts.required || `${name}_valid`}\``]),
    ...new Set(facts.checks.map(({ rule }) => `\`${rule || `${name}_known`}\``)),
    ...(facts.secret ? ['secret'] : []),
    ...(facts.public ? ['public'] : []),
  ];
  const missing = facts.fallback
    ? `missing: ${JSON.stringify(facts.fallback.value, (_, its: unknown) => (typeof its === 'bigint' ? String(its) : its))}`
    : facts.required === undefined
      ? 'missing: null'
      : 'missing: set aside';
  const isStrict = facts.required !== undefined || facts.strict !== undefined;
  const cells = [
    source,
    name,
    codec.type,
    [...new Set(rules)].join(', '),
    `${missing}; unreadable: ${isStrict ? 'set aside' : 'null, kept'}`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
