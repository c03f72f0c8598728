// The loops of change capture: each runs its activity in slices, again and again, until capture is over.
import { condition, isCancellation, sleep } from '@temporalio/workflow';
import type { SliceResult } from '../../activities/capture/slice.ts';
import { capture, captureIn } from '../proxies.ts';
import { reasonOf } from './reason.ts';

/** What the loops and the handlers of capture tell each other. */
export interface Course {
  /** Stopped, or undone. */
  over: boolean;
  /** The reader stands before a gap; a repair lets it go on from a new position. */
  blocked: boolean;
  /** What is failing now, by loop. */
  readonly troubles: Map<string, string>;
  readonly tell: () => Promise<void>;
}

export interface LoopSettings {
  readonly zone: string;
  readonly providers: readonly string[];
  readonly clashSeconds: number;
  readonly configurationDirectory: string;
}

const sliceMs = 10 * 60_000;
const pauseAfterFailure = '5s';

export async function readerLoop(course: Course): Promise<void> {
  while (!course.over) {
    await condition(() => !course.blocked || course.over);
    const result = await attempt(course, 'reader', () => capture().readChanges(sliceMs));
    if (result?.ended === 'gap') {
      course.blocked = true;
      await course.tell();
    }
  }
}

export async function laneLoop(course: Course, lane: number, settings: LoopSettings): Promise<void> {
  let queue: string | undefined;
  while (!course.over) {
    const process = queue;
    queue = undefined;
    const { applyLane } = process === undefined ? capture() : captureIn(process);
    const apply = () => applyLane.executeWithOptions({ summary: `lane ${lane}` }, [lane, settings, sliceMs]);
    // A process that was to take the lane over and does not is no trouble: the lane goes anywhere.
    const result =
      process === undefined ? await attempt(course, `lane ${lane}`, apply) : await apply().catch(unlessCancelled);
    if (result?.ended === 'handed-over') queue = result.queue;
    if (result?.ended === 'closed') course.over = true;
  }
}

export async function tendLoop(course: Course, settings: LoopSettings): Promise<void> {
  while (!course.over) await attempt(course, 'housekeeping', () => capture().tendTargets(settings, sliceMs));
}

/** The way back, beside each other: what the target MongoDB changes is noted, and what is noted is brought back. */
export async function reverseLoops(course: Course, settings: Pick<LoopSettings, 'zone' | 'providers'>): Promise<void> {
  const reading = async () => {
    while (!course.over) await attempt(course, 'reader', () => capture().readReverseChanges(sliceMs));
  };
  const applying = async () => {
    while (!course.over) await attempt(course, 'applier', () => capture().applyReverse(settings, sliceMs));
  };
  await Promise.all([reading(), applying()]);
}

export async function tellLoop(course: Course): Promise<void> {
  while (!course.over) {
    await sleep('1 minute', { summary: 'tells the migration where capture stands' });
    await course.tell();
  }
}

/** What fails is said, and begun again after a while: a lane that gave up would only fall behind. */
async function attempt(
  course: Course,
  what: string,
  run: () => Promise<SliceResult>,
): Promise<SliceResult | undefined> {
  try {
    const result = await run();
    course.troubles.delete(what);
    if (result.ended === 'closed') course.over = true;
    return result;
  } catch (error) {
    unlessCancelled(error);
    course.troubles.set(what, reasonOf(error).message);
    await course.tell();
    await sleep(pauseAfterFailure);
    return undefined;
  }
}

/** Takes any other error for an answer that did not come. */
export function unlessCancelled(error: unknown): undefined {
  if (isCancellation(error)) throw error;
}
