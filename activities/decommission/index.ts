// Decommission's steps as Temporal knows them.
import { heartbeat } from '@temporalio/activity';
import { classified } from '../failing.ts';
import type { Resources } from '../resources.ts';
import { removeServing, retireOld } from './retire.ts';
import { saveOld, type Saved, type SaveOrder } from './save.ts';

export function decommissionActivities(resources: Resources) {
  return classified({
    saveOld: (order: SaveOrder) => saveOld(resources, order, (what) => heartbeat(what)),
    retireOld: (saved: Saved) => retireOld(resources, saved),
    removeServing: () => removeServing(resources),
  });
}
