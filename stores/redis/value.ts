// What stands under a key, read without believing that it is ours.
import type { RedisConnection } from './connection.ts';
import { guardField } from './script.ts';

/** Whether we have written it: also where it is no JSON any more. */
export const isMarked = (value: string): boolean => value.includes(`"${guardField}":{"s":`);

/** null: there is no such key. A key of another type holds no text: empty. */
export async function textOf(connection: RedisConnection, key: string): Promise<string | null> {
  try {
    return await connection.get(key);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return '';
    throw error;
  }
}
