// What stands in the stores now, for a command that looks on: neither a silent server nor a lock makes it wait.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { captureStatus, type CaptureStatus } from '../control/capture.ts';
import { clockOf } from '../stores/mongodb/changes.ts';
import { openMongo } from '../stores/mongodb/connection.ts';
import { openPool } from '../stores/postgres/connection.ts';
import { readAddresses } from './connect.ts';

/** For each store; `status` promises all of its parts within 5 s. */
export const lookMs = 2000;

/** Throws as the statement does; StoreUnreachable or StoreBusy where the time is over. */
export async function lookAtTarget<T>(look: (pool: pg.Pool) => Promise<T>): Promise<T> {
  const limits = { connectTimeoutMs: lookMs, statementTimeoutMs: lookMs };
  const pool = openPool((await readAddresses()).addresses.postgres, 1, limits);
  try {
    return await look(pool);
  } finally {
    await pool.end();
  }
}

/** Where change capture stands, from the tables it works on; undefined where there is none. */
export async function liveCapture(): Promise<CaptureStatus | undefined> {
  const { client, db } = openMongo((await readAddresses()).addresses.source, 'source', { selectionMs: lookMs });
  try {
    // A source that does not answer is what the state of capture is to tell.
    const silent = sleep(lookMs, undefined, { ref: false }).then(() => Date.now());
    const clock = await Promise.race([clockOf(db).catch(() => Date.now()), silent]);
    return await lookAtTarget((pool) => captureStatus(pool, clock));
  } finally {
    await client.close();
  }
}
