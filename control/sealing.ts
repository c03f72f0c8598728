// One migration, one key: which it is stands in the control schema, and whoever writes or reads documents must have it.
import { hostname } from 'node:os';
import { basename } from 'node:path';
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';
import { keptKeyFile } from './kept-key.ts';
import { keyVariable, ownVault, VaultError } from './vault.ts';

/** With the control schema: from now on it is this process's key. */
export const claimKey = (client: pg.ClientBase): Promise<unknown> =>
  query(
    client,
    'noting the key',
    'insert into migration_control.sealing (key, host) values ($1, $2) on conflict do nothing',
    [ownVault().textKey, hostname()],
  );

/** Databases of which this process has been seen to have the key, and which key that was. */
const seen = new WeakMap<pg.Pool, string>();

/** Throws VaultError where the migration in this database began with another key than this process has. Asks once. */
export async function requireKey(pool: pg.Pool): Promise<void> {
  const own = ownVault().textKey;
  if (seen.get(pool) === own) return;
  const [there] = await query<{ there: boolean }>(
    pool,
    'looking for the key',
    `select to_regclass('migration_control.sealing') is not null as there`,
  );
  const [row] = there!.there
    ? await query<{ key: string; host: string }>(
        pool,
        'looking for the key',
        'select key, host from migration_control.sealing',
      )
    : [];
  if (!row) return;
  if (row.key !== own)
    throw new VaultError(
      `This migration's documents are encrypted with key ${row.key} of host ${row.host}; ${process.env[keyVariable] ? `${keyVariable} on this host ends with` : `this host (${hostname()}) keeps`} key ${own}. Set ${keyVariable} here to the key of ${row.host}: what the variable is there, or else what its home keeps in ${basename(keptKeyFile())}.`,
    );
  seen.set(pool, own);
}
