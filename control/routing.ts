// What the migration and the application's routers agree on, and where traffic goes now.
import type pg from 'pg';
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
export const moveRoutes = `select pg_advisory_xact_lock(${routesLock})`;

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
  }>(
    on,
    'reading who routes',
    `select process, epochs, (extract(epoch from clock_timestamp() - seen_at) * 1000)::float8 as silent_ms, lease_ms, refresh_ms
     from migration_control.routers`,
  );
  return rows.map((row) => ({
    process: row.process,
    epochs: row.epochs,
    silentMs: row.silent_ms,
    leaseMs: row.lease_ms,
    refreshMs: row.refresh_ms,
  }));
}

/** Routers of processes that are long gone. */
export async function forgetRouters(on: pg.Pool | pg.ClientBase): Promise<void> {
  await query(
    on,
    'forgetting routers',
    `delete from migration_control.routers where seen_at < clock_timestamp() - make_interval(secs => lease_ms / 1000.0) - interval '1 hour'`,
  );
}
