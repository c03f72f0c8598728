// Which document a row belongs to: its own source id, or, for a row that belongs to another row, that one's.
import { name } from './connection.ts';
import type { TableTarget } from './target.ts';

/** SQL of the source id of a row under `alias`; `child` as its table has it. */
export const sourceIdSql = (alias: string, child: TableTarget['child']): string =>
  child
    ? `(select owner.source_id from ${name(child.of)} owner where owner.id = ${alias}.${name(child.column)})`
    : `${alias}.source_id`;
