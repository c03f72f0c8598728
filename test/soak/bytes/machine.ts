// What a round is run on: the activities in this process (bench.ts), or the product as its users run it (commands.ts).
import { setTimeout as sleep } from 'node:timers/promises';
import { comingTogether } from '../../../activities/capture/caught-up.ts';
import type { Tried } from '../../../activities/quarantine.ts';
import type { Resources } from '../../../activities/resources.ts';
import { drainTargetStream } from '../../../activities/reverse/drain.ts';
import { nowAtSource } from '../../../activities/settled.ts';
import { bringingBack } from '../../../control/reverse.ts';
import type { Difference } from '../../../control/verification-report.ts';
import type { World } from '../../support/world.ts';

export interface Machine {
  readonly world: World;
  readonly resources: Resources;
  copy(): Promise<void>;
  /** Who captures is there from here on; a process of its own is a new one. */
  run(): Promise<void>;
  pause(): Promise<void>;
  /** Once everything written to the source before now has arrived: what went wrong meanwhile. */
  caughtUp(): Promise<string[]>;
  /** What a verification of every row finds; with `repair`, what it leaves. */
  verify(
    repair?: boolean,
  ): Promise<Pick<Difference, 'kind' | 'collection' | 'source' | 'id' | 'finding' | 'differs' | 'state'>[]>;
  /** What the checks of the data phase find. */
  validate(): Promise<string[]>;
  retry(): Promise<Tried>;
  snapshot(name: string): Promise<void>;
  restore(name: string): Promise<void>;
  /** The new system is authoritative from here on. */
  moveWrites(): Promise<void>;
  /** Once everything that the new system was given has been brought back or set aside: what went wrong meanwhile. */
  broughtBack(): Promise<string[]>;
  moveBack(): Promise<void>;
  close(): Promise<void>;
}

/** A lane that has not arrived by then has stopped, ms. */
export const boundMs = 45_000;

export async function arrived({ world, resources }: Pick<Machine, 'world' | 'resources'>): Promise<string[]> {
  const isThere = comingTogether(resources, await nowAtSource(resources));
  for (const until = Date.now() + boundMs; !(await isThere()); await sleep(50))
    if (Date.now() > until) return [`capture has not arrived: ${JSON.stringify(await troubles(world)).slice(0, 3000)}`];
  return [];
}

/** Everything that the new system was given before now has been noted, and then brought back or set aside: that it is noted is written down, however long that takes. */
export async function comeBack({ world, resources }: Pick<Machine, 'world' | 'resources'>): Promise<string[]> {
  const until = performance.now() + boundMs;
  const state = async () => JSON.stringify(await troubles(world)).slice(0, 3000);
  try {
    await drainTargetStream(resources, { until });
  } catch (error) {
    return [`what was changed has not been noted: ${(error as Error).message} ${await state()}`];
  }
  for (const isDone = bringingBack(resources.postgres); !(await isDone()); await sleep(50))
    if (performance.now() > until) return [`the way back has not come to an end: ${await state()}`];
  return [];
}

export const troubles = async (world: World) => ({
  fail: await world.rows('select who, type, message from migration_control.capture_troubles'),
  wait: await world.rows('select source_id, reason, cause, tries from migration_control.redo limit 5'),
});
