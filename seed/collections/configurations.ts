// configurations: two generations of settings in one collection, each null in the other's unique key.
import { configurationCases } from '../cases/metadata.ts';
import type { CollectionSeed } from '../shape.ts';
import { byKey, byName } from './metadata.ts';

export const configurations: CollectionSeed = {
  collection: 'configurations',
  mapping: 'metadata',
  batch: 500,
  cases: configurationCases,
  document: (place) => (place.plain || place.random.chance(0.5) ? byKey(place, 'c') : byName(place, 'c')),
};
