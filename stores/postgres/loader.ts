// Loading a segment: rows, ledger, quarantine and the batch's own row in one transaction; the newest version of a document wins.
import type pg from 'pg';
import { KnownFailure } from '../../core/failures.ts';
import { inTransaction, name } from './connection.ts';
import { columnsOf } from './copy.ts';
import { applyImages, type Applied, type Images } from './apply.ts';
import { errorColumns, ledgerColumns, unresolvedColumns } from './ledger.ts';
import { copy, childrenInsert, stageTable } from './stage.ts';

export interface Batch {
  readonly batchId: string;
  readonly collection: string;
  readonly collectionId: number;
  readonly chunk: number;
  readonly segment: number;
  readonly afterId: string | null;
  readonly lastId: string | null;
  readonly endsChunk: boolean;
  readonly documents: number;
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
  readonly bytes: number;
  readonly version: bigint;
  readonly startedAt: Date;
  readonly attempt: number;
  readonly runId: string;
}

/** What belongs into the batch's transaction and is not PostgreSQL's affair. */
export interface Around {
  /** Before anything. */
  readonly enter?: (client: pg.ClientBase) => Promise<unknown>;
  /** Before the commit, where not everything was new: what follows from it in other stores. */
  readonly outside?: (applied: Applied, client: pg.ClientBase) => Promise<void>;
  /** Before the commit. */
  readonly leave?: (client: pg.ClientBase) => Promise<unknown>;
}

const uniqueViolation = '23505';

/**
 * Loads once: a batch whose row is there already changes nothing. Without live writers everything is new in almost every batch, so rows go
 * straight into their tables; when one key is already there, the batch is loaded again through staging tables, where versions are compared.
 * Returns the number of stale documents, or undefined when the batch had been loaded before.
 */
export async function loadSegment(
  pool: pg.Pool,
  batch: Batch,
  rows: Images,
  around: Around = {},
): Promise<number | undefined> {
  return inTransaction(pool, `loading batch ${batch.batchId}`, async (client) => {
    await around.enter?.(client);
    if (!(await claimBatch(client, batch))) return undefined;
    const children = rows.tables.some((table) => table.target.child);
    await client.query('savepoint straight');
    try {
      await copy(client, `migration_control.${name(`ledger_${rows.collectionId}`)}`, ledgerColumns, rows.ledger);
      for (const { target, rows: text } of rows.tables.filter((table) => !table.target.child))
        if (text) await copy(client, name(target.name), columnsOf(target), text);
      if (rows.errors) await copy(client, 'migration_control.migration_errors', errorColumns, rows.errors);
      if (rows.unresolved) await copy(client, 'migration_control.unresolved', unresolvedColumns, rows.unresolved);
      if (children) await copyChildren(client, rows);
      await around.leave?.(client);
      await finishBatch(client, batch, 0);
      return 0;
    } catch (error) {
      if ((error as pg.DatabaseError).code !== uniqueViolation) throw error;
      await client.query('rollback to savepoint straight');
    }
    const applied = await applyImages(client, rows, { forgetElections: false }).catch((error: pg.DatabaseError) => {
      // Another writer took a unique value after this one had looked; tried again, it is seen.
      if (error.code === uniqueViolation) throw new KnownFailure('StoreBusy', 'unique values are changing hands');
      throw error;
    });
    await around.outside?.(applied, client);
    await around.leave?.(client);
    await finishBatch(client, batch, applied.stale.length);
    return applied.stale.length;
  });
}

/** How a batch ended whose documents went in one by one. */
export interface OneByOne {
  readonly quarantined: number;
  readonly stale: number;
}

/** The same batch, where it cannot be loaded as a whole: `work` applies its documents in the batch's transaction. undefined: it had been loaded. */
export async function loadOneByOne(
  pool: pg.Pool,
  batch: Batch,
  { enter, leave }: Pick<Around, 'enter' | 'leave'>,
  work: (client: pg.ClientBase) => Promise<OneByOne>,
): Promise<OneByOne | undefined> {
  return inTransaction(pool, `loading batch ${batch.batchId}`, async (client) => {
    await enter?.(client);
    if (!(await claimBatch(client, batch))) return undefined;
    const done = await work(client);
    await leave?.(client);
    await client.query(
      'update migration_control.migration_batches set loaded = documents - skipped - $2, quarantined = $2 where batch_id = $1',
      [batch.batchId, done.quarantined],
    );
    await finishBatch(client, batch, done.stale);
    return done;
  });
}

async function finishBatch(client: pg.ClientBase, batch: Batch, stale: number): Promise<void> {
  await client.query(
    'update migration_control.migration_batches set stale = $2, finished_at = clock_timestamp() where batch_id = $1',
    [batch.batchId, stale],
  );
}

async function claimBatch(client: pg.ClientBase, batch: Batch): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into migration_control.migration_batches (batch_id, collection, collection_id, chunk, segment, after_id, last_id, ends_chunk, status,
       documents, loaded, quarantined, skipped, bytes, version, started_at, attempt, run_id)
     values ($1, $2, $3, $4, $5, $6, $7, $8, 'loaded', $9, $10, $11, $12, $13, $14, $15, $16, $17) on conflict do nothing`,
    [
      batch.batchId,
      batch.collection,
      batch.collectionId,
      batch.chunk,
      batch.segment,
      batch.afterId,
      batch.lastId,
      batch.endsChunk,
      batch.documents,
      batch.loaded,
      batch.quarantined,
      batch.skipped,
      batch.bytes,
      batch.version.toString(),
      batch.startedAt,
      batch.attempt,
      batch.runId,
    ],
  );
  return rowCount === 1;
}

/** Children get their parent's id by its source id. */
async function copyChildren(client: pg.ClientBase, rows: Images): Promise<void> {
  for (const { target, rows: text } of rows.tables.filter((table) => table.target.child)) {
    const stage = await stageTable(client, target);
    if (text) await copy(client, stage, columnsOf(target), text);
    await client.query(childrenInsert(target, stage));
  }
}
