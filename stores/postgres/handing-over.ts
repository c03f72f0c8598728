// Unique values that change hands between documents of one batch. The keys are checked row by row, so the values are laid down first.
import { name } from './connection.ts';
import { uniqueSets, type Column, type TableTarget } from './target.ts';

/**
 * Statements to run before a batch's rows are written: each row of it whose value another of the batch is about to have holds something else
 * for a moment. Every such row is written in the statement after, in the same transaction, and nobody else sees it as it is here.
 */
export function* layDown(target: TableTarget, stage: string): Generator<string> {
  for (const set of uniqueSets(target)) {
    const given = easiest(target, set);
    const same = set.map((column) => `s.${name(column)} = t.${name(column)}`).join(' and ');
    yield `update ${name(target.name)} t set ${name(given)} = ${nobodys(target.columns[given]!)} from fresh
      where t.source_id = fresh.source_id and fresh.old_state = 'l' and exists (
        select 1 from ${stage} s join fresh g on g.source_id = s.source_id where s.source_id <> t.source_id and ${same})`;
  }
}

/** A value that no document has, another for each row; null, where the column takes it, is unequal to everything. */
function nobodys({ type, notNull }: Column): string {
  if (!notNull) return 'null';
  const digits = /^numeric\((\d+),(\d+)\)$/.exec(type);
  if (digits) {
    const [precision, scale] = [Number(digits[1]), Number(digits[2])];
    return `-1e${precision - scale} + (1 + t.id % 1e${precision}) / 1e${scale}`;
  }
  switch (type) {
    case 'text':
      return `E'\\x01causeway ' || t.id`;
    case 'jsonb':
      return `jsonb_build_object('laid down', t.id)`;
    case 'bigint':
      return `-9223372036854775807 + t.id`;
    case 'integer':
      return `-2147483647 + (t.id % 2000000000)::integer`;
    case 'double precision':
      return `-1e308 - (t.id % 1000000000) * 1e297`;
    case 'timestamptz':
      return `timestamptz '4000-01-01 00:00:00Z BC' + t.id * interval '1 microsecond'`;
    case 'date':
      return `date '4000-01-01 BC' + (t.id % 1000000)::integer`;
    default:
      throw new TypeError(`A unique set cannot rest on columns of type ${type} alone`);
  }
}

/** Of a set's columns the one that takes such a value most easily: a foreign key refuses one, and there are two booleans only. */
const easiest = (target: TableTarget, set: readonly string[]): string =>
  [...set].sort((a, b) => trouble(target.columns[a]) - trouble(target.columns[b]))[0]!;

function trouble(column: Column | undefined): number {
  if (!column || column.type === 'boolean') return 3;
  if (!column.notNull) return 0;
  return column.references ? 2 : 1;
}
