// The copy gives way to change capture: where capture has fallen behind, the next segment waits.
import { setTimeout as sleep } from 'node:timers/promises';
import { captureLag } from '../control/capture.ts';
import type { Resources } from './resources.ts';
import { SourceClock } from './capture/read.ts';

/** A copy that waited without end would never be done where the source is written faster than capture can follow. */
const longestMs = 10_000;
const lookMs = 500;

export interface Waiting {
  readonly heartbeat: () => void;
  readonly cancelled: () => boolean;
}

/** Waits while capture is more than `lagMs` behind, ten seconds at most. Without capture, or without a limit, not at all. Returns the wait in ms. */
export async function makeWay(
  resources: Resources,
  lagMs: number | undefined,
  { heartbeat, cancelled }: Waiting,
): Promise<number> {
  if (lagMs === undefined) return 0;
  const clock = new SourceClock(resources);
  const began = performance.now();
  const waited = () => performance.now() - began;
  while (waited() < longestMs && !cancelled()) {
    const lag = await captureLag(resources.postgres, await clock.now());
    if (lag === undefined || lag <= lagMs) break;
    heartbeat();
    await sleep(lookMs);
  }
  return waited();
}
