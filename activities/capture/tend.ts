// What keeps the targets complete beside the lanes: documents to be read again, references, configuration files, old figures.
import { setTimeout as sleep } from 'node:timers/promises';
import { takeAbandoned } from '../../control/announced-keys.ts';
import { appliedVersion, readStream } from '../../control/capture.ts';
import { enterStores } from '../../control/checkpoints.ts';
import { forgetVersions } from '../../control/lineage.ts';
import { movedOf } from '../../control/reverse.ts';
import { forgetRouters } from '../../control/routing.ts';
import { staleNow, unmark } from '../../control/stale-files.ts';
import { TroubleNote } from '../../control/troubles.ts';
import { versionOfRead } from '../../core/guard.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import { retireKeys } from '../../stores/redis/loader.ts';
import { feedsOf, type ChangeSettings } from '../apply.ts';
import { inForce } from '../policy.ts';
import { assertMarks } from '../identity.ts';
import type { Resources } from '../resources.ts';
import { renderCollection } from '../targets.ts';
import { clearGuards } from '../reverse/arm.ts';
import { settleClosings } from '../reverse/closing.ts';
import { marksMs } from './lane.ts';
import { atOnce, findDue, findLostKeys, parentsOf, redoDue } from './redo.ts';
import { Patience, type Slice, type SliceResult } from './slice.ts';

export interface TendSettings extends ChangeSettings {
  readonly clashSeconds: number;
  readonly configurationDirectory: string;
}

/** Runs beside the lanes; two of it at once do the same work twice and nothing wrong. */
export async function tendTargets(resources: Resources, settings: TendSettings, slice: Slice): Promise<SliceResult> {
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  const patience = new Patience(slice, new TroubleNote(resources.postgres, 'housekeeping'));
  let current = settings;
  while (!slice.over()) {
    try {
      if (slice.every('open', 2000) && !(await readStream(resources.postgres))) return { ended: 'closed' };
      if (slice.every('policy', 2000)) current = await inForce(resources.postgres, settings);
      if (slice.every('marks', marksMs)) await assertMarks(resources, resources.owner);
      const redone = await redoDue(resources, feeds, current, current.clashSeconds);
      if (slice.every('due', 1000)) await findDue(resources.postgres, feeds, parentsOf(resources, feeds));
      // Each that has lost is read and refused once more: not as often.
      if (slice.every('lost keys', 3000)) await findLostKeys(resources.postgres, feeds);
      if (slice.every('abandoned', 2000)) await removeAbandoned(resources);
      if (slice.every('closed', 500)) await settleClosings(resources);
      if (slice.every('guards', 30_000)) await clearGuards(resources);
      // Writers wait for it when writes move.
      if (slice.every('files', 200)) await renderStale(resources, settings.configurationDirectory);
      if (slice.every('prune', 60_000)) await prune(resources);
      await patience.rewarded();
      // A few at a time cost nearly as much as many.
      if (redone < atOnce) await sleep(150);
    } catch (error) {
      await patience.after(error);
    }
  }
  return { ended: 'slice' };
}

/** An attempt of the copy that broke off may have set keys of sessions that have ended, or were renamed or deleted, since it read them. */
export async function removeAbandoned({ postgres, redis, mappings }: Resources): Promise<void> {
  const applied = await appliedVersion(postgres);
  await inTransaction(postgres, 'removing keys of batches that broke off', async (client) => {
    await enterStores(client);
    // Where the new system has the writes, what stands in Redis is its own.
    if ((await movedOf(client, [...mappings.keys()])).size > 0) return;
    const keys = await takeAbandoned(client, applied);
    const removals = keys.map(({ version, ...key }) => ({ ...key, version: versionOfRead(version) }));
    if (removals.length > 0) await retireKeys(redis, removals, 'ledger');
  });
}

/** The mark goes last: a worker that dies before leaves it to the next. */
export async function renderStale(resources: Resources, directory: string): Promise<void> {
  for (const stale of await staleNow(resources.postgres)) {
    await renderCollection(resources, stale.collection, directory);
    await unmark(resources.postgres, stale);
  }
}

async function prune(resources: Resources): Promise<void> {
  await query(
    resources.postgres,
    'forgetting old figures',
    `delete from migration_control.capture_lag where at < clock_timestamp() - interval '1 day'`,
  );
  await query(
    resources.postgres,
    'forgetting workers',
    `delete from migration_control.capture_workers where seen_at < clock_timestamp() - interval '1 hour'`,
  );
  await forgetRouters(resources.postgres);
  await forgetVersions(resources.postgres);
}
