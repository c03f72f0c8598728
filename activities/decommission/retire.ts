// The old collections under another name, closed; then, if asked for, what only served the migration. Nothing is dropped that holds documents.
import type pg from 'pg';
import { KnownFailure } from '../../core/failures.ts';
import { noteAudit } from '../../control/audit.ts';
import { closeCapture } from '../../control/capture.ts';
import { hasTable } from '../../control/checkpoints.ts';
import { whileNewCounts } from '../../control/lifecycle.ts';
import { closeCollection, holdName, isClosed, isHeldName, validationOf } from '../../stores/mongodb/close.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { guardOf } from '../../stores/mongodb/guards.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { inTransaction, name } from '../../stores/postgres/connection.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import { reorderingChunks } from '../../stores/postgres/timescale.ts';
import { assertMarks, unmarkTargets } from '../identity.ts';
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
  const { postgres } = resources;
  await whileNewCounts(postgres, 'beginning the decommission', async (client) => {
    // From here on nothing goes back by itself, however far this comes.
    await noteAudit(client, 'decommission begun', { snapshot: saved.folder, manifestSha256: saved.manifestSha256 });
    await closeCapture(postgres);
  });
  await disarmReverse(resources, { ofNewSystem: true });
  return whileNewCounts(postgres, 'renaming the old collections', () => rename(resources, saved));
}

async function rename(resources: Resources, saved: Saved): Promise<string[]> {
  const { postgres, source } = resources;
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
    // Asked again, the name is held already: not every server takes that twice.
    const isHeld = isHeldName(await validationOf(source.db, collection));
    const hold = () => unlessDenied(holdName(source.db, collection), () => notClosed.push(collection));
    const late = isHeld ? 0 : ((await hold()) ?? 0);
    if (late > 0) written[collection] = late;
    // Some servers lose a collection's options in a rename.
    if (!isClosed(await validationOf(source.db, to)))
      await unlessDenied(closeCollection(source.db, to), () => notClosed.push(to));
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

/** What the user may not close is told, and the rest goes on. */
async function unlessDenied<T>(work: Promise<T>, denied: () => void): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof KnownFailure && error.type === 'PermissionDenied')) throw error;
    denied();
    return undefined;
  }
}

/**
 * On request, last of all: the documents' old ids in the tables, the guards beside collections, and the control schema with ledger, quarantine
 * and audit log. Rows keep their own ids. Safe to repeat.
 */
export async function removeServing(resources: Resources): Promise<string[]> {
  const { postgres } = resources;
  if (!(await hasTable(postgres, 'routing'))) return [];
  return whileNewCounts(postgres, 'removing what served the migration', async (client) => {
    if (!(await wasRetired(client)))
      throw new KnownFailure(
        'DecommissionRefused',
        'The old system has not been taken out of use: nothing was removed.',
      );
    return [...(await removeAll(resources, client)), 'migration_control'];
  });
}

async function removeAll(resources: Resources, client: pg.ClientBase): Promise<string[]> {
  const { mongodb, mappings } = resources;
  await assertMarks(resources, resources.owner);
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
  await client.query('drop schema migration_control cascade');
  return removed;
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
