// The control schema: numbered SQL files, each applied once, in order, under a lock.
import { readdir, readFile } from 'node:fs/promises';
import type pg from 'pg';
import { KnownFailure } from '../core/failures.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { hasTable } from './checkpoints.ts';
import { whileOldCounts } from './lifecycle.ts';
import { claimKey } from './sealing.ts';

const folder = new URL('./sql/', import.meta.url);

/**
 * Brings `migration_control` up to date and claims the database for `migration`. `also` is done in its transaction, and told whether the schema is
 * new. Returns the names of the files applied now.
 */
export async function makeControlSchema(
  pool: pg.Pool,
  migration: string,
  also: (client: pg.ClientBase, isNew: boolean) => Promise<void> = () => Promise.resolve(),
): Promise<string[]> {
  return inTransaction(pool, 'making the control schema', async (client) => {
    await client.query(lockSchema);
    await client.query('create schema if not exists migration_control');
    await client.query(
      'create table if not exists migration_control.schema_versions (file text primary key, applied_at timestamptz not null default now())',
    );
    const isNew = (await client.query('select 1 from migration_control.schema_versions limit 1')).rowCount === 0;
    const applied = await applyMissing(client);
    await claim(client, migration);
    await also(client, isNew);
    await claimKey(client);
    return applied;
  });
}

/** A migration under way gets what newer workers need. Nothing where there is none. Returns the names of the files applied now. */
export async function catchUpControlSchema(pool: pg.Pool): Promise<string[]> {
  return inTransaction(pool, 'bringing the control schema up to date', async (client) => {
    await client.query(lockSchema);
    const { rows } = await client.query<{ ours: boolean }>(
      `select to_regclass('migration_control.schema_versions') is not null and to_regclass('migration_control.migration') is not null as ours`,
    );
    return rows[0]!.ours ? applyMissing(client) : [];
  });
}

const lockSchema = `select pg_advisory_xact_lock(hashtext('causeway control schema'))`;

async function applyMissing(client: pg.ClientBase): Promise<string[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const { rows } = await client.query<{ file: string }>('select file from migration_control.schema_versions');
  const applied = new Set(rows.map((row) => row.file));
  const missing = files.filter((file) => !applied.has(file));
  for (const file of missing) {
    await client.query(await readFile(new URL(file, folder), 'utf8'));
    await client.query('insert into migration_control.schema_versions (file) values ($1)', [file]);
  }
  return missing;
}

async function claim(client: pg.ClientBase, migration: string): Promise<void> {
  const { rows } = await client.query<{ name: string }>('select name from migration_control.migration');
  if (rows.length === 0) await client.query('insert into migration_control.migration (name) values ($1)', [migration]);
  else if (rows[0]!.name !== migration) throw new KnownFailure('PreflightFailed', ownerMessage(rows[0]!.name));
}

const ownerMessage = (owner: string): string =>
  `The target database belongs to the migration "${owner}". Use \`--migration ${owner}\`, or give TARGET_POSTGRES_URL another database.`;

/** What stands in the target database's `migration_control`: nothing, this migration's schema, or somebody else's. Reads only. */
export async function controlSchemaOf(
  pool: pg.Pool | pg.ClientBase,
  migration: string,
): Promise<{ is: 'none' | 'ours' } | { is: 'foreign'; why: string }> {
  const [there] = await query<{ schema: boolean; table: boolean }>(
    pool,
    'looking for the control schema',
    `select to_regnamespace('migration_control') is not null as schema, to_regclass('migration_control.migration') is not null as table`,
  );
  if (!there!.schema) return { is: 'none' };
  if (!there!.table)
    return {
      is: 'foreign',
      why: 'The target database has a schema migration_control that Causeway did not make. Rename it, or use another database.',
    };
  const [owner] = await query<{ name: string }>(
    pool,
    'reading the owner',
    'select name from migration_control.migration',
  );
  return !owner || owner.name === migration ? { is: 'ours' } : { is: 'foreign', why: ownerMessage(owner.name) };
}

/**
 * Undoes a preparation, last of all: the control schema goes where a preparation has made it, else only its record of the migration. Throws
 * NewSystemAuthoritative, or CompensationFailed while something in the targets is known from the schema alone. `before` is done when it may go.
 */
export async function undoControlSchema(pool: pg.Pool, migration: string, before: () => Promise<void>): Promise<void> {
  if ((await controlSchemaOf(pool, migration)).is !== 'ours' || !(await hasTable(pool, 'lifecycle'))) return;
  await whileOldCounts(pool, 'The control schema', async (client) => {
    await client.query(lockSchema);
    const [row] = await query<{ made_schema: boolean }>(
      client,
      'asking who made the control schema',
      'select made_schema from migration_control.lifecycle',
    );
    // None: this migration has prepared nothing.
    if (!row) return;
    const objects = await query<{ name: string }>(
      client,
      'looking for what was made',
      'select name from migration_control.created_objects order by id',
    );
    if (objects.length > 0)
      throw new KnownFailure(
        'CompensationFailed',
        `The control schema is not removed: it alone knows that ${objects
          .map((one) => one.name)
          .slice(0, 5)
          .join(
            ', ',
          )} ${objects.length > 5 ? `and ${objects.length - 5} more ` : ''}were made by this migration. \`causeway rollback\` without --to removes them first.`,
      );
    if (row.made_schema) await before();
    await client.query(
      row.made_schema ? 'drop schema migration_control cascade' : 'delete from migration_control.lifecycle',
    );
  });
}
