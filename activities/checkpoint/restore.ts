// A checkpoint put back: verified before anything is touched, then store by store under a mark that keeps writers out until all of it stands.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import {
  copyUnderWay,
  hasTable,
  knownSnapshots,
  unfinishedRestore,
  withoutWriters,
} from '../../control/checkpoints.ts';
import { currentGap } from '../../control/capture.ts';
import { authorityOf } from '../../control/lifecycle.ts';
import { holdRoutes, routingChannel } from '../../control/routing.ts';
import { refuseName, totalOf, type Manifest } from '../../core/checkpoints.ts';
import { KnownFailure } from '../../core/failures.ts';
import { refusalToRemove } from '../../core/lifecycle.ts';
import type { Route } from '../../core/state.ts';
import type { FileRecord } from '../../stores/files/snapshot.ts';
import { created } from '../../stores/postgres/created.ts';
import { postgresFailure, query } from '../../stores/postgres/connection.ts';
import { tableName, type TableShape } from '../../stores/postgres/snapshot.ts';
import { damaged, Snapshot } from '../../stores/snapshots/snapshot.ts';
import { assertMarks } from '../identity.ts';
import { recordAudit } from '../record.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { byStore, controlFiles, snapshotsFolder, versionsOf, type Created, type Say } from './create.ts';
import { presentTables, rehearseRows } from './rows.ts';

export interface RestoreOrder {
  readonly migration: string;
  readonly name: string;
  readonly snapshotDirectory: string;
}

export interface Verified {
  readonly name: string;
  readonly folder: string;
  readonly manifestSha256: string;
  readonly createdAt: string;
  readonly cut: Manifest['cut'];
  readonly stores: Created['stores'];
  readonly records: number;
  readonly bytes: number;
  /** Routing at the cut. */
  readonly routing: Manifest['routing'];
  /** Where the migration's workflow stood at the cut. */
  readonly workflow: { readonly phase: string; readonly state: string; readonly stage: number } | null;
  /** Writes had been given to the new system, at the cut or now. */
  readonly afterWriteCutover: boolean;
  /** A restore of it has begun before and goes on. */
  readonly unfinished: boolean;
  /** What is validated afterwards: the collections the migration had at the cut. */
  readonly collections: readonly string[];
}

const refused = (message: string) => new KnownFailure('CheckpointRefused', message);

/** Configuration files are few and small. */
export async function fileRecords(snapshot: Snapshot): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  for (const part of snapshot.parts('files'))
    for await (const lines of snapshot.records(part))
      for (const line of lines) records.push(JSON.parse(line.toString('utf8')) as FileRecord);
  return records;
}

/** Where the list says it lies, else where this worker keeps snapshots. */
async function open(resources: Resources, order: RestoreOrder): Promise<Snapshot> {
  const refusal = refuseName(order.name);
  if (refusal) throw refused(refusal);
  const own = join(snapshotsFolder(resources, order.snapshotDirectory, order.migration), order.name);
  const known = (await knownSnapshots(resources.postgres)).find((one) => one.name === order.name);
  for (const folder of new Set([known?.folder ?? own, own])) {
    const snapshot = await Snapshot.open(folder);
    if (snapshot) return snapshot;
  }
  if (known) throw damaged(known.folder, `this host does not have it; it was written by ${known.host}`);
  throw refused(`There is no checkpoint ${order.name} in ${own}. \`causeway checkpoint list\` shows those there are.`);
}

/** Everything that can be refused is refused here. Reads all of it, and replaces nothing. */
export async function verifySnapshot(resources: Resources, order: RestoreOrder, say: Say): Promise<Verified> {
  const snapshot = await open(resources, order);
  const { manifest, folder, sha256 } = snapshot;
  await refuseForeign(resources, manifest, order);
  await refuseOtherShape(resources, manifest);
  if (await copyUnderWay(resources.postgres))
    throw refused('A copy is under way: let it end, or abort the migration, before a checkpoint is restored.');
  await refuseMovedWrites(resources);
  await snapshot.verify(say);
  await refuseForeignFiles(resources, snapshot);
  await rehearseRows(resources, snapshot, say);
  const unfinished = await unfinishedRestore(resources.postgres);
  return {
    name: manifest.name,
    folder,
    manifestSha256: sha256,
    createdAt: manifest.createdAt,
    cut: manifest.cut,
    stores: byStore(manifest.parts),
    ...totalOf(manifest),
    routing: manifest.routing,
    workflow: workflowThen(manifest.workflow),
    afterWriteCutover: afterWriteCutover(manifest),
    unfinished: unfinished?.manifestSha256 === sha256,
    collections: Object.keys((manifest.workflow as { collections?: object } | null)?.collections ?? {}),
  };
}

