// What later steps will ask of MongoDB, done once on things of our own: which privileges the user lacks, and the statement that grants them.
import { randomUUID } from 'node:crypto';
import { serialize } from 'bson';
import type { Db } from 'mongodb';
import { KnownFailure } from '../../core/failures.ts';
import { ChangeStream, imagesOf, type Source } from './changes.ts';
import { closeCollection } from './close.ts';
import { mongo, type WrittenDatabase } from './connection.ts';
import { markCollection, markOf } from './identity.ts';
import { makeCollection } from './schema.ts';
import { guardOf } from './guards.ts';
import { writeDocuments } from './loader.ts';
import { weigh } from './ranges.ts';
import { headOf } from './source.ts';

/** One action on one collection, or on the database. */
export interface Refused {
  readonly action: string;
  readonly on: string;
}

interface Step extends Refused {
  run(): Promise<unknown>;
}

const roleOf: Readonly<Record<string, 'read' | 'readWrite' | 'dbAdmin'>> = {
  listCollections: 'read',
  find: 'read',
  collStats: 'read',
  changeStream: 'read',
  createCollection: 'readWrite',
  createIndex: 'readWrite',
  insert: 'readWrite',
  update: 'readWrite',
  remove: 'readWrite',
  dropCollection: 'readWrite',
  collMod: 'dbAdmin',
  bypassDocumentValidation: 'dbAdmin',
};

async function refusedOf(steps: readonly Step[]): Promise<Refused[]> {
  const refused: Refused[] = [];
  for (const { action, on, run } of steps) {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof KnownFailure && error.type === 'PermissionDenied')) throw error;
      refused.push({ action, on });
    }
  }
  return refused;
}

const scratchName = (): string => `causeway_rehearsal_${randomUUID().replaceAll('-', '')}`;

/** What copy and capture ask of the source. Reads only. */
export const refusedReads = (source: Source, collections: readonly string[]): Promise<Refused[]> => {
  const { db } = source;
  return refusedOf([
    {
      action: 'listCollections',
      on: '',
      run: () => mongo('listing collections', () => db.listCollections().toArray()),
    },
    ...collections.flatMap((on): Step[] => [
      { action: 'find', on, run: () => drain(headOf(db, on, 1)) },
      { action: 'collStats', on, run: () => weigh(db, on) },
    ]),
    {
      action: 'changeStream',
      on: '',
      run: async () => {
        const images = await imagesOf(db, collections);
        const stream = await mongo('opening a change stream', () =>
          ChangeStream.open(source, images, undefined, { awaitMs: 100 }),
        );
        await stream.close();
      },
    },
  ]);
};

/**
 * What the write cutover and the way back ask of the source: on a collection that is made for it and dropped, and, where nothing can come of it, on
 * the collections themselves.
 */
export async function refusedWrites(source: WrittenDatabase, collections: readonly string[]): Promise<Refused[]> {
  const { db } = source;
  const scratch = scratchName();
  const nobody = { _id: scratch };
  const upsert = { update: scratch, updates: [{ q: nobody, u: nobody, upsert: true }] };
  const doing = 'rehearsing writes to the source';
  const steps: Step[] = [
    { action: 'createCollection', on: '', run: () => mongo(doing, () => db.createCollection(scratch)) },
    { action: 'update', on: '', run: () => inTransaction(source, upsert) },
    {
      action: 'bypassDocumentValidation',
      on: '',
      run: () => inTransaction(source, { ...upsert, bypassDocumentValidation: true }),
    },
    {
      action: 'remove',
      on: '',
      run: () => inTransaction(source, { delete: scratch, deletes: [{ q: nobody, limit: 1 }] }),
    },
    { action: 'collMod', on: '', run: () => closeCollection(db, scratch).catch(ifNotThere) },
    ...collections.flatMap((on): Step[] => [
      {
        action: 'update',
        on,
        run: () => mongo(doing, () => db.command({ update: on, updates: [{ q: nobody, u: { $set: nobody } }] })),
      },
      {
        action: 'remove',
        on,
        run: () => mongo(doing, () => db.command({ delete: on, deletes: [{ q: nobody, limit: 1 }] })),
      },
    ]),
    { action: 'dropCollection', on: '', run: () => mongo(doing, () => gone(db, scratch)) },
  ];
  const refused = await refusedOf(steps).finally(() => gone(db, scratch).catch(() => undefined));
  return [...refused, ...(await withheld(db, collections, ['insert', 'collMod', 'bypassDocumentValidation']))];
}

