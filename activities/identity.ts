// Which four stores these are, and whether they are those that a migration was begun with. Reads only, but for the marks that the claim leaves.
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { assertMark, claimOf, claimStores, markFor, type Claim, type ClaimedStores } from '../control/owner.ts';
import { KnownFailure } from '../core/failures.ts';
import { queueOf, storeNames, type Owner, type StoreIdentities, type StoreName } from '../core/owner.ts';
import * as mongodb from '../stores/mongodb/identity.ts';
import { postgresIdentity } from '../stores/postgres/identity.ts';
import * as redis from '../stores/redis/identity.ts';
import type { Resources } from './resources.ts';

type Stores = Pick<Resources, 'addresses' | 'source' | 'postgres' | 'mongodb' | 'redis'>;

export interface Identity {
  readonly owner: Owner;
  /** Of a store that does not answer, what it said when the migration was begun. */
  readonly identities: StoreIdentities;
  /** Stores that do not answer now; only a migration that has claimed its stores is known without them. */
  readonly silent: readonly StoreName[];
}

/** Twelve hex digits that stand for four stores. */
export const fingerprintOf = ({ source, postgres, mongodb, redis }: StoreIdentities): string =>
  createHash('sha256')
    .update(JSON.stringify([source, postgres, mongodb, redis]))
    .digest('hex')
    .slice(0, 12);

/** Throws ForeignStores where the stores are not those that the migration was begun with, or another migration's; StoreUnreachable where that cannot be known. */
export async function identify(stores: Stores, migration: string): Promise<Identity> {
  const postgres = await postgresIdentity(stores.postgres, stores.addresses.postgres);
  const claim = await claimOf(stores.postgres);
  if (claim && claim.migration !== migration)
    throw new KnownFailure(
      'ForeignStores',
      `The target PostgreSQL belongs to the migration "${claim.migration}", not to "${migration}": use \`--migration ${claim.migration}\`, or give TARGET_POSTGRES_URL another database.`,
    );
  if (!claim) {
    const identities = { postgres, ...(await othersOf(stores)) };
    return { owner: { migration, stores: fingerprintOf(identities) }, identities, silent: [] };
  }
  const { differing, silent } = await compare(stores, claim, postgres);
  if (differing.length > 0) throw new KnownFailure('ForeignStores', otherStores(migration, differing));
  const { collections: _, ...identities } = claim.identities;
  return { owner: { migration, stores: claim.stores }, identities, silent };
}

async function othersOf({ source, mongodb: target, redis: keys, addresses }: Stores) {
  const [from, to, cache] = await Promise.all([
    mongodb.mongoIdentity(source.db, addresses.source),
    mongodb.mongoIdentity(target.db, addresses.mongodb),
    redis.redisIdentity(keys, addresses.redis),
  ]);
  return { source: from.id, mongodb: to.id, redis: cache };
}

/** What each says it is now, with the ids of the source's collections. Throws StoreUnreachable. */
export async function identitiesOf(stores: Stores): Promise<ClaimedStores> {
  const postgres = await postgresIdentity(stores.postgres, stores.addresses.postgres);
  const { collections } = await mongodb.mongoIdentity(stores.source.db, stores.addresses.source);
  return { postgres, ...(await othersOf(stores)), collections };
}

export interface Differing {
  readonly store: StoreName;
  readonly was: string;
  readonly is: string;
}

/** The stores as they are now against those that were claimed. */
export async function compare(
  stores: Stores,
  claim: Claim,
  postgres: string,
): Promise<{ differing: readonly Differing[]; silent: readonly StoreName[] }> {
  const { identities: was } = claim;
  const differing: Differing[] = [];
  const silent: StoreName[] = [];
  const look = async (store: StoreName, now: () => Promise<{ is: string; same: boolean }>) => {
    try {
      const { is, same } = await now();
      if (!same) differing.push({ store, was: was[store], is });
    } catch (error) {
      if (!(error instanceof KnownFailure) || error.type === 'ForeignStores') throw error;
      silent.push(store);
    }
  };
  const ours = (mark: Record<string, string> | undefined, is: string, id: string) => {
    if (mark === undefined) return { is, same: is === id };
    const same = mark['migration'] === claim.migration && mark['stores'] === claim.stores;
    return { is: same ? is : `${is}, which belongs to the migration "${mark['migration'] ?? 'unknown'}"`, same };
  };
  await look('postgres', () => Promise.resolve({ is: postgres, same: postgres === was.postgres }));
  await look('source', async () => {
    const now = await mongodb.mongoIdentity(stores.source.db, stores.addresses.source);
    return { is: now.id, same: now.id === was.source || sameDatabase(was, now) };
  });
  await look('mongodb', async () => {
    const now = await mongodb.mongoIdentity(stores.mongodb.db, stores.addresses.mongodb);
    return ours(await mongodb.markOf(stores.mongodb.db), now.id, was.mongodb);
  });
  await look('redis', async () =>
    ours(await redis.markOf(stores.redis), await redis.redisIdentity(stores.redis, stores.addresses.redis), was.redis),
  );
  return { differing, silent };
}

/** At another address the same database: it still has a collection that it had, by the number that MongoDB gives each when it is made. */
function sameDatabase(was: ClaimedStores, now: mongodb.MongoIdentity): boolean {
  const name = (id: string) => id.slice(id.lastIndexOf('/'));
  const known = new Set(was.collections);
  return name(was.source) === name(now.id) && now.collections.some((collection) => known.has(collection));
}

const otherStores = (migration: string, differing: readonly Differing[]): string =>
  `${differing
    .map(
      ({ store, was, is }) =>
        `${storeNames[store][0]} is not the one that the migration "${migration}" was begun with (${is} instead of ${was}; see ${storeNames[store][1]}).`,
    )
    .join(' ')} If it is the same data at another place, \`causeway stores --accept\` says so.`;

/** In the transaction that makes the control schema; the marks follow it (`markTargets`). */
export async function claim(stores: Stores, owner: Owner, client: pg.ClientBase): Promise<void> {
  await claimStores(client, owner, await identitiesOf(stores));
}

/** What undo looks at before it removes anything outside PostgreSQL. A store that another migration has marked is refused. */
export async function markTargets(stores: Stores, owner: Owner): Promise<void> {
  await assertMarks(stores, owner);
  await mongodb.setMark(stores.mongodb.db, markFor(owner));
  await redis.setMark(stores.redis, markFor(owner));
  await assertMarks(stores, owner);
}

/** Throws ForeignStores where a target outside PostgreSQL carries another's mark. */
export async function assertMarks({ mongodb: target, redis: keys }: Stores, owner: Owner | undefined): Promise<void> {
  assertMark('The target MongoDB', await mongodb.markOf(target.db), owner);
  assertMark('The target Redis', await redis.markOf(keys), owner);
}

/** The last of undoing preparation. */
export async function unmarkTargets(stores: Stores, owner: Owner | undefined): Promise<void> {
  await assertMarks(stores, owner);
  await mongodb.removeMark(stores.mongodb.db);
  await redis.removeMark(stores.redis);
}

/** What a person needs to know of a queue: its name, and what each store says it is. */
export const describeIdentity = ({ owner, identities }: Pick<Identity, 'owner' | 'identities'>): string[] => [
  `queue ${queueOf(owner)}`,
  ...(Object.keys(storeNames) as StoreName[]).map((store) => `${storeNames[store][0]}: ${identities[store]}`),
];