/** What the new system was given since would be known to neither side. */
async function refuseMovedWrites({ postgres }: Resources): Promise<void> {
  const moved = await query<{ collection: string }>(
    postgres,
    'looking where writes go',
    `select collection from migration_control.routing where write_mode = 'new_system'`,
  );
  if (moved.length > 0)
    throw refused(
      `Writes of ${moved.map((row) => row.collection).join(', ')} are with the new system. Take them back first, so that none is lost: \`causeway rollback --to old\`; then restore.`,
    );
}

async function refuseForeignFiles(resources: Resources, snapshot: Snapshot): Promise<void> {
  const ours = new Set((await created(resources.postgres, 'files')).map((object) => object.name));
  const foreign = (await fileRecords(snapshot)).filter(({ path }) => !ours.has(path) && existsSync(path));
  if (foreign.length > 0)
    throw refused(
      `${foreign.map(({ path }) => path).join(', ')} was not written by this migration and is in the way. Move it.`,
    );
}

function workflowThen(workflow: unknown): Verified['workflow'] {
  const { phase, state, stage } = (workflow ?? {}) as { phase?: string; state?: string; stage?: number };
  return phase === undefined || state === undefined ? null : { phase, state, stage: stage ?? 0 };
}

async function refuseForeign(resources: Resources, manifest: Manifest, order: RestoreOrder): Promise<void> {
  if (manifest.migration !== order.migration || manifest.name !== order.name)
    throw refused(
      `The snapshot is of checkpoint ${manifest.name} of the migration ${manifest.migration}, not of ${order.name} of ${order.migration}.`,
    );
  const mappings = versionsOf(resources);
  const others = [...new Set([...Object.keys(mappings), ...Object.keys(manifest.mappings)])].filter(
    (one) => mappings[one] !== manifest.mappings[one],
  );
  if (others.length > 0)
    throw refused(
      `The snapshot was made with other mappings: ${others.map((one) => `${one} version ${manifest.mappings[one] ?? 'none'}, here ${mappings[one] ?? 'none'}`).join('; ')}. Run a worker with the mappings of then.`,
    );
}

async function refuseOtherShape(resources: Resources, manifest: Manifest): Promise<void> {
  if (!(await hasTable(resources.postgres, 'restores')))
    throw refused(
      'The control schema is not there, or older than this version: `causeway start --until schema` makes it.',
    );
  const files = await controlFiles(resources.postgres);
  if (files.join() !== manifest.controlSchema.join())
    throw refused(
      `The snapshot was made with another control schema (${manifest.controlSchema.at(-1)}, here ${files.at(-1)}). Restore it with the version of Causeway it was made with.`,
    );
  const here = new Map((await presentTables(resources.postgres)).map((table) => [tableName(table), table]));
  for (const part of manifest.parts.filter((one) => one.store === 'postgres')) {
    const table = here.get(part.name);
    here.delete(part.name);
    if (!table) throw refused(`The table ${part.name} is not there: \`causeway start --until schema\` makes it.`);
    const text = (columns: TableShape['columns'] = []) => columns.map(({ name, type }) => `${name} ${type}`).join(', ');
    if (text(table.columns) !== text(part.columns))
      throw refused(
        `The table ${part.name} has other columns than when the checkpoint was made: ${text(table.columns)}.`,
      );
  }
  if (here.size > 0)
    throw refused(`The snapshot knows nothing of ${[...here.keys()].join(', ')}, which came after it.`);
}

/** The writes of today are with the old system, else the restore was refused: it is the checkpoint that tells. */
const afterWriteCutover = (manifest: Manifest): boolean =>
  Object.values(manifest.routing).some((route) => route.writeMode === 'new_system');

/**
 * The mark, and traffic back to the old system, in one transaction that no writer overlaps: lanes, second writes and repairs that come later
 * are refused by `enter_stores`, routers by the epoch. Again, or for another checkpoint, the mark is only renewed.
 */
