// What the migration and the application's routers agree on.

/** The channel that routers LISTEN on; its payload is a JSON array of the collections whose routing changed. */
export const routingChannel = 'causeway_routing';
