// The way back's steps as Temporal knows them.
import { inForce } from '../policy.ts';
import { Context, heartbeat } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import { bringingBack, reverseStatus } from '../../control/reverse.ts';
import type { ChangeSettings } from '../apply.ts';
import { Slice } from '../capture/slice.ts';
import { classified } from '../failing.ts';
import type { Resources } from '../resources.ts';
import { applyReverse } from './apply.ts';
import { armReverse, disarmReverse, type ReverseSettings } from './arm.ts';
import { readReverseChanges } from './read.ts';
import { switchBack, switchToNew, type BackOrder, type SwitchOrder } from './switch.ts';
import { validateRollback } from './validate.ts';
import { writesStand } from './standing.ts';

const slice = (ms: number) => new Slice(ms, Context.current().cancellationSignal, (details) => heartbeat(details));

/** Light steps: any worker. */
export function reverseControlActivities(resources: Resources) {
  return classified({
    armReverse: async (settings: ReverseSettings) => armReverse(resources, await inForce(resources.postgres, settings)),
    disarmReverse: () => disarmReverse(resources),
    reverseStatus: () => reverseStatus(resources.postgres),
    writesStand: () => writesStand(resources),
    switchToNew: (order: SwitchOrder) => switchToNew(resources, order),
    switchBack: (order: BackOrder) => switchBack(resources, order),
    validateRollback: (collections: readonly string[]) => validateRollback(resources, collections),
    /** Until the old system has everything that the new one was given. */
    awaitBroughtBack: async () => {
      const isBroughtBack = bringingBack(resources.postgres);
      while (!Context.current().cancellationSignal.aborted && !(await isBroughtBack())) {
        heartbeat();
        await sleep(100);
      }
    },
  });
}

/** Long-lived work, in slices. */
export function reverseActivities(resources: Resources) {
  return classified({
    applyReverse: async (settings: ChangeSettings, ms: number) =>
      applyReverse(resources, await inForce(resources.postgres, settings), slice(ms)),
    readReverseChanges: (ms: number) => readReverseChanges(resources, slice(ms)),
  });
}
