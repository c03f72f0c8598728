// What the migration and the application's routers agree on, and where traffic goes now.
import type pg from 'pg';
import { KnownFailure } from '../core/failures.ts';
import type { RouteRow, RouterRow } from '../core/routes.ts';
import type { Route, WriteMode } from '../core/state.ts';
import { query } from '../stores/postgres/connection.ts';

/** The channel that routers LISTEN on; its payload is a JSON array of the collections whose routing changed. */
export const routingChannel = 'causeway_routing';

/**
 * Whoever acts by a route holds this until its transaction ends; whoever moves writes takes it alone. An advisory lock, because it is fair: row
 * locks that are shared let newcomers in before one who waits to change the row. To be taken by a statement of its own, before the routing is read.
 */
const routesLock = `hashtext('causeway routes')`;
export const holdRoutes = `select pg_advisory_xact_lock_shared(${routesLock})`;

interface Taking {
  /** How long those who act by a route are waited for, ms. */
  readonly patienceMs: number;
  /** What it is where they take longer. */
  readonly as: 'StoreBusy' | 'SwitchRefused';
  /** In an emergency those who take longer are ended. */
  readonly end?: boolean;
}

/**
 * From here to the end of the transaction nobody acts by a route. Where somebody has and does not end, says who: whoever waits for the routes makes
 * all writers behind it wait, and so does not wait for long.
 */
export async function takeRoutes(client: pg.ClientBase, { patienceMs, as, end = false }: Taking): Promise<void> {
  for (let mayEnd = end; ; mayEnd = false) {
    await client.query(`set local lock_timeout = ${patienceMs}; savepoint taking_routes`);
    try {
      await client.query(`select pg_advisory_xact_lock(${routesLock})`);
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== lockNotAvailable) throw error;
    }
    await client.query('rollback to savepoint taking_routes');
    const holders = await holdersOfRoutes(client);
    if (!mayEnd) throw new KnownFailure(as, heldMessage(holders));
    await endHolders(client, holders);
  }
}

const lockNotAvailable = '55P03';

/** A transaction that acts by a route. What it runs is not read: a query may hold values. */
interface Holder {
  readonly pid: number;
  readonly application: string | null;
  readonly state: string | null;
  readonly seconds: number | null;
}

const holdersOfRoutes = (client: pg.ClientBase): Promise<Holder[]> =>
  query<{ [Key in keyof Holder]: Holder[Key] }>(
    client,
    'looking who holds the routes',
    `select l.pid, nullif(a.application_name, '') as application, a.state,
       extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.state_change))::float8 as seconds
     from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.pid <> pg_backend_pid()
       and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
       and l.classid = ((${routesLock}::bigint >> 32) & 4294967295)::oid and l.objid = (${routesLock}::bigint & 4294967295)::oid
     order by seconds desc nulls last`,
  );

/** How many are named: the message is to be read. */
const holdersMost = 5;

function heldMessage(holders: readonly Holder[]): string {
  const named = holders
    .slice(0, holdersMost)
    .map(
      ({ pid, application, state, seconds }) =>
        `pid ${pid} (${[application, state, seconds !== null && `in its transaction for ${Math.round(seconds)} s`].filter(Boolean).join(', ') || 'of another user'})`,
    );
  const who = named.length > 0 ? named.join('; ') : 'a transaction that has just ended';
  const more = holders.length > holdersMost ? ` and ${holders.length - holdersMost} more` : '';
  return `Transactions that act by the routes do not end: ${who}${more}. Nothing was moved. Let them end, or end them with pg_terminate_backend(pid); an immediate rollback does that itself.`;
}

async function endHolders(client: pg.ClientBase, holders: readonly Holder[]): Promise<void> {
  for (const { pid } of holders) {
    await client.query('savepoint ending');
    // Somebody else's may not be ours to end: the lock then is refused, and names it.
    await client
      .query('select pg_catalog.pg_terminate_backend($1)', [pid])
      .catch(() => client.query('rollback to savepoint ending'));
  }
}

/** Every collection's route. */
export async function routesOf(on: pg.Pool | pg.ClientBase): Promise<Record<string, Route>> {
  const rows = await query<{ collection: string; percentage: number; write_mode: WriteMode; epoch: string }>(
    on,
    'reading the routing',
    'select collection, percentage, write_mode, epoch from migration_control.routing order by collection',
  );
  return Object.fromEntries(
    rows.map((row) => [
      row.collection,
      { percentage: row.percentage, writeMode: row.write_mode, epoch: Number(row.epoch) },
    ]),
  );
}

/** Routes with what is left of their fences. To be read by who holds the routes' lock, in a statement after the one that took it. */
export async function routeRows(
  client: pg.ClientBase,
  collections: readonly string[],
): Promise<ReadonlyMap<string, RouteRow>> {
  const rows = await query<{ collection: string; write_mode: WriteMode; epoch: string; left_ms: number | null }>(
    client,
    'reading the routing',
    `select collection, write_mode, epoch, (extract(epoch from fenced_until - clock_timestamp()) * 1000)::float8 as left_ms
     from migration_control.routing where collection = any($1)`,
    [collections],
  );
  return new Map(
    rows.map((row) => [
      row.collection,
      { writeMode: row.write_mode, epoch: Number(row.epoch), fenceLeftMs: row.left_ms },
    ]),
  );
}

/** Every router that has not signed off, alive or not. */
export async function readRouters(on: pg.Pool | pg.ClientBase): Promise<RouterRow[]> {
  const rows = await query<{
    process: string;
    epochs: Record<string, number>;
    silent_ms: number;
    lease_ms: number;
    refresh_ms: number;
    write_ms: number;
  }>(
    on,
    'reading who routes',
    `select process, epochs, (extract(epoch from clock_timestamp() - seen_at) * 1000)::float8 as silent_ms, lease_ms, refresh_ms, write_ms
     from migration_control.routers`,
  );
  return rows.map((row) => ({
    process: row.process,
    epochs: row.epochs,
    silentMs: row.silent_ms,
    leaseMs: row.lease_ms,
    refreshMs: row.refresh_ms,
    writeMs: row.write_ms,
  }));
}

/** Routers of processes that are long gone. */
export async function forgetRouters(on: pg.Pool | pg.ClientBase): Promise<void> {
  await query(
    on,
    'forgetting routers',
    `delete from migration_control.routers where seen_at < clock_timestamp() - make_interval(secs => (lease_ms::float8 + write_ms) / 1000) - interval '1 hour'`,
  );
}
