// The old collections under another name, closed; then, if asked for, what only served the migration. Nothing is dropped that holds documents.
import { KnownFailure } from '../../core/failures.ts';
import { closeCapture } from '../../control/capture.ts';
import { closeCollection, holdName, isClosed, validationOf } from '../../stores/mongodb/close.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { guardOf } from '../../stores/mongodb/loader.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { inTransaction, name, query } from '../../stores/postgres/connection.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { reorderingChunks } from '../../stores/postgres/timescale.ts';
import { unmarkTargets } from '../identity.ts';
import { enrolledIn } from '../outside.ts';
import { recordAudit } from '../record.ts';
import type { Resources } from '../resources.ts';
import { disarmReverse, patienceMs } from '../reverse/arm.ts';
import { oldCollections, retiredName, wasRetired } from './ready.ts';
import type { Saved } from './save.ts';

/**
 * Renamed, and closed to writers; an empty closed collection holds the old name, so that a forgotten writer is refused instead of served. Safe to repeat.
 * Capture and the way back have ended: there is nothing left that they could read or write.
 */
export async function retireOld(resources: Resources, saved: Saved): Promise<string[]> {
  const { postgres, source } = resources;
  // From here on nothing goes back by itself, however far this comes.
  await recordAudit(resources, 'decommission begun', { snapshot: saved.folder, manifestSha256: saved.manifestSha256 });
  await closeCapture(postgres);
  await disarmReverse(resources, { ofNewSystem: true });
  const there = new Set(await collectionNames(source.db));
  const unretired = new Set(await oldCollections(resources));
  const complete = await wasRetired(postgres);
  const retired: string[] = [];
  const notClosed: string[] = [];
  /** Documents that somebody wrote under an old name in the moment between. */
  const written: Record<string, number> = {};
  for (const { source: collection } of await enrolledIn(postgres)) {
    const to = retiredName(collection);
    if (unretired.has(collection)) {
      // Put back since; or made by a writer between the rename and the next step, by which we died.
      if (there.has(to) && complete) continue;
      if (!there.has(to)) await mongo(`renaming ${collection}`, () => source.db.collection(collection).rename(to));
    } else if (!there.has(to)) continue;
    const late = await holdName(source.db, collection).catch((error: unknown) => {
      if (!(error instanceof KnownFailure && error.type === 'PermissionDenied')) throw error;
      notClosed.push(collection);
      return 0;
    });
    if (late > 0) written[collection] = late;
    // Some servers lose a collection's options in a rename.
    if (!isClosed(await validationOf(source.db, to)))
      await closeCollection(source.db, to).catch((error: unknown) => {
        if (!(error instanceof KnownFailure && error.type === 'PermissionDenied')) throw error;
        notClosed.push(to);
      });
    retired.push(to);
  }
  await recordAudit(resources, 'decommissioned', {
    snapshot: saved.folder,
    manifestSha256: saved.manifestSha256,
    retired,
    notClosed,
    written,
  });
  return retired;
}

/**
 * On request, last of all: the documents' old ids in the tables, the guards beside collections, and the control schema with ledger, quarantine
 * and audit log. Rows keep their own ids. Safe to repeat.
 */
export async function removeServing(resources: Resources): Promise<string[]> {
  const { postgres, mongodb, mappings } = resources;
  const removed: string[] = [];
  for (const mapping of mappings.values())
    for (const target of mapping.targets) {
      if (target.store === 'postgres' && !(target as TableTarget).child) {
        if (await dropSourceId(resources, target as TableTarget)) removed.push(`${target.name}.source_id`);
      } else if (target.store === 'mongodb') {
        const guard = guardOf((target as CollectionTarget).name);
        if ((await collectionNames(mongodb.db)).includes(guard)) {
          await mongo(`dropping ${guard}`, () => mongodb.db.collection(guard).drop());
          removed.push(guard);
        }
      }
    }
  await unmarkTargets(resources, resources.owner);
  await query(postgres, 'dropping the control schema', 'drop schema if exists migration_control cascade');
  return [...removed, 'migration_control'];
}

/** The identity column becomes the primary key; with the time column where the table is partitioned by it. */
export async function dropSourceId({ postgres }: Pick<Resources, 'postgres'>, target: TableTarget): Promise<boolean> {
  return inTransaction(postgres, `removing source_id from ${target.name}`, async (client) => {
    const { rowCount } = await client.query(
      `select 1 from information_schema.columns where table_schema = 'public' and table_name = $1 and column_name = 'source_id'`,
      [target.name],
    );
    if (rowCount === 0) return false;
    await client.query(`set local lock_timeout = ${patienceMs}`);
    const table = name(target.name);
    await reorderingChunks(client, target, 'id', async () => {
      await client.query(`alter table ${table} drop column source_id cascade`);
      if (target.time) await client.query(`alter table ${table} add primary key (id, ${name(target.time)})`);
    });
    return true;
  });
}
