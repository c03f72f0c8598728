// The tables of a snapshot put into the place of those that stand, and the same tried beforehand in a transaction that is rolled back.
import type pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { markStale } from '../../control/stale-files.ts';
import type { ManifestPart } from '../../core/checkpoints.ts';
import { KnownFailure } from '../../core/failures.ts';
import { inTransaction, name as quotedName, postgresFailure } from '../../stores/postgres/connection.ts';
import { created } from '../../stores/postgres/created.ts';
import {
  copyIn,
  copyOut,
  emptyAll,
  lockTables,
  quoted,
  settleText,
  tableName,
  tablesOf,
  type TableShape,
} from '../../stores/postgres/snapshot.ts';
import { withoutTriggers } from '../../stores/postgres/triggers.ts';
import { ContentDigest, Records } from '../../stores/snapshots/digest.ts';
import { damaged, type Snapshot } from '../../stores/snapshots/snapshot.ts';
import type { Resources } from '../resources.ts';
import type { Say } from './create.ts';

/** What was put back is not what was saved: a defect, or somebody writes where nobody may. */
export const differs = (what: string) =>
  new KnownFailure(
    'Defect',
    `${what} was put back and does not equal the manifest: somebody else writes to it, or its values do not survive the way there`,
  );

export async function presentTables(on: pg.Pool | pg.PoolClient): Promise<TableShape[]> {
  const targets = (await created(on, 'postgres')).filter((object) => object.kind === 'table');
  let client: pg.PoolClient | undefined;
  try {
    if ('totalCount' in on) client = await on.connect();
    return await tablesOf(
      client ?? (on as pg.PoolClient),
      targets.map((object) => object.name),
    );
  } catch (error) {
    throw postgresFailure(error, 'describing tables');
  } finally {
    client?.release();
  }
}

interface Replacing {
  /** Called once nobody else is inside the tables. */
  readonly locked: () => Promise<void>;
  readonly say: Say;
  /** Only the first rows of each, which are not compared: what the server refuses is refused for these already. */
  readonly sample?: boolean;
}

/** Every table of ours emptied and filled; routes, lanes and reader in an epoch that nobody has seen. To be called in a transaction. */
export async function replaceRows(
  resources: Resources,
  client: pg.PoolClient,
  snapshot: Snapshot,
  { locked, say, sample = false }: Replacing,
): Promise<void> {
  await settleText(client);
  const tables = await presentTables(client);
  await lockPatiently(client, tables);
  await locked();
  const before = await standing(client);
  await emptyAll(client, tables);
  for (const table of tables) {
    const part = snapshot.parts('postgres').find((one) => one.name === tableName(table));
    if (!part) throw damaged(snapshot.folder, `it has no ${tableName(table)}`);
    if (part.name === 'migration_control.ledger') await makePartitions(client);
    say(sample ? `trying to put ${part.name} back` : `${part.name}: ${part.records} rows`);
    const rows = sample ? firstRows(snapshot, part, await refers(client, table)) : snapshot.read(part);
    await withoutTriggers(client, quoted(table), () => copyIn(client, table, rows));
    if (!sample) await compareTable(client, table, part);
  }
  await fence(client, before, withFiles(resources));
}

/** Of a table that refers to others none: the rows it refers to may not be among the first. */
async function* firstRows(snapshot: Snapshot, part: ManifestPart, refersToOthers: boolean): AsyncGenerator<Buffer> {
  if (refersToOthers) return;
  for await (const rows of snapshot.records(part)) {
    yield* rows;
    return;
  }
}

async function refers(client: pg.ClientBase, table: TableShape): Promise<boolean> {
  const { rowCount } = await client.query(
    `select 1 from pg_constraint where conrelid = $1::regclass and contype = 'f' limit 1`,
    [quoted(table)],
  );
  return rowCount !== 0;
}

/** What is no word on the restore itself: asked again, the server may answer otherwise. */
const passing: ReadonlySet<string> = new Set(['StoreBusy', 'StoreUnreachable', 'AuthenticationFailed', 'DiskFull']);

/**
 * In a transaction that is rolled back. Sequences are left out: what is done to them would stay. Readers and writers wait for its end, a second or
 * two.
 */
export async function rehearseRows(resources: Resources, snapshot: Snapshot, say: Say): Promise<void> {
  let went = false;
  try {
    await inTransaction(resources.postgres, 'trying the restore', async (client) => {
      await replaceRows(resources, client, snapshot, { locked: async () => undefined, say, sample: true });
      went = true;
      throw new Error('rolled back');
    });
  } catch (error) {
    if (went) return;
    if (!(error instanceof KnownFailure) || passing.has(error.type) || error.type.startsWith('Checkpoint')) throw error;
    throw new KnownFailure(
      'CheckpointRefused',
      `The target database does not take its tables back, tried with their first rows: ${error.message}. Nothing was changed. Remove what is in the way, then send the order again.`,
    );
  }
}

