// Before writes may move, the other side has everything: changes of the old system in the targets, or those of the new one noted and brought back.
import { setTimeout as sleep } from 'node:timers/promises';
import { readReverse } from '../../control/reverse.ts';
import { KnownFailure } from '../../core/failures.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { clusterTimeOf } from '../../stores/mongodb/source.ts';
import { writeBackGuard } from '../../stores/mongodb/write-back.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import { feedsOf } from '../apply.ts';
import { comingTogether } from '../capture/caught-up.ts';
import { markFiles } from '../mark-files.ts';
import type { Resources } from '../resources.ts';
import { pause, type Fence } from './fence.ts';

const pollMs = 5;

/**
 * Whoever has to do something behind the fence lives. One that has just died is missed after seconds only, by those who wait for it; a lane that has
 * nothing to do is waited for by nobody. To be called before the fence, followed by `drainForward`, which waits for the files that are marked here.
 */
export async function awaitWorkers(resources: Resources, fence: Pick<Fence, 'until'>): Promise<void> {
  const { postgres } = resources;
  const all = new Set([...(await feedsOf(resources)).values()].map((feed) => feed.mapping.collection));
  const [now] = await query<{ at: string }>(postgres, 'reading the clock', 'select clock_timestamp()::text as at');
  await inTransaction(postgres, 'asking for the files', (client) => markFiles(client, resources, all));
  for (;;) {
    const silent = await query<{ lane: number }>(
      postgres,
      'looking who serves the lanes',
      `select lane from migration_control.capture_position p where not exists (
         select 1 from migration_control.capture_workers w where w.holder = p.holder and w.seen_at > $1::timestamptz) order by lane`,
      [now!.at],
    );
    if (silent.length === 0) return;
    await pause(fence, `no worker serves lane ${silent.map((row) => row.lane).join(', ')} of change capture`, 100);
  }
}

/** Everything written to the old system before now stands in the targets. */
export async function drainForward(resources: Resources, fence: Pick<Fence, 'until'>): Promise<void> {
  const { db } = resources.source;
  const written = (await clusterTimeOf(db)).toString();
  await nudge(db);
  const isCaughtUp = comingTogether(resources, written);
  while (!(await isCaughtUp())) await pause(fence, 'change capture did not come to the fence; look at its lag');
}

/** Everything the new system's MongoDB holds is noted in the outbox. */
export async function drainTargetStream(resources: Resources, fence: Pick<Fence, 'until'>): Promise<void> {
  const { db } = resources.mongodb;
  if ((await readReverse(resources.postgres))?.token === null) return;
  const written = await clusterTimeOf(db);
  await nudge(db);
  while (((await readReverse(resources.postgres))?.streamVersion ?? written) < written)
    await pause(fence, 'the changes of the target MongoDB were not read up to the fence');
}

/** A change stream tells where it stands when something happens; waiting until it says so by itself would be most of the pause. */
const nudge = (db: Resources['source']['db']): Promise<unknown> =>
  mongo('marking the fence', () =>
    db
      .collection<{ _id: string }>(writeBackGuard)
      .updateOne({ _id: 'fence' }, { $inc: { n: 1 } }, { upsert: true, bypassDocumentValidation: true }),
  );

/**
 * The old system has what the new one had noted for `collections` when this was called, and of what came since all but `left` changes. Throws
 * SwitchRefused after `until` (`performance.now()`).
 */
export async function drainBack(
  { postgres }: Resources,
  collections: readonly string[],
  until: number,
  left: number,
): Promise<void> {
  const [before] = await query<{ last: string }>(
    postgres,
    'looking how far the way back has to come',
    'select coalesce(max(id), 0) as last from migration_control.outbox where mapping = any($1)',
    [collections],
  );
  for (;;) {
    const [row] = await query<{ waiting: string; first: string | null }>(
      postgres,
      'waiting for the way back',
      'select count(*) as waiting, min(id) as first from migration_control.outbox where mapping = any($1)',
      [collections],
    );
    if (Number(row!.waiting) <= left && !(row!.first !== null && BigInt(row!.first) <= BigInt(before!.last))) return;
    if (performance.now() > until)
      throw new KnownFailure(
        'SwitchRefused',
        `${row!.waiting} changes of the new system are not in the old one yet; look at the reverse sync. Writes stay in the new system.`,
      );
    await sleep(pollMs);
  }
}

/** What an emergency leaves behind, to be brought back once both sides were compared. Returns how many documents. */
export async function markLeftover({ postgres }: Resources, collections: readonly string[]): Promise<number> {
  const rows = await query<{ source_id: string }>(
    postgres,
    'marking what is left',
    'update migration_control.outbox set leftover = true where mapping = any($1) returning source_id',
    [collections],
  );
  return new Set(rows.map((row) => row.source_id)).size;
}

/**
 * What the target MongoDB was given before now is a leftover when it is read. Without an answer from it: up to a minute from now, by another
 * clock; a leftover too many is compared, and found to be as it should.
 */
export async function markUnread({ postgres, mongodb }: Resources): Promise<void> {
  const now = await clusterTimeOf(mongodb.db).catch(() => BigInt(Math.ceil(Date.now() / 1000) + 60) << 32n);
  await query(
    postgres,
    'marking what was not read',
    'update migration_control.reverse_position set leftover_version = greatest(leftover_version, $1)',
    [now.toString()],
  );
}
