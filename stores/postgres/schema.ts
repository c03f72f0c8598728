// Makes and removes the tables that mappings declare. Every statement's object is recorded in created_objects in the same transaction.
import type pg from 'pg';
import { KnownFailure } from '../../core/failures.ts';
import { inTransaction, literal, name, query } from './connection.ts';
import { created, existing, forget, remember } from './created.ts';
import { derivedStatements } from './derived.ts';
import { uniqueSets, type Column, type TableTarget } from './target.ts';
import { hypertableStatements } from './timescale.ts';

/** Whether TimescaleDB can be used. Its files alone are not enough: a server that has not loaded it at its start refuses the extension. */
export const hasTimescale = async (pool: pg.Pool): Promise<boolean> => (await timescaleOf(pool)) === 'loaded';

export async function timescaleOf(pool: pg.Pool): Promise<'loaded' | 'installed' | 'none'> {
  const [found] = await query<{ extension: boolean; files: boolean; loaded: boolean }>(
    pool,
    'looking for TimescaleDB',
    `select exists (select from pg_extension where extname = 'timescaledb') as extension,
       exists (select from pg_available_extensions where name = 'timescaledb') as files,
       exists (select from pg_settings where name like 'timescaledb.%') as loaded`,
  );
  const { extension, files, loaded } = found!;
  return extension || (files && loaded) ? 'loaded' : files ? 'installed' : 'none';
}

/** Tables, views and partitions of `public` that this migration did not make. Extensions' own objects do not count. */
export async function foreignTables(pool: pg.Pool): Promise<string[]> {
  const rows = await query<{ relname: string }>(
    pool,
    'listing tables',
    `select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
       and not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e') order by 1`,
  );
  const ours = new Set((await created(pool, 'postgres')).map((object) => object.name));
  return rows.map((row) => row.relname).filter((table) => !ours.has(table));
}

/** Makes what is missing; leaves alone what this migration made before. Throws PreflightFailed on a table that is not ours. */
export async function makeTables(
  pool: pg.Pool,
  targets: readonly TableTarget[],
  months: readonly Date[],
): Promise<string[]> {
  const timescale = await hasTimescale(pool);
  return inTransaction(pool, 'making tables', async (client) => {
    const made: string[] = [];
    for (const target of parentsFirst(targets)) {
      const there = await existing(client, 'postgres', 'table', target.name);
      if (there === 'ours') continue;
      if (there === 'foreign') throw new KnownFailure('PreflightFailed', foreignMessage(target.name));
      for (const { kind, object, sql } of statements(target, timescale, months)) {
        await client.query(sql);
        if (object) await remember(client, 'schema', 'postgres', kind, object);
      }
      made.push(target.name);
    }
    return made;
  });
}

export const foreignMessage = (table: string): string =>
  `The target database already holds a table "${table}" that this migration did not make. Rename or move it, or give TARGET_POSTGRES_URL another database.`;

/** Drops exactly the tables and views recorded as made by the schema phase, newest first. Running it again finds nothing to do. */
export async function dropTables(pool: pg.Pool): Promise<string[]> {
  return inTransaction(pool, 'dropping tables', async (client) => {
    const objects = (await created(client, 'postgres')).filter((object) => object.phase === 'schema').reverse();
    for (const { kind, name: object } of objects) {
      await client.query(
        `drop ${kind === 'continuous aggregate' ? 'materialized view' : kind} if exists ${name(object)} cascade`,
      );
      await forget(client, 'postgres', kind, object);
    }
    return objects.map((object) => object.name);
  });
}

/** Empties the tables this migration made, in one statement, identities restarted. */
export async function emptyTables(client: pg.ClientBase): Promise<void> {
  const tables = (await created(client, 'postgres'))
    .filter((object) => object.kind === 'table')
    .map((object) => name(object.name));
  if (tables.length > 0) await client.query(`truncate ${tables.join(', ')} restart identity`);
}

interface Statement {
  readonly kind: string;
  readonly object?: string;
  readonly sql: string;
}

