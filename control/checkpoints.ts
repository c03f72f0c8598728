// The barrier that all writers pass, the mark of a restore that has not ended, and the list of snapshots, in SQL.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { KnownFailure } from '../core/failures.ts';
import { beginReadCommitted, postgresFailure, query } from '../stores/postgres/connection.ts';

/**
 * To be called in every transaction that writes to several stores, before it does: until it ends, no checkpoint is cut. Waits while one
 * is being cut; fails with StoreBusy while a restore is under way.
 */
export async function enterStores(client: pg.ClientBase): Promise<void> {
  await client.query('select migration_control.enter_stores()');
}

/**
 * Who waits longer for writers gives way to them and asks again, because behind it they all stand. Each time it waits longer: on a slow
 * machine no transaction may ever be as short as the first wait.
 */
const waitMs = { first: 250, factor: 1.5, most: 5000 };
const patienceMs = 120_000;

/**
 * Runs `work` in a transaction while no writer is inside the stores. `barrierMs`: from when the first writer may have been kept waiting to
 * when none was; attempts that gave way are not in it.
 */
export async function withoutWriters<T>(
  pool: pg.Pool,
  doing: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<{ result: T; barrierMs: number }> {
  const until = performance.now() + patienceMs;
  for (let wait = waitMs.first; ; wait = Math.min(wait * waitMs.factor, waitMs.most)) {
    const client = await pool.connect().catch((error: unknown) => {
      throw postgresFailure(error, doing);
    });
    let broken: Error | undefined;
    try {
      await client.query(beginReadCommitted);
      await client.query(`set local lock_timeout = ${Math.round(wait)}`);
      const asked = performance.now();
      if (await locks(client)) {
        const result = await work(client);
        await client.query('commit');
        return { result, barrierMs: performance.now() - asked };
      }
      await client.query('rollback');
    } catch (error) {
      await client.query('rollback').catch((lost: Error) => (broken = lost));
      throw postgresFailure(error, doing);
    } finally {
      client.release(broken);
    }
    if (performance.now() > until)
      throw new KnownFailure(
        'StoreBusy',
        `PostgreSQL, ${doing}: for ${patienceMs / 1000} s there was always a writer inside the stores`,
      );
    await sleep(100 + Math.random() * 300);
  }
}

async function locks(client: pg.ClientBase): Promise<boolean> {
  try {
    await client.query(`select pg_advisory_xact_lock(hashtext('causeway stores'))`);
    return true;
  } catch (error) {
    if (['55P03', '40P01'].includes((error as pg.DatabaseError).code ?? '')) return false;
    throw error;
  }
}

export interface UnfinishedRestore {
  readonly checkpoint: string;
  readonly manifestSha256: string;
  readonly startedAt: string;
}

/** undefined: none has begun, or it has ended, or there is no control schema. */
export async function unfinishedRestore(on: pg.Pool | pg.ClientBase): Promise<UnfinishedRestore | undefined> {
  if (!(await hasTable(on, 'restores'))) return undefined;
  const [row] = await query<{ checkpoint: string; manifest_sha256: string; started_at: Date }>(
    on,
    'looking for an unfinished restore',
    'select checkpoint, manifest_sha256, started_at from migration_control.restores',
  );
  return (
    row && {
      checkpoint: row.checkpoint,
      manifestSha256: row.manifest_sha256,
      startedAt: row.started_at.toISOString(),
    }
  );
}

export const unfinishedMessage = ({ checkpoint, startedAt }: UnfinishedRestore): string =>
  `The restore of checkpoint ${checkpoint}, begun at ${startedAt}, has not ended: the targets are not whole. Send \`causeway checkpoint restore ${checkpoint} --yes\` again; it goes on.`;

export async function hasTable(on: pg.Pool | pg.ClientBase, table: string): Promise<boolean> {
  const [row] = await query<{ there: boolean }>(
    on,
    `looking for ${table}`,
    'select to_regclass($1) is not null as there',
    [`migration_control.${table}`],
  );
  return row!.there;
}

export interface KnownSnapshot {
  readonly name: string;
  readonly createdAt: string;
  readonly host: string;
  readonly folder: string;
  readonly manifestSha256: string;
  readonly records: number;
  readonly bytes: number;
  readonly barrierMs: number;
}

export async function rememberSnapshot(on: pg.Pool | pg.ClientBase, snapshot: KnownSnapshot): Promise<void> {
  const { name, createdAt, host, folder, manifestSha256, records, bytes, barrierMs } = snapshot;
  await query(
    on,
    'noting the snapshot',
    `insert into migration_control.snapshots (name, created_at, host, folder, manifest_sha256, records, bytes, barrier_ms)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (name) do update set created_at = excluded.created_at, host = excluded.host,
       folder = excluded.folder, manifest_sha256 = excluded.manifest_sha256, records = excluded.records, bytes = excluded.bytes, barrier_ms = excluded.barrier_ms`,
    [name, createdAt, host, folder, manifestSha256, records, bytes, barrierMs],
  );
}

/** Oldest first; none where the control schema is older than snapshots. */
export async function knownSnapshots(on: pg.Pool | pg.ClientBase): Promise<KnownSnapshot[]> {
  if (!(await hasTable(on, 'snapshots'))) return [];
  const rows = await query<{
    name: string;
    created_at: Date;
    host: string;
    folder: string;
    manifest_sha256: string;
    records: string;
    bytes: string;
    barrier_ms: number;
  }>(on, 'reading snapshots', 'select * from migration_control.snapshots order by created_at, name');
  return rows.map((row) => ({
    name: row.name,
    createdAt: row.created_at.toISOString(),
    host: row.host,
    folder: row.folder,
    manifestSha256: row.manifest_sha256,
    records: Number(row.records),
    bytes: Number(row.bytes),
    barrierMs: row.barrier_ms,
  }));
}

/** Whether a chunk of a plan has no last batch: then the tables are between two states, and no capture would bring the rest. */
export async function copyUnderWay(on: pg.Pool | pg.ClientBase): Promise<boolean> {
  const [row] = await query<{ open: boolean }>(
    on,
    'looking for a copy under way',
    `select exists (select 1 from migration_control.chunks c where not exists (
       select 1 from migration_control.migration_batches b where b.collection_id = c.collection_id and b.chunk = c.chunk and b.ends_chunk)) as open`,
  );
  return row!.open;
}