/** Readers and lanes lock the same tables in another order: who waits long gives way, and asks again. */
async function lockPatiently(client: pg.ClientBase, tables: readonly TableShape[]): Promise<void> {
  for (let tries = 1; ; tries++) {
    await client.query('savepoint locks');
    try {
      return await lockTables(client, tables, 500);
    } catch (error) {
      if (tries === 60) throw error;
      await client.query('rollback to savepoint locks');
      await sleep(200 + Math.random() * 300);
    }
  }
}

async function compareTable(client: pg.ClientBase, table: TableShape, part: ManifestPart): Promise<void> {
  const digest = new ContentDigest();
  const records = new Records('lines');
  for await (const chunk of copyOut(client, table)) for (const row of records.of(chunk)) digest.add(row);
  if (digest.hex !== part.digest) throw differs(part.name);
}

/** Partitions are no rows: a collection that was enrolled then has one, also where it was dropped since. */
async function makePartitions(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ id: number }>('select id from migration_control.collections');
  for (const { id } of rows)
    await client.query(
      `create table if not exists migration_control.${quotedName(`ledger_${id}`)} partition of migration_control.ledger for values in (${id})`,
    );
}

interface Standing {
  readonly epochs: { readonly collection: string; readonly epoch: string }[];
  readonly stream: string;
  readonly lanes: string;
  readonly gap: Record<string, unknown> | undefined;
}

/** What must not go back: epochs, because somebody may still hold one, and a gap that no restore closes. */
async function standing(client: pg.ClientBase): Promise<Standing> {
  const { rows: epochs } = await client.query<{ collection: string; epoch: string }>(
    'select collection, epoch from migration_control.routing',
  );
  const { rows } = await client.query<{ stream: string; lanes: string }>(
    `select (select coalesce(max(epoch), 0) from migration_control.capture_stream) as stream,
            (select coalesce(max(epoch), 0) from migration_control.capture_position) as lanes`,
  );
  const { rows: gaps } = await client.query<{ gap: Record<string, unknown> }>(
    'select to_jsonb(g) as gap from migration_control.capture_gaps g where closed_at is null',
  );
  return { epochs, ...rows[0]!, gap: gaps[0]?.gap };
}

/**
 * Reader and lanes find another epoch and begin again at the positions restored; routers find the old system, in an epoch they have not
 * seen. Configuration files are rendered again from their table when housekeeping goes on.
 */
async function fence(client: pg.ClientBase, before: Standing, rendered: readonly string[]): Promise<void> {
  await client.query(
    'update migration_control.capture_stream set epoch = greatest(epoch, $1) + 1, holder = null, seen_at = null',
    [before.stream],
  );
  await client.query('update migration_control.capture_position set epoch = greatest(epoch, $1) + 1, holder = null', [
    before.lanes,
  ]);
  await client.query(
    `insert into migration_control.routing as r (collection, percentage, write_mode, epoch)
     select collection, 0, 'old', epoch from unnest($1::text[], $2::bigint[]) as b(collection, epoch)
     on conflict (collection) do update set epoch = greatest(r.epoch, excluded.epoch)`,
    [before.epochs.map((one) => one.collection), before.epochs.map((one) => one.epoch)],
  );
  await client.query(
    `update migration_control.routing set percentage = 0, write_mode = 'old', epoch = epoch + 1, updated_at = clock_timestamp()`,
  );
  const { rows: kept } = await client.query<{ mapping: string }>(
    'select distinct mapping from migration_control.collections where mapping = any($1)',
    [rendered],
  );
  await markStale(
    client,
    kept.map((row) => row.mapping),
  );
  if (before.gap)
    await client.query(
      `insert into migration_control.capture_gaps (kind, collection, detail, from_version, opened_at)
       select g.kind, g.collection, g.detail, g.from_version, g.opened_at from jsonb_populate_record(null::migration_control.capture_gaps, $1) g
       on conflict ((true)) where closed_at is null do nothing`,
      [JSON.stringify(before.gap)],
    );
}

/** Mappings whose configuration files are rendered from a table. */
const withFiles = ({ mappings }: Resources): string[] =>
  [...mappings.values()]
    .filter((mapping) => mapping.targets.some((target) => target.store === 'files'))
    .map((mapping) => mapping.collection);
