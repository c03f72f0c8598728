// The copy gives way to change capture: where capture has fallen behind, the next segment waits.
import { setTimeout as sleep } from 'node:timers/promises';
import { captureLag } from '../control/capture.ts';
import type { Resources } from './resources.ts';
import { SourceClock } from './capture/read.ts';

/** A copy that waited without end would never be done where the source is written faster than capture can follow. */
const longestMs = 20_000;
const lookMs = 500;
/** What a segment does to the lag shows only after a while: where there is some, they are let through one after the other. */
const apartMs = 1500;

export interface Waiting {
  readonly heartbeat: () => void;
  readonly cancelled: () => boolean;
}

/** One per process: the segments that it reads share the way. */
export class Way {
  readonly #resources: Pick<Resources, 'postgres' | 'source'>;
  readonly #clock: SourceClock;
  readonly #longestMs: number;
  #lastAt = -Infinity;

  /** `most`: the longest that one segment waits, ms. */
  constructor(resources: Pick<Resources, 'postgres' | 'source'>, most = longestMs) {
    this.#resources = resources;
    this.#longestMs = most;
    this.#clock = new SourceClock(resources);
  }

  /** Waits while capture is more than `lagMs` behind, but not without end. Without capture, or without a limit, not at all. Returns the wait in ms. */
  async make(lagMs: number | undefined, { heartbeat, cancelled }: Waiting): Promise<number> {
    if (lagMs === undefined) return 0;
    const began = performance.now();
    while (!(await this.#isFree(lagMs)) && performance.now() - began < this.#longestMs && !cancelled()) {
      heartbeat();
      await sleep(lookMs);
    }
    this.#lastAt = performance.now();
    return this.#lastAt - began;
  }

  async #isFree(lagMs: number): Promise<boolean> {
    const lag = await captureLag(this.#resources.postgres, await this.#clock.now());
    if (lag === undefined || lag <= lagMs / 2) return true;
    return lag <= lagMs && performance.now() - this.#lastAt >= apartMs;
  }
}
