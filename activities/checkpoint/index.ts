// The steps of checkpoints as Temporal knows them. Their heartbeats say what is being done, for whoever watches.
import { Context } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import { readStream } from '../../control/capture.ts';
import { catchingUp } from '../capture/caught-up.ts';
import { nowAtSource } from '../settled.ts';
import { classified } from '../failing.ts';
import type { Resources } from '../resources.ts';
import { createSnapshot, type CreateOrder, type Say } from './create.ts';
import { restoreDocuments, restoreFiles, restoreKeys, restoreRows } from './put-back.ts';
import { beginRestore, finishRestore, verifySnapshot, type RestoreOrder, type Verified } from './restore.ts';

/** Runs `work`; its last word goes with every heartbeat. */
async function telling<T>(work: (say: Say) => Promise<T>): Promise<T> {
  const context = Context.current();
  let word = '';
  const timer = setInterval(() => context.heartbeat(word), 1000);
  try {
    return await work((what) => {
      // Cancelled, or given to another worker: what goes on here would only be in its way.
      context.cancellationSignal.throwIfAborted();
      word = what;
    });
  } finally {
    clearInterval(timer);
  }
}

export type CatchUp = 'caught-up' | 'not-captured' | 'behind';

/** Waits as long as capture comes nearer to what the source holds now. */
async function catchUp(resources: Resources, say: Say): Promise<CatchUp> {
  const isCaughtUp = catchingUp(resources, await nowAtSource(resources));
  let before = '';
  const until = Date.now() + mostMs;
  for (let since = Date.now(); Date.now() < Math.min(since + patienceMs, until); await sleep(200)) {
    if (await isCaughtUp()) return 'caught-up';
    const stream = await readStream(resources.postgres);
    if (!stream) return 'not-captured';
    const now = `${stream.version} ${stream.nextSegment}`;
    say(`capture is at ${stream.version >> 32n}.${stream.version & 0xffffffffn}`);
    if (now !== before) since = Date.now();
    before = now;
  }
  return 'behind';
}

const patienceMs = 30_000;
const mostMs = 30 * 60_000;

export function checkpointActivities(resources: Resources) {
  const told = { beats: false };
  return classified(
    {
      createSnapshot: (order: CreateOrder) => telling((say) => createSnapshot(resources, order, say)),
      verifySnapshot: (order: RestoreOrder) => telling((say) => verifySnapshot(resources, order, say)),
      beginRestore: (verified: Verified) => telling(() => beginRestore(resources, verified)),
      restoreDocuments: (verified: Verified) => telling((say) => restoreDocuments(resources, verified, say)),
      restoreKeys: (verified: Verified) => telling((say) => restoreKeys(resources, verified, say)),
      restoreFiles: (verified: Verified) => telling(() => restoreFiles(resources, verified)),
      restoreRows: (verified: Verified) => telling((say) => restoreRows(resources, verified, say)),
      finishRestore: (verified: Verified) => telling(() => finishRestore(resources, verified)),
      catchUp: () => telling((say) => catchUp(resources, say)),
    },
    told,
  );
}
