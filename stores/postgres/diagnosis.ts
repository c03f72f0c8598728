// Why a statement is slow: the indexes that stand, its plan, and who holds the lock it waits for.
import type pg from 'pg';
import { name, query } from './connection.ts';

export interface StandingIndex {
  readonly table: string;
  /** As mappings write them: a column, with ` desc` where it descends. */
  readonly keys: readonly string[];
  readonly valid: boolean;
}

/** Indexes of tables, constraints' own included; of a partitioned table the ones that hold for all partitions. */
export async function indexesOf(on: pg.Pool | pg.ClientBase, tables: readonly string[]): Promise<StandingIndex[]> {
  return query<{ table: string; keys: string[]; valid: boolean }>(
    on,
    'looking up indexes',
    `select c.relname as table, i.indisvalid and i.indisready as valid,
            (select array_agg(coalesce(a.attname, '(expression)') || case when i.indoption[k.n - 1] & 1 = 1 then ' desc' else '' end order by k.n)
             from unnest(i.indkey) with ordinality k(attnum, n) left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
             where k.n <= i.indnkeyatts) as keys
     from pg_index i join pg_class c on c.oid = i.indrelid
     where i.indrelid = any(select to_regclass(t) from unnest($1::text[]) t) and i.indpred is null`,
    [tables.map(name)],
  );
}

const turned = (key: string): string => (key.endsWith(' desc') ? key.slice(0, -5) : `${key} desc`);

/** An index serves where its first columns are the ones asked for, in their directions or all in the opposite ones. */
export const serves = (index: StandingIndex, keys: readonly string[]): boolean =>
  keys.every((key, i) => index.keys[i] === key) || keys.every((key, i) => index.keys[i] === turned(key));

export interface Scan {
  readonly node: string;
  readonly relation: string;
  readonly index: string | null;
  readonly rows: number;
}

export interface Plan {
  readonly executionMs: number | null;
  readonly scans: readonly Scan[];
  readonly buffers: { readonly hit: number; readonly read: number };
  /** EXPLAIN's own JSON, values taken out. */
  readonly plan: unknown;
}

type Node = Record<string, unknown> & { Plans?: Node[] };

/** EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) in a transaction that may not write. The client's statement_timeout bounds it. */
export async function explain(client: pg.ClientBase, sql: string, values: readonly unknown[]): Promise<Plan> {
  await client.query('begin read only');
  try {
    const rows = await query<{ 'QUERY PLAN': { Plan: Node; 'Execution Time'?: number }[] }>(
      client,
      'explaining a query',
      `explain (analyze, buffers, format json) ${sql}`,
      [...values],
    );
    const [root] = rows[0]!['QUERY PLAN'];
    return {
      executionMs: root!['Execution Time'] ?? null,
      scans: scansOf(root!.Plan),
      buffers: {
        hit: Number(root!.Plan['Shared Hit Blocks'] ?? 0),
        read: Number(root!.Plan['Shared Read Blocks'] ?? 0),
      },
      plan: withoutValues(root),
    };
  } finally {
    await client.query('rollback').catch(() => undefined);
  }
}

function scansOf(node: Node): Scan[] {
  const relation = node['Relation Name'];
  const own =
    typeof relation === 'string' && Number(node['Actual Loops'] ?? 1) > 0
      ? [
          {
            node: String(node['Node Type']),
            relation,
            index: (node['Index Name'] as string | undefined) ?? null,
            rows: Math.round(
              (Number(node['Actual Rows'] ?? 0) + Number(node['Rows Removed by Filter'] ?? 0)) *
                Number(node['Actual Loops'] ?? 1),
            ),
          },
        ]
      : [];
  return [...own, ...(node.Plans ?? []).flatMap(scansOf)];
}

/** Conditions quote the values that were asked for: texts and numbers in them become `?`. */
export function withoutValues(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((inner) => withoutValues(inner, key));
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([inner, its]) => [inner, withoutValues(its, inner)]));
  if (typeof value !== 'string' || !/Cond|Filter|Key|Output|Call/.test(key)) return value;
  return value.replace(/'(?:[^']|'')*'/g, '?').replace(/(?<![\w$."])-?\d+(\.\d+)?(?![\w"])/g, '?');
}

export interface Blocker {
  readonly pid: number;
  readonly relation: string | null;
  /** The lock it holds there, and the one that is waited for. */
  readonly holds: readonly string[];
  readonly wanted: string | null;
  readonly application: string;
  readonly state: string | null;
  /** When its transaction began. */
  readonly since: string | null;
  /** The first word of what it last ran; no more, for statements hold values. */
  readonly command: string | null;
}

/** Who keeps the backend `pid` waiting. To be asked on another connection, while it waits. */
export async function blockersOf(on: pg.Pool | pg.ClientBase, pid: number): Promise<Blocker[]> {
  const rows = await query<Omit<Blocker, 'since'> & { since: Date | null }>(
    on,
    'looking for locks',
    `with waits as (select relation, mode, locktype from pg_locks where pid = $1 and not granted limit 1)
     select b.pid, (select relation::regclass::text from waits) as relation, (select mode from waits) as wanted,
            coalesce((select array_agg(distinct l.mode) from pg_locks l where l.pid = b.pid and l.granted and l.relation = (select relation from waits)), '{}') as holds,
            coalesce(a.application_name, '') as application, a.state, a.xact_start as since, upper(substring(a.query from '^\\s*(\\w+)')) as command
     from unnest(pg_blocking_pids($1)) b(pid) left join pg_stat_activity a on a.pid = b.pid`,
    [pid],
  );
  return rows.map((row) => ({ ...row, since: row.since?.toISOString() ?? null }));
}
