// Checks of the preflight on the source: the right server, the right database, and what copy, capture, cutover and the way back will ask of it.
import { readAddress, safeAddress } from '../../stores/address.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { grantFor, refusedReads, refusedWrites } from '../../stores/mongodb/rehearsal.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { replicaSetOf, wrongDatabase } from '../../stores/mongodb/surroundings.ts';
import { mappingOf, type Resources } from '../resources.ts';
import { chosen, unnoted, unreachable, type Asked, type Checks, type Reachable } from './check.ts';

const namesOf = (resources: Resources, collection: string): string[] => [
  collection,
  ...mappingOf(resources, collection).aliases,
];

/** Collections of the source that are there and will be copied. */
async function present(resources: Resources, { settings }: Asked): Promise<string[]> {
  const there = new Set(await collectionNames(resources.source.db));
  return chosen(resources, settings)
    .flatMap((collection) => namesOf(resources, collection))
    .filter((name) => there.has(name));
}

export const reachableSource = {
  'source is reachable': async ({ source, addresses }) => {
    await mongo('reaching the source', () => source.db.command({ ping: 1 })).catch((error: unknown) =>
      unreachable(error, {
        what: 'The source MongoDB',
        address: safeAddress(addresses.source),
        variable: 'SOURCE_MONGODB_URL',
      }),
    );
    return safeAddress(addresses.source);
  },
} satisfies Record<string, Reachable>;

export const sourceChecks: Checks = {
  'source is a replica set': ({ source }) => replicaSetOf(source.db, 'source'),
  'source and target are different': async ({ addresses }) => {
    if (safeAddress(addresses.source) === safeAddress(addresses.mongodb))
      throw new Error(
        'SOURCE_MONGODB_URL and TARGET_MONGODB_URL name the same database; the target needs one of its own.',
      );
    return 'two databases';
  },
  'source holds the collections': async (resources, asked) => {
    const { source, mappings } = resources;
    const there = await present(resources, asked);
    if (there.length === 0) {
      const known = [...mappings.keys()].flatMap((collection) => namesOf(resources, collection));
      throw new Error(await wrongDatabase(source.db, source.client, new Set(known)));
    }
    const absent = chosen(resources, asked.settings).filter(
      (collection) => !namesOf(resources, collection).some((name) => there.includes(name)),
    );
    return absent.length === 0 ? 'all of them' : { warning: `the source has no ${absent.join(', ')}, under any name` };
  },
  'source may be read and watched': async (resources, asked) => {
    const { source, addresses } = resources;
    const refused = await refusedReads(source, await present(resources, asked).catch(() => []));
    if (refused.length === 0) return 'find, collStats and the change stream, tried';
    throw new Error(
      `The user in SOURCE_MONGODB_URL ${await grantFor(source.db, refused, readAddress(addresses.source).user)}`,
    );
  },
  'source may be written for cutover and the way back': async (resources, asked) => {
    const { source, addresses } = resources;
    const refused = await refusedWrites(unnoted(source), await present(resources, asked).catch(() => []));
    if (refused.length === 0) return 'guarded writes, closing and opening of collections, tried on one of our own';
    const sentence = `The user in SOURCE_MONGODB_URL ${await grantFor(source.db, refused, readAddress(addresses.source).user)}`;
    if (asked.until === 'cutover') throw new Error(sentence);
    return { warning: `${sentence}. The cutover needs it; --until ${asked.until} does not` };
  },
};
