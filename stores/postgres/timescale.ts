// TimescaleDB's part of a table: hypertable, compression, retention and a daily continuous aggregate, policies created but not armed.
import type pg from 'pg';
import { literal, name } from './connection.ts';
import type { TableTarget } from './target.ts';

/**
 * Policies start unscheduled: a retention policy must not drop history, nor compression lock chunks, before the copy is verified.
 * Row-level security is left out on purpose: it and compression exclude each other.
 */
export function* hypertableStatements(target: TableTarget): Generator<{ kind: string; object?: string; sql: string }> {
  const table = literal(target.name);
  yield { kind: 'extension', sql: 'create extension if not exists timescaledb' };
  yield {
    kind: 'hypertable',
    sql: `select create_hypertable(${table}, by_range(${literal(target.time!)}, interval '1 month'), create_default_indexes => false)`,
  };
  const lifecycle = target.lifecycle;
  if (!lifecycle) return;
  const order = `timescaledb.compress_orderby = ${literal(`${name(target.time!)} desc, source_id`)}`;
  yield {
    kind: 'setting',
    sql: `alter table ${name(target.name)} set (timescaledb.compress, timescaledb.compress_segmentby = ${literal(name(lifecycle.segmentBy))}, ${order})`,
  };
  yield {
    kind: 'policy',
    sql: `select alter_job(add_compression_policy(${table}, interval ${literal(lifecycle.compressAfter)}), scheduled => false)`,
  };
  yield {
    kind: 'policy',
    sql: `select alter_job(add_retention_policy(${table}, interval ${literal(lifecycle.retainFor)}), scheduled => false)`,
  };
  if (!lifecycle.daily) return;
  const { view, by, sums, zone } = lifecycle.daily;
  const columns = by.map(name).join(', ');
  const totals = sums.map((column) => `sum(${name(column)}) as ${name(column)}`).join(', ');
  yield {
    kind: 'continuous aggregate',
    object: view,
    sql: `create materialized view ${name(view)} with (timescaledb.continuous) as
      select time_bucket('1 day', ${name(target.time!)}, ${literal(zone)}) as day, ${columns}, count(*) as rows, ${totals}
      from ${name(target.name)} group by 1, ${columns} with no data`,
  };
  yield {
    kind: 'policy',
    sql: `select alter_job(add_continuous_aggregate_policy(${literal(view)}, start_offset => interval '7 days', end_offset => interval '1 day', schedule_interval => interval '1 hour'), scheduled => false)`,
  };
}

/** `table`: as SQL names it. */
export async function isHypertable(client: pg.ClientBase, table: string): Promise<boolean> {
  if (!(await hasExtension(client))) return false;
  const { rowCount } = await client.query(
    `select 1 from timescaledb_information.hypertables
     where to_regclass(format('%I.%I', hypertable_schema, hypertable_name)) = $1::regclass`,
    [table],
  );
  return rowCount !== 0;
}

/** Whether the database has the extension: its views and jobs can be asked. */
export async function hasExtension(on: pg.Pool | pg.ClientBase): Promise<boolean> {
  const { rows } = await on.query<{ there: boolean }>(
    `select exists (select from pg_extension where extname = 'timescaledb') as there`,
  );
  return rows[0]!.there;
}

/**
 * A column that chunks are compressed by cannot be dropped: they are decompressed, ordered by another column, and compressed again, all in the
 * caller's transaction. Needs room on the disk for the compressed chunks as plain ones.
 */
export async function reorderingChunks(
  client: pg.ClientBase,
  target: TableTarget,
  orderBy: string,
  work: () => Promise<void>,
): Promise<void> {
  const table = name(target.name);
  if (!target.lifecycle || !(await isHypertable(client, table))) return work();
  const { rows: chunks } = await client.query<{ chunk: string }>(
    `select format('%I.%I', chunk_schema, chunk_name) as chunk from timescaledb_information.chunks
     where hypertable_schema = 'public' and hypertable_name = $1 and is_compressed`,
    [target.name],
  );
  for (const { chunk } of chunks) await client.query('select decompress_chunk($1::regclass)', [chunk]);
  await client.query(
    `alter table ${table} set (timescaledb.compress_orderby = ${literal(`${name(target.time!)} desc, ${name(orderBy)}`)})`,
  );
  await work();
  for (const { chunk } of chunks) await client.query('select compress_chunk($1::regclass)', [chunk]);
}
