// Puts the plans and the collections together: a generator per collection, which know of each other's users.
import { catalogue } from './catalogue.ts';
import { ANCHORS } from './collection-plan.ts';
import { distribute, type Request } from './distribution.ts';
import { Generator } from './generator.ts';
import type { World } from './shape.ts';

/** Of the users other documents refer to, the share that is not there (any more). */
const DELETED = 0.02;

export function generators(request: Request): Generator[] {
  const plans = distribute(request);
  const users = plans.get('users')!;
  const world: World = {
    userHex: (random) => {
      if (random.chance(DELETED)) return random.hex(24);
      const index = random.integer(0, users.count - 1);
      const clean = users.dirtyOrdinal(index) === undefined;
      return users.objectId(clean ? index : index % ANCHORS).toHexString();
    },
  };
  return catalogue.map((shape) => new Generator(shape, plans.get(shape.collection)!, world));
}
