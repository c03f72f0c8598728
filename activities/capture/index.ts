// Capture's steps as Temporal knows them.
import { Context, heartbeat } from '@temporalio/activity';
import { setTimeout as sleep } from 'node:timers/promises';
import { captureStatus } from '../../control/capture.ts';
import type { Settings } from '../../core/settings.ts';
import { clockOf } from '../../stores/mongodb/changes.ts';
import type { ChangeSettings } from '../apply.ts';
import { classified } from '../failing.ts';
import type { Resources } from '../resources.ts';
import { nowAtSource } from '../settled.ts';
import { comingTogether } from './caught-up.ts';
import { awaitSteady } from './steady.ts';
import { applyLane } from './lane.ts';
import { openCapture } from './open.ts';
import { readChanges } from './read.ts';
import { closeGap, gapOf, reopenCapture, repairGap, type Repaired, type RepairOrder } from './repair.ts';
import { Patience, Slice } from './slice.ts';
import { tendTargets, type TendSettings } from './tend.ts';

const slice = (ms: number) => new Slice(ms, Context.current().cancellationSignal, (details) => heartbeat(details));

/** Light steps: any worker. */
export function captureControlActivities(resources: Resources) {
  return classified({
    openCapture: (settings: Settings) => openCapture(resources, settings),
    reopenCapture: () => reopenCapture(resources),
    gapOf: () => gapOf(resources),
    closeGap: (certificate: Repaired) => closeGap(resources, certificate),
    repairGap: (order: RepairOrder) => repairGap(resources, order, () => heartbeat()),
    captureStatus: async () => {
      const status = await captureStatus(resources.postgres, await clockOf(resources.source.db));
      return status && { position: status.position, lagMs: status.lagMs, gap: status.gap, events: status.events };
    },
    /** Waits until everything written to the source before now stands in the targets. */
    awaitCaughtUp: async () => {
      const version = await nowAtSource(resources);
      const isCaughtUp = comingTogether(resources, version);
      const { cancellationSignal } = Context.current();
      const patience = new Patience({ say: heartbeat });
      for (let caughtUp = false; !caughtUp && !cancellationSignal.aborted;) {
        try {
          caughtUp = await isCaughtUp();
          await patience.rewarded();
          if (!caughtUp) await sleep(200);
        } catch (error) {
          await patience.after(error);
        }
      }
      return version;
    },
    awaitSteady: () => awaitSteady(resources, heartbeat, Context.current().cancellationSignal),
  });
}

/** Long-lived work, in slices. */
export function captureActivities(resources: Resources) {
  return classified({
    readChanges: (ms: number) => readChanges(resources, slice(ms)),
    applyLane: (lane: number, settings: ChangeSettings, ms: number) => applyLane(resources, lane, settings, slice(ms)),
    tendTargets: (settings: TendSettings, ms: number) => tendTargets(resources, settings, slice(ms)),
  });
}
