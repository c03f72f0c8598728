// The words a mapping may use for Redis: keys() with their prefix. Redis never is the only home of a value.
import type { Target } from '../store.ts';

/** Keys `prefix + key`, each one JSON string with a TTL. `durable` names the table of the same mapping that keeps every value for good. */
export interface KeysTarget extends Target {
  readonly store: 'redis';
  readonly prefix: string;
  readonly durable: string;
}

/** One key. `expiresAt`: milliseconds since the epoch; a key whose time has passed is not written. `rank` orders two documents that claim one key. */
export interface KeyRow {
  readonly key: string;
  readonly value: Record<string, unknown>;
  readonly expiresAt: number;
  readonly rank: string;
}

/** How Causeway's own keys begin: what no prefix may begin with, nor be the beginning of. */
export const reservedBeginnings = ['{causeway:', 'causeway:'] as const;

export const keys = (name: string, options: Omit<KeysTarget, 'store' | 'name'>): KeysTarget => ({
  store: 'redis',
  name,
  ...options,
});