/** What making, loading, reading, checkpointing and undoing the target ask. */
export async function refusedTarget(target: Source & WrittenDatabase): Promise<Refused[]> {
  const { db } = target;
  const scratch = scratchName();
  const doing = 'rehearsing the target';
  const place = { collection: scratch, owner: 0, siblings: [] };
  const shape = { store: 'mongodb', name: scratch, schema: { bsonType: 'object' }, indexes: [] } as const;
  const steps: Step[] = [
    { action: 'createCollection', on: '', run: () => makeCollection(db, shape) },
    { action: 'collMod', on: '', run: () => makeCollection(db, shape) },
    { action: 'createIndex', on: '', run: () => mongo(doing, () => db.collection(scratch).createIndex({ a: 1 })) },
    {
      action: 'insert',
      on: '',
      run: () =>
        writeDocuments(target, place, [{ id: 1, version: { time: 1n, op: 0 }, document: serialize({ _id: 1 }) }]),
    },
    {
      action: 'update',
      on: '',
      run: () =>
        writeDocuments(target, place, [{ id: 1, version: { time: 2n, op: 0 }, document: serialize({ _id: 1, a: 1 }) }]),
    },
    {
      action: 'remove',
      on: '',
      run: () => writeDocuments(target, place, [{ id: 1, version: { time: 3n, op: 0 }, document: undefined }]),
    },
    { action: 'find', on: '', run: () => drain(headOf(db, scratch, 1)) },
    {
      action: 'changeStream',
      on: '',
      run: async () => {
        const stream = await mongo(doing, () => ChangeStream.open(target, 'updateLookup', undefined, { awaitMs: 100 }));
        await stream.close();
      },
    },
    { action: 'dropCollection', on: '', run: () => mongo(doing, () => gone(db, scratch)) },
    { action: 'find', on: markCollection, run: () => markOf(db) },
    {
      action: 'remove',
      on: markCollection,
      run: async () => {
        // The mark may be another migration's: nothing is done that could change it. Where there is none, privileges are asked for, below.
        if ((await markOf(db)) === undefined) return;
        await mongo(doing, () => db.command({ delete: markCollection, deletes: [{ q: { _id: scratch }, limit: 1 }] }));
      },
    },
  ];
  const refused = await refusedOf(steps).finally(async () => {
    for (const made of [scratch, guardOf(scratch)]) await gone(db, made).catch(() => undefined);
  });
  return [
    ...refused,
    ...(await withheld(db, [markCollection], ['insert', 'update', 'createCollection', 'dropCollection'])),
  ];
}

function ifNotThere(error: unknown): void {
  if (!(error instanceof KnownFailure && error.message.includes(`code ${notThere} `))) throw error;
}

/** No such namespace: what would have made it was refused, and is named already. */
const notThere = 26;

async function gone(db: Db, collection: string): Promise<void> {
  await db
    .collection(collection)
    .drop()
    .catch((error: { code?: unknown }) => {
      if (error.code !== notThere) throw error;
    });
}

async function drain(documents: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of documents) return;
}

async function inTransaction(source: WrittenDatabase, command: Record<string, unknown>): Promise<void> {
  await mongo('rehearsing writes to the source', async () => {
    const session = await source.session();
    try {
      await session.withTransaction(
        async () => {
          const reply = await source.db.command(command, { session });
          if (Array.isArray(reply['writeErrors'])) throw new TypeError('a rehearsed write met an error');
        },
        { readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority' } },
      );
    } finally {
      await session.endSession();
    }
  });
}

interface Authentication {
  readonly authenticatedUsers: readonly { user: string; db: string }[];
  readonly authenticatedUserPrivileges?: readonly {
    resource: { db?: string; collection?: string; anyResource?: boolean };
    actions: readonly string[];
  }[];
}

async function authentication(db: Db): Promise<Authentication | undefined> {
  const reply = await db.command({ connectionStatus: 1, showPrivileges: true }).catch(() => undefined);
  return reply?.['authInfo'] as Authentication | undefined;
}

/** What can only be asked, not tried on a collection in use. A server that tells no privileges has none to withhold, or is asked by trying alone. */
async function withheld(db: Db, collections: readonly string[], actions: readonly string[]): Promise<Refused[]> {
  const privileges = (await authentication(db))?.authenticatedUserPrivileges ?? [];
  if (privileges.length === 0) return [];
  const covers = (on: string, action: string) =>
    privileges.some(
      ({ resource, actions: granted }) =>
        granted.includes(action) &&
        (resource.anyResource ||
          (resource.collection !== undefined &&
            ['', db.databaseName].includes(resource.db!) &&
            ['', on].includes(resource.collection))),
    );
  return collections.flatMap((on) => actions.filter((action) => !covers(on, action)).map((action) => ({ action, on })));
}

/** One sentence that names what is missing, and the statement. `user`: the one of the URL, where the server does not tell. */
export async function grantFor(db: Db, refused: readonly Refused[], user: string | undefined): Promise<string> {
  const who = (await authentication(db))?.authenticatedUsers[0];
  const roles = [...new Set(refused.map(({ action }) => roleOf[action] ?? 'dbAdmin'))].sort();
  // Whoever may write may read.
  const granted = roles.filter((role) => role !== 'read' || !roles.includes('readWrite'));
  const places = new Map<string, Set<string>>();
  for (const { action, on } of refused) {
    const where = on || `database ${db.databaseName}`;
    places.set(where, (places.get(where) ?? new Set()).add(action));
  }
  const lacking = [...places].map(([where, actions]) => `${[...actions].join(', ')} on ${where}`).join('; ');
  const list = granted.map((role) => `{ role: ${JSON.stringify(role)}, db: ${JSON.stringify(db.databaseName)} }`);
  return `lacks ${lacking}. Grant it: db.getSiblingDB(${JSON.stringify(who?.db ?? 'admin')}).grantRolesToUser(${JSON.stringify(who?.user ?? user ?? 'USER')}, [${list.join(', ')}])`;
}
