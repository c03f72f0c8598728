// A lane: its share of the keys, their changes in order, rows and position in one transaction.
import { ownVault } from '../../control/vault.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdsLane, takeLane } from '../../control/capture.ts';
import { takesWork } from '../../control/workers.ts';
import { TroubleNote } from '../../control/troubles.ts';
import type { KnownFailure } from '../../core/failures.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import { feedsOf, type ChangeSettings, type Feed } from '../apply.ts';
import { assertMarks } from '../identity.ts';
import { killPoint } from '../kill-points.ts';
import { inForce } from '../policy.ts';
import type { Resources } from '../resources.ts';
import { Arrivals } from './arrivals.ts';
import { applyPatiently } from './patiently.ts';
import { SourceClock } from './read.ts';
import { decodeChanges, capturedPlace } from './segment.ts';
import { Patience, type Slice, type SliceResult } from './slice.ts';

const eventsAtOnce = 1000;
/** Lanes meet where one removes a row that another's rows refer to. Who waits this long begins again, with less; fewer than these cost as much. */
const lockMs = 300;
const fewestAtOnce = 64;
/** A store that is busy for so long may be so with one document, which then waits alone. */
const tiredAfterMs = 5000;
const bytesAtOnce = 4 * 1024 * 1024;
/** A batch costs nearly the same for one event and for a hundred: a lane that has little to do waits for more, unless writers wait for it. */
const paceMs = 200;
/** How often is looked whether the targets outside PostgreSQL, which asks in each transaction, are still this migration's. */
export const marksMs = 2000;
export async function applyLane(
  resources: Resources,
  lane: number,
  settings: ChangeSettings,
  slice: Slice,
): Promise<SliceResult> {
  const clock = new SourceClock(resources);
  const epoch = await takeLane(resources.postgres, lane, resources.queues.process);
  if (epoch === undefined) return { ended: 'closed' };
  const feeds = new Map([...(await feedsOf(resources)).values()].map((feed) => [feed.collectionId, feed]));
  const patience = new Patience(slice, new TroubleNote(resources.postgres, `lane ${lane}`));
  const arrivals = Arrivals.of(resources.postgres);
  let most = eventsAtOnce;
  let current = settings;
  while (!slice.over()) {
    try {
      if (slice.every('policy', 2000)) current = await inForce(resources.postgres, settings);
      if (slice.every('marks', marksMs)) await assertMarks(resources, resources.owner);
      if (slice.every('share', 3000)) {
        const queue = await surplus(resources, lane);
        if (queue !== undefined) return { ended: 'handed-over', queue };
      }
      const started = performance.now();
      const tired = patience.failingMs > tiredAfterMs;
      const next = await applyNext(resources, { lane, epoch, feeds, settings: current, clock, tired }, most);
      if (next === 'superseded') return { ended: (await exists(resources, lane)) ? 'superseded' : 'closed' };
      const { events: applied, fenced } = next;
      if (applied > 0) killPoint('lane.after-commit');
      await patience.rewarded();
      most = Math.min(most * 2, eventsAtOnce);
      if (applied === 0) await arrivals.forLane(lane, epoch);
      else if (applied < eventsAtOnce / 4 && !fenced) await sleep(Math.max(0, started + paceMs - performance.now()));
    } catch (error) {
      await patience.after(error);
      // A store that was away says nothing about how much it can take.
      if ((error as KnownFailure).type === 'StoreBusy') most = Math.max(Math.floor(most / 4), fewestAtOnce);
    }
  }
  return { ended: 'slice' };
}

const exists = async (resources: Resources, lane: number): Promise<boolean> =>
  (
    await query(
      resources.postgres,
      'looking for the lane',
      'select 1 from migration_control.capture_position where lane = $1',
      [lane],
    )
  ).length > 0;

interface Lane {
  readonly lane: number;
  readonly epoch: number;
  readonly feeds: ReadonlyMap<number, Feed>;
  readonly settings: ChangeSettings;
  readonly clock: SourceClock;
  readonly tired: boolean;
}

interface SegmentRow {
  readonly segment: string;
  readonly last_version: string;
  readonly events: number;
  readonly last_wall: Date;
  readonly content: Buffer;
}

/** Applies what waits, up to a few megabytes. Returns how many events, and whether writers wait for them, or that another process has the lane. */
async function applyNext(
  resources: Resources,
  { lane, epoch, feeds, settings, clock, tired }: Lane,
  most: number,
): Promise<{ readonly events: number; readonly fenced: boolean } | 'superseded'> {
  return inTransaction(resources.postgres, `applying lane ${lane}`, async (client) => {
    if (!(await holdsLane(client, lane, epoch))) return 'superseded';
    await client.query(`set local lock_timeout = ${lockMs}`);
    const { rows } = await client.query<SegmentRow>(
      `select segment, last_version, events, last_wall, content from (
         select *, sum(octet_length(content)) over before as bytes_before, sum(events) over before as events_before from (
           select * from migration_control.captured where lane = $1 order by segment limit $2) next
         window before as (order by segment rows between unbounded preceding and 1 preceding)) sized
       where coalesce(bytes_before, 0) < ${bytesAtOnce} and coalesce(events_before, 0) < $2 order by segment`,
      [lane, most],
    );
    const last = rows.at(-1);
    if (!last) return { events: 0, fenced: false };
    const changes = rows.flatMap((row) =>
      decodeChanges(ownVault().openBytes(capturedPlace(lane, BigInt(row.segment)), row.content), feeds),
    );
    const totals = await applyPatiently(resources, client, changes, settings, { late: 'note', tired });
    killPoint('lane.before-position');
    // These and no others: whatever else may have come meanwhile has not been applied.
    await client.query('delete from migration_control.captured where lane = $1 and segment = any($2::bigint[])', [
      lane,
      rows.map((row) => row.segment),
    ]);
    const events = rows.reduce((sum, row) => sum + row.events, 0);
    const moved = await client.query<{ fenced: boolean }>(
      `update migration_control.capture_position set segment = $2, version = greatest(version, $3), events = events + $4, documents = documents + $5,
         stale = stale + $6, updated_at = clock_timestamp() where lane = $1
       returning exists (select 1 from migration_control.routing where fenced_until > clock_timestamp()) as fenced`,
      [lane, last.segment, last.last_version, events, totals.applied, totals.stale],
    );
    const lag = Math.max(0, Math.round((await clock.now()) - last.last_wall.getTime()));
    await client.query('insert into migration_control.capture_lag (lane, events, lag_ms) values ($1, $2, $3)', [
      lane,
      events,
      lag,
    ]);
    killPoint('lane.before-commit');
    return { events, fenced: moved.rows[0]!.fenced };
  });
}

/** A process that holds more lanes than its share gives its highest to the one with the fewest. Returns that one's queue. */
async function surplus(resources: Resources, lane: number): Promise<string | undefined> {
  const rows = await query<{ holder: string; lanes: string; highest: number | null }>(
    resources.postgres,
    'counting lanes',
    `select w.holder, count(p.lane) as lanes, max(p.lane) as highest from migration_control.capture_workers w
     left join migration_control.capture_position p using (holder)
     where ${takesWork} group by w.holder order by count(p.lane), w.holder`,
  );
  const mine = rows.find((row) => row.holder === resources.queues.process);
  const fewest = rows[0];
  if (!mine || !fewest || mine.highest !== lane || Number(mine.lanes) - Number(fewest.lanes) < 2) return undefined;
  return fewest.holder;
}
