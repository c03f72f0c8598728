// COPY into a table, and staging tables for rows that cannot go straight into theirs.
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { name } from './connection.ts';
import type { TableTarget } from './target.ts';

/** COPY text to load, opened anew each time it is read. */
export type CopyText = () => Readable;

export async function copy(
  client: pg.ClientBase,
  table: string,
  columns: readonly string[],
  text: CopyText,
): Promise<void> {
  await pipeline(text(), client.query(copyFrom(`copy ${table} (${columns.map(name).join(', ')}) from stdin`)));
}

/** An empty temporary table with the columns of a COPY and no constraints; a connection makes it once and uses it again. */
export async function stageTable(client: pg.ClientBase, target: TableTarget): Promise<string> {
  await client.query(makeStage(target));
  return stageName(target);
}

export const stageName = (target: TableTarget): string => name(`stage_${target.name}`);

export function makeStage(target: TableTarget): string {
  const stage = stageName(target);
  const columns = Object.entries(target.columns).map(([column, its]) => `${name(column)} ${its.type}`);
  return `create temporary table if not exists ${stage} (source_id text collate "C", ${columns.join(', ')}) on commit delete rows;
    create index if not exists ${name(`stage_${target.name}_source_id`)} on ${stage} (source_id);
    delete from ${stage}`;
}

export function childrenInsert(target: TableTarget, stage: string): string {
  const columns = Object.keys(target.columns).map(name).join(', ');
  return `insert into ${name(target.name)} (${name(target.child!.column)}, ${columns})
     select parent.id, ${Object.keys(target.columns)
       .map((column) => `child.${name(column)}`)
       .join(', ')}
     from ${stage} child join ${name(target.child!.of)} parent using (source_id)`;
}
