// What a PostgreSQL database says it is: the cluster's own number and the database's name, whatever address, user and password led to it.
import type pg from 'pg';
import { plainHost } from '../../core/store-address.ts';
import { readAddress } from '../address.ts';
import { query } from './connection.ts';

/** Survives restarts, other ports and failovers to a standby; a dump that is loaded elsewhere is another database. */
export async function postgresIdentity(pool: pg.Pool, url: string): Promise<string> {
  const [database] = await query<{ name: string; server: boolean }>(
    pool,
    'asking which database it is',
    `select current_database() as name, has_function_privilege('pg_control_system()', 'execute') as server`,
  );
  if (!database!.server) return `postgres ${addressed(url)}/${database!.name}`;
  const [server] = await query<{ id: string }>(
    pool,
    'asking which server it is',
    'select system_identifier::text as id from pg_control_system()',
  );
  return `postgres ${server!.id}/${database!.name}`;
}

/** Where the server does not say which it is. */
function addressed(url: string): string {
  const { hosts, options } = readAddress(url);
  const host = hosts[0] ?? { name: options.get('host') ?? 'localhost', port: undefined };
  return plainHost(host.name, host.port ?? options.get('port') ?? 5432);
}
