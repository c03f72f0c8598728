// What a MongoDB database says it is, and the mark that a target carries.
import { MongoServerError, type Db } from 'mongodb';
import { plainHost } from '../../core/store-address.ts';
import { readAddress } from '../address.ts';
import { mongo } from './connection.ts';

export interface MongoIdentity {
  /** The replica set's own number where it may be read, else the name and the members that it states. */
  readonly id: string;
  /** Ids of its collections, which outlive restarts, renames and other addresses. */
  readonly collections: readonly string[];
}

const mostCollections = 500;

export async function mongoIdentity(db: Db, url: string): Promise<MongoIdentity> {
  const admin = db.client.db('admin');
  const hello = await mongo('asking which server it is', () => admin.command({ hello: 1 }));
  // A user without rights on the cluster, or a server that does not know the question, states members only.
  const config = await admin.command({ replSetGetConfig: 1 }).catch(() => undefined);
  const number: unknown = config?.['config']?.settings?.replicaSetId;
  const found = await mongo('asking which collections it has', () => db.listCollections({}).toArray());
  const collections = found
    .flatMap((one) => {
      const uuid: unknown = ('info' in one && one.info?.uuid) || undefined;
      return uuid === undefined ? [] : [String(uuid)];
    })
    .sort()
    .slice(0, mostCollections);
  const server = number === undefined ? stated(hello, url) : String(number);
  return { id: `mongodb ${server}/${db.databaseName}`, collections };
}

/** By the server's own words; a mongos has none, and is known by the address. */
function stated(hello: Record<string, unknown>, url: string): string {
  const members = (hello['hosts'] as string[] | undefined)?.map((member) => {
    const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(member)!;
    return plainHost(host!, port ?? 27017);
  });
  const plain = members ?? readAddress(url).hosts.map(({ name, port }) => plainHost(name, port ?? 27017));
  return `${String(hello['setName'] ?? hello['msg'] ?? 'mongod')}@${plain.sort().join(',')}`;
}

export const markCollection = 'causeway_owner';

/** Whose target this is; undefined: nobody has marked it. */
export async function markOf(db: Db): Promise<Record<string, string> | undefined> {
  const found = await mongo('reading its owner', () =>
    db.collection<{ _id: string } & Record<string, string>>(markCollection).findOne({ _id: 'owner' }),
  );
  if (!found) return undefined;
  const { _id, ...mark } = found;
  return mark;
}

/** Where nobody has: who asks afterwards learns whose it is. */
export async function setMark(db: Db, mark: Readonly<Record<string, string>>): Promise<void> {
  await mongo('marking its owner', () =>
    db
      .collection<{ _id: string }>(markCollection)
      .updateOne({ _id: 'owner' }, { $setOnInsert: mark }, { upsert: true, writeConcern: { w: 'majority' } })
      .catch((error: unknown) => {
        // Of two that insert it at once one finds the other's.
        if (!(error instanceof MongoServerError) || error.code !== 11000) throw error;
      }),
  );
}

export async function removeMark(db: Db): Promise<void> {
  await mongo('removing the mark of its owner', () => db.collection(markCollection).drop());
}
