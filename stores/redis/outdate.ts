// For repairs: keys taken away with what is remembered of their removal, so that they are written again, or stay away.
import { redis, type RedisConnection } from './connection.ts';
import { tombstoneKey } from './tombstone.ts';

/** Keys with their prefix. */
export async function dropKeys(connection: RedisConnection, keys: readonly string[]): Promise<void> {
  await redis('taking keys away', () =>
    Promise.all(keys.flatMap((key) => [connection.unlink(key), connection.unlink(tombstoneKey(key))])),
  );
}
