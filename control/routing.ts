// What the migration and the application's routers agree on.

/** The channel that routers LISTEN on; its payload is a JSON array of the collections whose routing changed. */
export const routingChannel = 'causeway_routing';

/**
 * Whoever acts by a route holds this until its transaction ends; whoever moves writes takes it alone. An advisory lock, because it is fair: row
 * locks that are shared let newcomers in before one who waits to change the row. To be taken by a statement of its own, before the routing is read.
 */
const routesLock = `hashtext('causeway routes')`;
export const holdRoutes = `select pg_advisory_xact_lock_shared(${routesLock})`;
export const moveRoutes = `select pg_advisory_xact_lock(${routesLock})`;
