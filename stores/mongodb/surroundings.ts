// What the protocol assumes of a MongoDB server, and which databases there are.
import type { Db, MongoClient } from 'mongodb';
import { mongo, type Side } from './connection.ts';
import { collectionNames } from './schema.ts';

const why: Readonly<Record<Side, string>> = {
  source: 'it has no change streams',
  target: 'it has no transactions, in which documents are written together with their versions',
};

/** Throws an error with a whole sentence for a server that cannot be used. Returns the name of the replica set. */
export async function replicaSetOf(db: Db, side: Side): Promise<string> {
  const hello = await mongo(`asking the ${side}`, () => db.command({ hello: 1 }));
  // A mongos may answer with a time that another one has passed: no position and no version could be trusted (docs/decisions/0029-surroundings.md).
  if (hello['msg'] === 'isdbgrid')
    throw new Error(
      `The ${side} MongoDB is a sharded cluster (a mongos answers). Causeway works with replica sets only: name the members of one in the URL.`,
    );
  if (!hello['setName'])
    throw new Error(
      `The ${side} MongoDB is not a replica set, so ${why[side]}. Start mongod with --replSet and run rs.initiate(), then try again.`,
    );
  if (hello['isWritablePrimary'] === false)
    throw new Error(
      `The ${side} MongoDB that answers is no primary. Name all members of ${hello['setName']} in the URL, with replicaSet=${hello['setName']} and without directConnection.`,
    );
  return `replica set ${hello['setName']}`;
}

/** Other databases that hold some of these collections, those with most of them first; as far as the user may see. */
export async function databasesHolding(
  client: MongoClient,
  collections: ReadonlySet<string>,
  but: string,
): Promise<{ readonly database: string; readonly held: readonly string[] }[]> {
  const listed = await client
    .db('admin')
    .command({ listDatabases: 1, nameOnly: true, authorizedDatabases: true })
    .catch(() => ({ databases: [] }));
  const found: { database: string; held: string[] }[] = [];
  for (const { name } of listed['databases'] as { name: string }[]) {
    if (['admin', 'config', 'local', but].includes(name)) continue;
    const there = await collectionNames(client.db(name)).catch(() => []);
    const held = there.filter((collection) => collections.has(collection));
    if (held.length > 0) found.push({ database: name, held });
  }
  return found.sort((a, b) => b.held.length - a.held.length);
}

/** The sentence for a source database that holds none of the collections. */
export async function wrongDatabase(db: Db, client: MongoClient, collections: ReadonlySet<string>): Promise<string> {
  const others = await databasesHolding(client, collections, db.databaseName);
  const which = others
    .slice(0, 5)
    .map(({ database, held }) => `${database} holds ${held.length} of them (${held.slice(0, 3).join(', ')})`);
  return `The database ${db.databaseName} of the source holds no collection that a mapping knows, under any name. ${
    which.length > 0
      ? `On this server ${which.join('; ')}. Correct the path of SOURCE_MONGODB_URL.`
      : 'Correct the path of SOURCE_MONGODB_URL: no other database that its user may see holds one.'
  }`;
}
