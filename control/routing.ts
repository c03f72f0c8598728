// What the migration and the application's routers agree on, and where traffic goes now.
import type pg from 'pg';
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
