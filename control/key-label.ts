// What stands for a key of Redis wherever people or tables see one: a session's id lets whoever reads it pass for the session.
import { ownVault } from './vault.ts';

/** `session:#` and 32 hex digits: the same key has the same label, and only who has the migration's key can tell which it is. */
export function labelOf(key: string): string {
  const [prefix = ''] = /^[A-Za-z][A-Za-z0-9_-]{0,30}:/.exec(key) ?? [];
  return `${prefix}#${ownVault().fingerprint('redis key', key)}`;
}
