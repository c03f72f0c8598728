// `causeway seed`: fills a MongoDB database with what the application's would hold, dirt included, and writes down what it planted.
import { MongoClient, type Db } from 'mongodb';
import { SeedError } from './failure.ts';
import { fill } from './fill.ts';
import type { Generator } from './generator.ts';
import { createIndexes } from './indexes.ts';
import { PlantedFile } from './planted-file.ts';
import { NOW } from './time.ts';
import { generators } from './world.ts';

export { SeedError } from './failure.ts';
export type { Planted } from './generator.ts';
export type { PlantedHeader } from './planted-file.ts';

export interface SeedProgress {
  readonly collection: string;
  readonly written: number;
  readonly total: number;
}

export interface SeedOptions {
  /** With the database in its path. */
  readonly url: string;
  readonly documents: number;
  /** The share of dirty documents, 0 to 1; above 0 each case is planted at least once. */
  readonly dirty: number;
  readonly seed: number;
  readonly plantedFile: string;
  readonly onProgress?: (progress: SeedProgress) => void;
  /** Source collections to write; the others are left alone. */
  readonly only?: readonly string[];
}

export interface SeedSummary {
  readonly database: string;
  readonly documents: number;
  readonly dirty: number;
  /** What the seed takes for the present, ISO 8601. */
  readonly now: string;
  readonly collections: Readonly<Record<string, { readonly documents: number; readonly dirty: number }>>;
  readonly seconds: number;
  /** Indexes the server does not take. */
  readonly refusedIndexes: readonly string[];
}

/** Throws SeedError, before anything is written, when the options make no sense or there is data already. */
export async function seedSource(options: SeedOptions): Promise<SeedSummary> {
  const chosen = choose(options);
  const client = new MongoClient(options.url, { ignoreUndefined: true });
  try {
    const db = client.db();
    await refuseToOverwrite(db, chosen);
    return await write(db, chosen, options);
  } finally {
    await client.close();
  }
}

function choose({ url, documents, dirty, seed, only }: SeedOptions): Generator[] {
  if (!Number.isInteger(documents) || documents < 1)
    throw new SeedError('The number of documents must be a positive integer.');
  if (!(dirty >= 0 && dirty <= 1)) throw new SeedError('The share of dirty documents must be between 0 and 1.');
  if (!Number.isSafeInteger(seed)) throw new SeedError('The seed must be an integer.');
  if (!/^mongodb(\+srv)?:\/\/[^/]+\/[^/?]+/.test(url)) {
    throw new SeedError('The source URL names no database; put it in the path, mongodb://host:port/tradingagents.');
  }
  const all = generators({ documents, dirty, seed });
  const names = all.map((generator) => generator.shape.collection);
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new SeedError(`There is no collection ${unknown} in the seed; it has ${names.join(', ')}.`);
  return only ? all.filter((generator) => only.includes(generator.shape.collection)) : all;
}

async function refuseToOverwrite(db: Db, chosen: readonly Generator[]): Promise<void> {
  for (const { shape } of chosen) {
    if (await db.collection(shape.collection).findOne({}, { projection: { _id: 1 } })) {
      throw new SeedError(
        `Database ${db.databaseName} already has documents in ${shape.collection}, and seeding never overwrites. ` +
          'Run `causeway stack reset` to empty the embedded stack, or name another database in the source URL.',
      );
    }
  }
}

async function write(db: Db, chosen: readonly Generator[], options: SeedOptions): Promise<SeedSummary> {
  const started = performance.now();
  const now = new Date(NOW).toISOString();
  const { seed, documents, dirty, onProgress } = options;
  const counts = Object.fromEntries(chosen.map(({ shape, plan }) => [shape.collection, plan.count]));
  const planted = await PlantedFile.create(options.plantedFile, { seed, documents, dirty, now, collections: counts });
  const refusedIndexes: string[] = [];
  try {
    for (const generator of chosen) {
      const { collection } = generator.shape;
      refusedIndexes.push(...(await createIndexes(db, collection)));
      await fill(db, generator, {
        made: (batch) => planted.write(batch.planted),
        stored: (written) => onProgress?.({ collection, written, total: generator.plan.count }),
      });
    }
    await planted.complete();
  } catch (error) {
    planted.abandon();
    throw error;
  }
  const sizes = chosen.map(
    ({ shape, plan }) => [shape.collection, { documents: plan.count, dirty: plan.dirty }] as const,
  );
  return {
    database: db.databaseName,
    documents: sizes.reduce((sum, [, size]) => sum + size.documents, 0),
    dirty: sizes.reduce((sum, [, size]) => sum + size.dirty, 0),
    now,
    collections: Object.fromEntries(sizes),
    seconds: (performance.now() - started) / 1000,
    refusedIndexes,
  };
}
