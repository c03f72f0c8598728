// Checks while the source changes: what differs is looked at again when capture has passed it; only what stays different counts.
import { setTimeout as sleep } from 'node:timers/promises';
import { readStream } from '../control/capture.ts';
import { versionOf } from '../stores/mongodb/source.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { isCaughtUp } from './capture/repair.ts';
import type { Resources } from './resources.ts';

const generations = 6;
const patienceMs = 30_000;

/**
 * `recheck` gets what differed and returns what still does. Without change capture nothing can have been under way, and the first answer
 * stands. More than `most` differences are no matter of timing.
 */
export async function untilSettled<T>(
  resources: Resources,
  differing: readonly T[],
  recheck: (differing: readonly T[]) => Promise<readonly T[]>,
  heartbeat: () => void,
  most = 5000,
): Promise<readonly T[]> {
  let left = differing;
  for (let n = 0; n < generations && left.length > 0 && left.length <= most; n++) {
    if (!(await caughtUp(resources, heartbeat))) return left;
    left = await recheck(left);
  }
  return left;
}

/** Waits until what was written before now has been applied. Returns false where there is no capture, or it does not come so far. */
export async function caughtUp(resources: Resources, heartbeat: () => void): Promise<boolean> {
  if (!(await readStream(resources.postgres))) return false;
  const now = await mongo('asking for the time', () => resources.source.db.command({ ping: 1 }));
  const version = versionOf(now['operationTime']).toString();
  for (const until = Date.now() + patienceMs; Date.now() < until; await sleep(100)) {
    heartbeat();
    if (await isCaughtUp(resources, version)) return true;
  }
  return false;
}
