// Tables as COPY text: read in one transaction's snapshot, and put back whole in one transaction.
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { name, ownWrites } from './connection.ts';

export interface TableShape {
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly { readonly name: string; readonly type: string }[];
}

/** Tables of the control schema that tell what happened or who is there, and not how things stand: no restore may make them forget. */
const notState = [
  'schema_versions',
  'migration',
  'lifecycle',
  'audit_log',
  'rollback_checkpoints',
  'validation_results',
  'capture_workers',
  'writing_sessions',
  'capture_lag',
  'snapshots',
  'restores',
  // What is on its way between the systems, and what was measured, is of today and not of the checkpoint.
  'routers',
  'outbox',
  'reverse_position',
  'guards_to_drop',
  'late_writes',
  'reverse_conflicts',
  'reverse_unsaid',
  'closed_collections',
  'traffic_samples',
  'divergences',
  'sweeps',
  'performance_results',
  'verification_runs',
  'verification_scans',
  'verification_keys',
  'quarantine_retries',
];

export const tableName = ({ schema, table }: Pick<TableShape, 'schema' | 'table'>): string => `${schema}.${table}`;
export const quoted = ({ schema, table }: Pick<TableShape, 'schema' | 'table'>): string =>
  `${name(schema)}.${name(table)}`;
const columnList = ({ columns }: TableShape): string => columns.map((column) => name(column.name)).join(', ');

/** Text that does not depend on the server's or the user's settings. To be called in a transaction. */
export async function settleText(client: pg.ClientBase): Promise<void> {
  await client.query(
    `set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'; set local extra_float_digits = 1;
     set local bytea_output = 'hex'; set local client_encoding = 'UTF8'`,
  );
}

/** The control schema's state and `targets` of `public`, tables that others refer to first. A partition belongs to its table. */
export async function tablesOf(client: pg.ClientBase, targets: readonly string[]): Promise<TableShape[]> {
  const { rows } = await client.query<{ oid: number; schema: string; table: string; columns: TableShape['columns'] }>(
    `select c.oid, n.nspname as schema, c.relname as table,
            jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) order by a.attnum) as columns
     from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
     where c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
       and (n.nspname = 'migration_control' and c.relname <> all($1) or n.nspname = 'public' and c.relname = any($2))
     group by c.oid, n.nspname, c.relname order by 2, 3`,
    [notState, targets],
  );
  const { rows: edges } = await client.query<{ child: number; parent: number }>(
    `select conrelid as child, confrelid as parent from pg_constraint where contype = 'f' and conrelid <> confrelid`,
  );
  const left = new Map(rows.map((row) => [row.oid, row]));
  const sorted: TableShape[] = [];
  while (left.size > 0) {
    const free = [...left.values()].filter(
      ({ oid }) => !edges.some((edge) => edge.child === oid && left.has(edge.parent)),
    );
    // Tables that refer to each other in a circle cannot be ordered; their keys would have to be deferrable.
    for (const { oid, schema, table, columns } of free.length > 0 ? free : left.values()) {
      sorted.push({ schema, table, columns });
      left.delete(oid);
    }
  }
  return sorted;
}

/** A table's rows as the transaction sees them. */
export async function* copyOut(client: pg.ClientBase, table: TableShape): AsyncGenerator<Buffer> {
  const stream = client.query(copyTo(`copy (select ${columnList(table)} from ${quoted(table)}) to stdout`));
  // Who breaks off reads no longer when the connection ends, and an error that nobody listens to would end the process.
  stream.on('error', () => undefined);
  for await (const chunk of stream) yield chunk as Buffer;
}

export async function copyIn(client: pg.ClientBase, table: TableShape, rows: AsyncIterable<Buffer>): Promise<void> {
  await pipeline(
    Readable.from(rows, { objectMode: false }),
    client.query(copyFrom(`copy ${quoted(table)} (${columnList(table)}) from stdin`)),
  );
}

/** Nobody reads or writes them until the transaction ends. Waits for `ms` at most: who is inside may wait for one of the others. */
export async function lockTables(client: pg.ClientBase, tables: readonly TableShape[], ms: number): Promise<void> {
  await client.query(`set local lock_timeout = ${ms}`);
  await client.query(`lock table ${tables.map(quoted).join(', ')} in access exclusive mode`);
  await client.query('set local lock_timeout = 0');
}

export async function emptyAll(client: pg.ClientBase, tables: readonly TableShape[]): Promise<void> {
  await client.query(ownWrites);
  await client.query(`truncate ${tables.map(quoted).join(', ')}`);
}

export interface SequenceValue {
  readonly table: string;
  readonly column: string;
  readonly value: string;
}

/** Where the identities of the tables stand. Sequences know no snapshot: what is read is not below any id that a snapshot holds. */
export async function sequencesOf(client: pg.ClientBase, tables: readonly TableShape[]): Promise<SequenceValue[]> {
  const values: SequenceValue[] = [];
  for (const table of tables)
    for (const column of table.columns) {
      const { rows } = await client.query<{ sequence: string | null }>(
        'select pg_get_serial_sequence($1, $2) as sequence',
        [quoted(table), column.name],
      );
      if (rows[0]!.sequence === null) continue;
      const { rows: last } = await client.query<{ last_value: string }>(`select last_value from ${rows[0]!.sequence}`);
      values.push({ table: tableName(table), column: column.name, value: last[0]!.last_value });
    }
  return values;
}

/** Identities go on after the later of where they stand and where they stood: an id is never given twice. */
export async function advanceSequences(client: pg.ClientBase, values: readonly SequenceValue[]): Promise<void> {
  for (const { table, column, value } of values) {
    const [schema, own] = [table.slice(0, table.indexOf('.')), table.slice(table.indexOf('.') + 1)];
    const { rows } = await client.query<{ sequence: string | null }>(
      'select pg_get_serial_sequence($1, $2) as sequence',
      [quoted({ schema, table: own }), column],
    );
    const sequence = rows[0]!.sequence;
    if (sequence !== null)
      await client.query(`select setval($1, greatest($2::bigint, (select last_value from ${sequence})))`, [
        sequence,
        value,
      ]);
  }
}
