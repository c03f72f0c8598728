// The careful way to load a segment: staged, compared with the ledger version by version, and only what is newer applied.
import type pg from 'pg';
import { name } from './connection.ts';
import { columnsOf } from './copy.ts';
import { errorColumns, ledgerColumns } from './ledger.ts';
import type { SegmentRows } from './loader.ts';
import { copy, insertChildren, stageTable } from './stage.ts';
import type { TableTarget } from './target.ts';

/** Returns how many documents were refused as not newer. */
export async function merge(client: pg.ClientBase, rows: SegmentRows): Promise<number> {
  await client.query(
    'create temporary table stage_ledger (like migration_control.ledger including defaults) on commit drop',
  );
  await copy(client, 'stage_ledger', ledgerColumns, rows.ledger);
  await client.query('create temporary table stage_errors (like migration_control.migration_errors) on commit drop');
  await client.query('alter table stage_errors alter column id drop not null, alter column created_at drop not null');
  if (rows.errors) await copy(client, 'stage_errors', errorColumns, rows.errors);
  const stages: { target: TableTarget; stage: string }[] = [];
  for (const { target, rows: text } of rows.tables) {
    const stage = await stageTable(client, target);
    await copy(client, stage, columnsOf(target), text);
    stages.push({ target, stage });
  }
  await applyNewer(client, name(`ledger_${rows.collectionId}`));
  for (const { target, stage } of stages.filter((one) => !one.target.child)) await replaceRows(client, target, stage);
  for (const { target, stage } of stages.filter((one) => one.target.child))
    await replaceChildren(client, target, stage);
  await replaceErrors(client, rows.collectionId);
  const { rows: counts } = await client.query<{ stale: string }>(
    'select (select count(*) from stage_ledger) - (select count(*) from fresh) as stale',
  );
  return Number(counts[0]!.stale);
}

/**
 * Locks the documents' ledger rows in key order, writes those that are newer, and leaves their keys, with the place of the row they had
 * before, in `fresh`. The partition is named because only there a row tells whether it was inserted or updated (xmax). A key that another transaction inserts in between makes the write wait, and then compares with it.
 */
async function applyNewer(client: pg.ClientBase, partition: string): Promise<void> {
  await client.query(`create temporary table fresh on commit drop as
    select s.source_id, l.place as old_place, l.source_id is not null as known
    from stage_ledger s left join lateral (
      select place, source_id, version, op_index from migration_control.${partition}
      where collection_id = s.collection_id and source_id = s.source_id for update) l on true
    where l.source_id is null or (l.version, l.op_index) < (s.version, s.op_index)
    order by s.source_id`);
  const { rows } = await client.query<{ raced: string }>(`with written as (
      insert into migration_control.${partition} as l (${ledgerColumns.join(', ')})
      select ${ledgerColumns.map((column) => `s.${column}`).join(', ')} from stage_ledger s join fresh using (source_id) order by s.source_id
      on conflict (collection_id, source_id) do update set version = excluded.version, op_index = excluded.op_index, deleted = false, state = excluded.state,
        rule = excluded.rule, mapping_version = excluded.mapping_version, source_digest = excluded.source_digest, place = excluded.place
      where (l.version, l.op_index) < (excluded.version, excluded.op_index)
      returning l.source_id, (l.xmax <> 0) as updated)
    select count(*) filter (where not fresh.known and (written.updated or written.source_id is null)) as raced from fresh left join written using (source_id)`);
  if (Number(rows[0]!.raced) > 0)
    throw Object.assign(new Error('another writer took a key meanwhile'), { code: '40001' });
}

async function replaceRows(client: pg.ClientBase, target: TableTarget, stage: string): Promise<void> {
  const columns = columnsOf(target).map(name);
  const table = name(target.name);
  const moved = target.time
    ? ` and t.${name(target.time)} = fresh.old_place`
    : ` and not exists (select 1 from ${stage} s where s.source_id = t.source_id)`;
  await client.query(`delete from ${table} t using fresh where t.source_id = fresh.source_id${moved}`);
  // A row that stays keeps its id, because other rows refer to it.
  const keep = target.time
    ? ''
    : ` on conflict (source_id) do update set ${columns
        .slice(1)
        .map((column) => `${column} = excluded.${column}`)
        .join(', ')}`;
  await client.query(
    `insert into ${table} (${columns.join(', ')}) select ${columns.map((column) => `s.${column}`).join(', ')} from ${stage} s join fresh using (source_id)${keep}`,
  );
}

async function replaceChildren(client: pg.ClientBase, target: TableTarget, stage: string): Promise<void> {
  await client.query(
    `delete from ${name(target.name)} c using ${name(target.child!.of)} p join fresh using (source_id) where c.${name(target.child!.column)} = p.id`,
  );
  await client.query(
    `delete from ${stage} s where not exists (select 1 from fresh where fresh.source_id = s.source_id)`,
  );
  await insertChildren(client, target, stage);
}

/** A newer version leaves quarantine by itself, or enters it with its own reason. */
async function replaceErrors(client: pg.ClientBase, collectionId: number): Promise<void> {
  await client.query(
    `update migration_control.migration_errors e set resolved_at = clock_timestamp() from fresh, migration_control.collections c
     where c.id = $1 and e.collection = c.mapping and e.source_collection = c.source and e.source_id = fresh.source_id and e.resolved_at is null`,
    [collectionId],
  );
  await client.query(
    `insert into migration_control.migration_errors (${errorColumns.join(', ')}) select ${errorColumns.map((column) => `e.${column}`).join(', ')} from stage_errors e join fresh using (source_id)`,
  );
}
