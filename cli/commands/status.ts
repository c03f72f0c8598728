// causeway status: where the migration stands, what it waits for, and which order answers it.
import { Command } from 'commander';
import { statusUnanswered } from '../../core/ended.ts';
import { nothingKnown } from '../../core/lifecycle.ts';
import { isOver, withCounts, type CollectionProgress, type Status } from '../../core/state.ts';
import { hasTable, unfinishedMessage, unfinishedRestore, type UnfinishedRestore } from '../../control/checkpoints.ts';
import type { CaptureStatus } from '../../control/capture.ts';
import { progressOf } from '../../control/progress.ts';
import { routesOf } from '../../control/routing.ts';
import { policiesOf, unarmedText, type Policy } from '../../stores/postgres/policies.ts';
import { captureRests, notRunning } from '../capture-state.ts';
import { readStatus, statusMs, withTemporal, type TemporalSession } from '../connect.ts';
import { knownNow } from '../ended.ts';
import { UnreachableError } from '../errors.ts';
import { failingActivities, failingText } from '../failing-activities.ts';
import { liveCapture, lookAtTarget, lookMs } from '../live.ts';
import { print, printJson } from '../output.ts';
import { statusText } from '../status-text.ts';
import { troublesOf } from '../troubles-text.ts';
import { common } from './orders.ts';

export const status = (): Command =>
  common(new Command('status').description('where the migration stands, and what it waits for')).action(
    (options: { migration: string; json?: boolean }) =>
      withTemporal(async (session) => {
        // Side by side: it is promised soon, also where the workflow's answer is waited for in vain.
        const [found, restore, failing, policies] = await Promise.all([
          statusWhole(session, options.migration),
          restoreNow(),
          session.client.withDeadline(Date.now() + lookMs, () => failingActivities(session.client, options.migration)),
          policiesNow(),
        ]);
        if (options.json)
          return printJson({ ...found, failing, ...(restore && { restore }), ...(policies && { policies }) });
        print(
          [statusText(found), failingText(failing), restore && unfinishedMessage(restore), unarmedText(policies)]
            .filter(Boolean)
            .join('\n\n'),
        );
      }),
  );

async function statusWhole(session: TemporalSession, name: string): Promise<Status> {
  const live = liveCapture().catch(() => undefined);
  const rests = captureRests(session, name);
  const told = await withLiveCounts(await withRoutingNow(await statusNow(session, name)));
  return withCapture(withPosition(told, await live), await rests);
}

/** Where no worker answers the database tells where the migration stood last, as far as it knows of one. */
async function statusNow(session: TemporalSession, name: string): Promise<Status> {
  const knowing = knownNow(name).catch(() => nothingKnown);
  return readStatus(session, name, statusMs).catch(async (error: unknown) => {
    if (!(error instanceof UnreachableError)) throw error;
    const known = await knowing;
    if (!known.standing) throw error;
    process.stderr.write(`${error.message} This is what was last written down.\n`);
    process.exitCode = 3;
    return statusUnanswered(name, known, known.standing);
  });
}

/** A restore that has begun and not ended; where PostgreSQL does not answer, nothing is known of one. */
const restoreNow = (): Promise<UnfinishedRestore | undefined> => lookAtTarget(unfinishedRestore).catch(() => undefined);

/** TimescaleDB's; undefined where there are none. */
const policiesNow = (): Promise<Policy[] | undefined> =>
  lookAtTarget(async (pool) => ((await hasTable(pool, 'created_objects')) ? policiesOf(pool) : undefined)).catch(
    () => undefined,
  );

/** The workflow hears of progress in steps; the batches in the target tell it to the document. Where they cannot be read, the steps do. */
export async function withLiveCounts(status: Status): Promise<Status> {
  if (status.phase !== 'data' || status.state !== 'running') return status;
  try {
    const rows = new Map((await lookAtTarget(progressOf)).map((row) => [row.collection, row]));
    const collections: Record<string, CollectionProgress> = {};
    for (const [name, its] of Object.entries(status.collections)) {
      const row = rows.get(name);
      collections[name] = row ? withCounts(its, row) : its;
    }
    return { ...status, collections };
  } catch {
    return status;
  }
}

/** Of one that has ended the workflow's word stands still, and a rollback or a restore moves traffic all the same. Nothing is routed without tables. */
export async function withRoutingNow(status: Status): Promise<Status> {
  if (!isOver(status.state)) return status;
  try {
    const routing = await lookAtTarget(async (pool) => ((await hasTable(pool, 'routing')) ? routesOf(pool) : {}));
    return { ...status, routing };
  } catch {
    process.stderr.write(
      'PostgreSQL does not answer: the routing shown is the one that the migration ended with, and may have changed since.\n',
    );
    return status;
  }
}

/** A position that nobody moves on is no trouble that the tables know of. */
function withCapture(status: Status, rests: boolean): Status {
  if (status.capture.position === null || status.state === 'aborted' || status.state === 'rolled-back') return status;
  if (!rests) return status;
  return { ...status, capture: { ...status.capture, troubles: [notRunning, ...(status.capture.troubles ?? [])] } };
}

/** The workflow hears once a minute where capture stands; the tables tell it now. Where they cannot be read, the workflow's word does. */
function withPosition(status: Status, live: CaptureStatus | undefined): Status {
  if (!live) return status;
  const gap = live.gap && { kind: live.gap.kind, detail: live.gap.detail };
  return { ...status, capture: { position: live.position, lagMs: live.lagMs, gap, troubles: troublesOf(live) } };
}