export async function beginRestore(resources: Resources, verified: Verified): Promise<Record<string, Route>> {
  const { result } = await withoutWriters(resources.postgres, 'beginning a restore', async (client) => {
    // Since it was verified a switch may have moved writes; none does from here on.
    await client.query(holdRoutes);
    const refusal = refusalToRemove(await authorityOf(client), 'What is in the targets');
    if (refusal !== undefined) throw refused(refusal);
    await client.query(
      `insert into migration_control.restores (checkpoint, manifest_sha256) values ($1, $2)
       on conflict (one) do update set checkpoint = excluded.checkpoint, manifest_sha256 = excluded.manifest_sha256`,
      [verified.name, verified.manifestSha256],
    );
    return backToOld(client, `restore of ${verified.name}`);
  });
  killPoint('restore.marked');
  return result;
}

/** Every collection, reads and writes, with an epoch above all it has had. */
async function backToOld(client: pg.ClientBase, reason: string): Promise<Record<string, Route>> {
  const { rows } = await client.query<{ collection: string; epoch: string }>(
    `update migration_control.routing set percentage = 0, write_mode = 'old', epoch = epoch + 1, updated_at = clock_timestamp() returning collection, epoch`,
  );
  const collections = rows.map((row) => row.collection);
  await client.query(`insert into migration_control.audit_log (action, detail) values ('route', $1)`, [
    JSON.stringify({ collections, percentage: 0, writeMode: 'old', reason }),
  ]);
  await client.query('select pg_notify($1, $2)', [routingChannel, JSON.stringify(collections)]);
  return Object.fromEntries(
    rows.map((row) => [row.collection, { percentage: 0, writeMode: 'old' as const, epoch: Number(row.epoch) }]),
  );
}

/**
 * One restore at a time, also where a worker thought dead is not: the lock ends with its connection. `work` is given what it may ask before it
 * replaces anything, to learn that it still holds.
 */
export async function whileRestoring<T>(
  resources: Resources,
  verified: Pick<Verified, 'folder' | 'manifestSha256'>,
  work: (snapshot: Snapshot, still: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const client = await resources.postgres.connect().catch((error: unknown) => {
    throw postgresFailure(error, 'connecting');
  });
  let broken: Error | undefined;
  try {
    const { rows } = await client.query<{ got: boolean }>(
      `select pg_try_advisory_lock(hashtext('causeway restore')) as got`,
    );
    if (!rows[0]!.got)
      throw new KnownFailure(
        'StoreBusy',
        'PostgreSQL, restoring: another worker is still at it, or its connection has not ended yet',
      );
    const still = async () => {
      const unfinished = await unfinishedRestore(client);
      if (unfinished?.manifestSha256 !== verified.manifestSha256)
        throw refused('The restore was ended, or another was begun.');
      await assertMarks(resources, resources.owner);
    };
    await still();
    const snapshot = await Snapshot.open(verified.folder);
    if (snapshot?.sha256 !== verified.manifestSha256)
      throw damaged(verified.folder, 'it is no longer what was verified');
    return await work(snapshot, still);
  } catch (error) {
    throw error instanceof TypeError || error instanceof RangeError ? error : postgresFailure(error, 'restoring');
  } finally {
    await client
      .query(`select pg_advisory_unlock(hashtext('causeway restore'))`)
      .catch((error: Error) => (broken = error));
    client.release(broken);
  }
}

export interface Finished {
  /** Where reads and writes go now: to the old system. */
  readonly routing: Record<string, Route>;
  /** A gap in change capture, which a repair has to close before the targets are complete. */
  readonly gap: string | null;
}

/** Everything stands: writers may come in again. */
export async function finishRestore(resources: Resources, verified: Verified): Promise<Finished> {
  await query(
    resources.postgres,
    'ending the restore',
    'delete from migration_control.restores where manifest_sha256 = $1',
    [verified.manifestSha256],
  );
  const { name, manifestSha256, cut, afterWriteCutover } = verified;
  await recordAudit(resources, 'checkpoint restored', { name, manifestSha256, cut, afterWriteCutover });
  const rows = await query<{ collection: string; epoch: string }>(
    resources.postgres,
    'reading the routing',
    'select collection, epoch from migration_control.routing order by collection',
  );
  return {
    routing: Object.fromEntries(
      rows.map((row) => [row.collection, { percentage: 0, writeMode: 'old', epoch: Number(row.epoch) }]),
    ),
    gap: (await currentGap(resources.postgres))?.detail ?? null,
  };
}