function* statements(target: TableTarget, timescale: boolean, months: readonly Date[]): Generator<Statement> {
  const partitioned = target.time !== undefined && !timescale;
  const definitions = [
    ...keyColumns(target),
    ...Object.entries(target.columns).map(([column, its]) => columnDefinition(column, its)),
    primaryKey(target),
  ];
  // Not deferrable, or ON CONFLICT could not name them; how values change hands nevertheless: see handing-over.ts.
  for (const columns of uniqueSets(target)) definitions.push(`unique (${columns.map(name).join(', ')})`);
  const partition = partitioned ? ` partition by range (${name(target.time!)})` : '';
  yield {
    kind: 'table',
    object: target.name,
    sql: `create table ${name(target.name)} (${definitions.join(', ')})${partition}`,
  };
  yield* derivedStatements(target);
  if (target.time && timescale) yield* hypertableStatements(target);
  if (partitioned) yield* partitions(target, months);
  for (const columns of target.indexes ?? [])
    yield { kind: 'index', sql: `create index on ${name(target.name)} (${columns.map(indexColumn).join(', ')})` };
  if (target.lifecycle?.daily && !timescale) yield dailyView(target, target.lifecycle.daily);
}

function* keyColumns(target: TableTarget): Generator<string> {
  yield 'id bigint generated by default as identity';
  if (target.child)
    yield `${name(target.child.column)} bigint not null references ${name(target.child.of)} (id) on delete cascade`;
  else yield 'source_id text collate "C" not null';
}

const columnDefinition = (column: string, its: Column): string =>
  `${name(column)} ${its.type}${its.notNull ? ' not null' : ''}`;

/** A unique key of a table partitioned by time must hold the time column; a document's rows are found by its id first. */
function primaryKey(target: TableTarget): string {
  if (target.time) return `primary key (source_id, ${name(target.time)})`;
  if (target.child)
    return `primary key (id), unique (${[target.child.column, ...target.child.unique].map(name).join(', ')})`;
  return 'primary key (id), unique (source_id)';
}

function* partitions(target: TableTarget, months: readonly Date[]): Generator<Statement> {
  yield {
    kind: 'partition',
    sql: `create table ${name(`${target.name}_other`)} partition of ${name(target.name)} default`,
  };
  for (const month of months) {
    const next = new Date(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 1));
    const suffix = month.toISOString().slice(0, 7).replace('-', '_');
    yield {
      kind: 'partition',
      sql: `create table ${name(`${target.name}_${suffix}`)} partition of ${name(target.name)} for values from (${literal(month.toISOString())}) to (${literal(next.toISOString())})`,
    };
  }
}

/** The months to partition for: from `before` months ago to `after` months ahead; rows outside land in the default partition. */
export function monthsAround(now: Date, before: number, after: number): Date[] {
  return Array.from(
    { length: before + after + 1 },
    (_, i) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - before + i, 1)),
  );
}

function indexColumn(column: string): string {
  const [plain, direction] = column.split(' ');
  return `${name(plain!)}${direction ? ` ${direction}` : ''}`;
}

type Daily = NonNullable<NonNullable<TableTarget['lifecycle']>['daily']>;

/** Without TimescaleDB the daily aggregate is a plain view: same columns, computed when asked. */
function dailyView(target: TableTarget, daily: Daily): Statement {
  const day = `(${name(target.time!)} at time zone ${literal(daily.zone)})::date`;
  const by = daily.by.map(name).join(', ');
  const sums = daily.sums.map((column) => `sum(${name(column)}) as ${name(column)}`).join(', ');
  return {
    kind: 'view',
    object: daily.view,
    sql: `create view ${name(daily.view)} as select ${day} as day, ${by}, count(*) as rows, ${sums} from ${name(target.name)} group by day, ${by}`,
  };
}

const parentsFirst = (targets: readonly TableTarget[]): TableTarget[] => [
  ...targets.filter((target) => !target.child),
  ...targets.filter((target) => target.child),
];
