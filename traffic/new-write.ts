// A write of the application to the new system, admitted in the transaction that commits it: once writes have moved away, none lands there.
import type pg from 'pg';
import { beginReadCommitted } from '../stores/postgres/connection.ts';

/**
 * Runs `work` in a transaction that holds the collection's route: moving the writes waits for it to end. Returns undefined, and has done
 * nothing, where the new system is not authoritative in this epoch. What `work` throws is thrown, and nothing of it is kept.
 */
export async function writeNew<R>(
  pool: pg.Pool,
  collection: string,
  epoch: number,
  work: (client: pg.ClientBase) => Promise<R>,
): Promise<{ readonly result: R } | undefined> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(beginReadCommitted);
    const { rows } = await client.query<{ admitted: boolean }>(
      'select migration_control.admit_write($1, $2) as admitted',
      [collection, epoch],
    );
    const result = rows[0]!.admitted ? { result: await work(client) } : undefined;
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch((lost: Error) => (broken = lost));
    throw error;
  } finally {
    client.release(broken);
  }
}
