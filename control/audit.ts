// The audit log: what was done to the migration and why, for people and for later.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';

/** In a transaction, where it is to stand or fall with what it tells of. */
export async function noteAudit(
  on: pg.Pool | pg.ClientBase,
  action: string,
  detail: Record<string, unknown>,
): Promise<void> {
  await query(on, 'writing the audit log', 'insert into migration_control.audit_log (action, detail) values ($1, $2)', [
    action,
    JSON.stringify(detail),
  ]);
}
