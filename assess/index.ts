// Assess: what the source holds and what the migration would make of it. Reads only.
import { decode } from '../core/bson/decode.ts';
import type { Db } from 'mongodb';
import type { Resources } from '../activities/resources.ts';
import { KnownFailure } from '../core/failures.ts';
import { strategyEstimate } from '../activities/estimate.ts';
import type { Mapping, Document } from '../mappings/mapping.ts';
import { defaultSettings, type TransformSettings } from '../mappings/settings.ts';
import { transformDocument } from '../mappings/transform.ts';
import { safeAddress } from '../stores/address.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { weigh } from '../stores/mongodb/ranges.ts';
import { collectionNames } from '../stores/mongodb/schema.ts';
import { replicaSetOf, wrongDatabase } from '../stores/mongodb/surroundings.ts';
import { batchesOf, batchFor, sampleOf } from '../stores/mongodb/source.ts';
import { encoderOf } from '../stores/postgres/copy.ts';
import { timescaleOf } from '../stores/postgres/schema.ts';
import { Reference, type Row, type TableTarget } from '../stores/postgres/target.ts';
import { GrowthMeter, type Growth } from './growth.ts';
import { Profiler, type Profile } from './profile.ts';

export interface CollectionAssessment {
  readonly collection: string;
  readonly mapping: string | null;
  readonly documents: number;
  readonly averageBytes: number;
  readonly totalBytes: number;
  readonly indexes: readonly { readonly name: string; readonly keys: string; readonly uses: number | null }[];
  readonly growth: Growth | null;
  readonly accessPatterns: {
    readonly source: 'profiler' | 'index use' | 'design' | 'unknown';
    readonly patterns: readonly string[];
  };
  readonly profile: Profile | null;
}

export interface Assessment {
  readonly source: string;
  readonly collections: readonly CollectionAssessment[];
  readonly estimate: { readonly strategy: ReturnType<typeof strategyEstimate>; readonly measured: Trial | null };
  readonly targets: { readonly timescale: boolean | null; readonly why: string };
  readonly warnings: readonly string[];
}

export interface Trial {
  readonly collection: string;
  readonly documents: number;
  readonly documentsPerSecond: number;
  readonly estimated_hours: number;
  /** What the trial leaves out. */
  readonly assumption: string;
}

export interface AssessOptions {
  readonly sample: number;
  readonly trialDocuments: number;
  readonly collection?: string | undefined;
  readonly onProgress?: (collection: string) => void;
}

export async function assess(resources: Resources, options: AssessOptions): Promise<Assessment> {
  const { db } = resources.source;
  const owners = new Map(
    [...resources.mappings.values()].flatMap((mapping) =>
      [mapping.collection, ...mapping.aliases].map((name) => [name, mapping] as const),
    ),
  );
  const names = (await collectionNames(db)).filter(
    (name) => options.collection === undefined || name === options.collection,
  );
  if (!names.some((name) => owners.has(name)) && options.collection === undefined)
    throw new KnownFailure('PreflightFailed', await wrongDatabase(db, resources.source.client, new Set(owners.keys())));
  const ordered = [...names.filter((name) => owners.has(name)), ...names.filter((name) => !owners.has(name))];
  const settings: TransformSettings = { ...defaultSettings, asOf: Date.now() };
  const collections: CollectionAssessment[] = [];
  for (const name of ordered) {
    options.onProgress?.(name);
    collections.push(await assessCollection(db, name, owners.get(name), settings, options.sample));
  }
  const documents = collections.reduce((sum, one) => sum + one.documents, 0);
  const gigabytes = collections.reduce((sum, one) => sum + one.totalBytes, 0) / 1024 ** 3;
  const largest = collections.filter((one) => one.mapping !== null).sort((a, b) => b.documents - a.documents)[0];
  const measured =
    largest && largest.documents > 0
      ? await trial(resources, largest, owners.get(largest.collection)!, settings, options.trialDocuments, documents)
      : null;
  return {
    source: safeAddress(resources.addresses.source),
    collections,
    estimate: { strategy: strategyEstimate(documents, gigabytes), measured },
    targets: await targetsOf(resources),
    warnings: await warningsOf(resources, collections, [...owners.keys()], options.collection === undefined),
  };
}

async function assessCollection(
  db: Db,
  name: string,
  mapping: Mapping | undefined,
  settings: TransformSettings,
  sample: number,
): Promise<CollectionAssessment> {
  const { documents, averageBytes, bytes } = await weigh(db, name);
  const profiler = new Profiler(mapping, settings);
  const growth = new GrowthMeter(settings.zone);
  if (documents > 0 && sample > 0) {
    for await (const raw of sampleOf(db, name, Math.min(sample, documents), averageBytes)) {
      const document = decode(raw);
      profiler.add(document, raw.byteLength);
      growth.add(document);
    }
  }
  const indexes = await indexesOf(db, name);
  return {
    collection: name,
    mapping: mapping?.collection ?? null,
    documents,
    averageBytes,
    totalBytes: bytes,
    indexes,
    growth: growth.result(documents, averageBytes) ?? null,
    accessPatterns: await accessPatterns(db, name, mapping, indexes),
    profile: documents > 0 && sample > 0 ? profiler.result() : null,
  };
}

async function indexesOf(db: Db, name: string): Promise<CollectionAssessment['indexes']> {
  const found = await mongo(`listing indexes of ${name}`, () => db.collection(name).listIndexes().toArray());
  const uses = await db
    .collection(name)
    .aggregate<{ name: string; accesses?: { ops?: unknown } }>([{ $indexStats: {} }])
    .toArray()
    .catch(() => []);
  const byName = new Map(uses.map((one) => [String(one.name), Number(one.accesses?.ops ?? 0)]));
  return found.map((index) => ({
    name: String(index.name),
    keys: Object.entries(index.key as object)
      .map(([field, direction]) => `${field} ${String(direction)}`)
      .join(', '),
    uses: byName.get(String(index.name)) ?? null,
  }));
}

/** What the server can tell, the best first: the profiler's queries, the use of indexes; else the design's list, said so. */
async function accessPatterns(
  db: Db,
  name: string,
  mapping: Mapping | undefined,
  indexes: CollectionAssessment['indexes'],
): Promise<CollectionAssessment['accessPatterns']> {
  const profiled = await db
    .collection('system.profile')
    .aggregate<{ _id: string }>([{ $match: { ns: `${db.databaseName}.${name}` } }, { $group: { _id: '$op' } }])
    .toArray()
    .catch(() => []);
  if (profiled.length > 0) return { source: 'profiler', patterns: profiled.map((one) => String(one._id)) };
  const used = indexes.filter((index) => (index.uses ?? 0) > 0 && index.name !== '_id_');
  if (used.length > 0)
    return { source: 'index use', patterns: used.map((index) => `${index.keys}: ${index.uses} times`) };
  return mapping && mapping.accessPatterns.length > 0
    ? { source: 'design', patterns: mapping.accessPatterns }
    : { source: 'unknown', patterns: [] };
}

/** Reads, transforms and encodes documents of the largest collection, and throws the result away. */
async function trial(
  resources: Resources,
  largest: CollectionAssessment,
  mapping: Mapping,
  settings: TransformSettings,
  most: number,
  total: number,
): Promise<Trial> {
  const encoders = new Map(
    mapping.targets
      .filter((target) => target.store === 'postgres')
      .map((target) => [target.name, encoderOf(target as TableTarget)]),
  );
  const started = performance.now();
  let documents = 0;
  for await (const batch of batchesOf(
    resources.source.db,
    largest.collection,
    undefined,
    batchFor(largest.averageBytes, 2000),
  )) {
    for (const raw of batch) encodeOne(mapping, encoders, decode(raw), settings);
    documents += batch.length;
    if (documents >= most) break;
  }
  const documentsPerSecond = (documents * 1000) / (performance.now() - started);
  const assumption =
    'reading, transforming and encoding on one core, nothing written; loading runs beside it and is taken to cost as much again';
  return {
    collection: largest.collection,
    documents,
    documentsPerSecond,
    estimated_hours: (total * 2) / documentsPerSecond / 3600,
    assumption,
  };
}

function encodeOne(
  mapping: Mapping,
  encoders: ReadonlyMap<string, ReturnType<typeof encoderOf>>,
  document: Document,
  settings: TransformSettings,
): void {
  const result = transformDocument(mapping, document, settings);
  if (result.state !== 'loaded') return;
  for (const [target, rows] of Object.entries(result.outcome)) {
    const encode = encoders.get(target);
    if (encode)
      for (const row of rows)
        encode(
          'trial',
          Object.fromEntries(
            Object.entries(row as Row).map(([column, value]) => [column, value instanceof Reference ? null : value]),
          ),
        );
  }
}

const reason = {
  loaded: 'the server has TimescaleDB: hypertables',
  installed:
    'TimescaleDB is installed but the server has not loaded it (shared_preload_libraries): native partitions by month',
  none: 'the server has no TimescaleDB: native partitions by month',
} as const;

async function targetsOf(resources: Resources): Promise<Assessment['targets']> {
  try {
    const timescale = await timescaleOf(resources.postgres);
    return {
      timescale: timescale === 'loaded',
      why: reason[timescale],
    };
  } catch {
    return {
      timescale: null,
      why: 'the target PostgreSQL cannot be reached, so it is not known whether it has TimescaleDB',
    };
  }
}

const documentLimit = 16 * 1024 * 1024;

async function warningsOf(
  resources: Resources,
  collections: readonly CollectionAssessment[],
  mapped: readonly string[],
  all: boolean,
): Promise<string[]> {
  const warnings: string[] = [];
  await replicaSetOf(resources.source.db, 'source').catch((error: Error) => {
    if (error instanceof KnownFailure) throw error;
    warnings.push(`${error.message} \`causeway start\` will refuse it.`);
  });
  for (const one of collections) {
    if (one.mapping === null)
      warnings.push(`${one.collection} has no mapping and stays where it is (${one.documents} documents).`);
    if (!one.profile) continue;
    const quarantined = Object.values(one.profile.quarantined).reduce((sum, count) => sum + count, 0);
    if (quarantined > one.profile.sampled * 0.05)
      warnings.push(
        `${one.collection}: ${quarantined} of ${one.profile.sampled} sampled documents would be quarantined.`,
      );
    if (one.profile.largestBytes > documentLimit / 2)
      warnings.push(`${one.collection} holds documents above half of MongoDB's 16 MB limit.`);
    if (one.profile.idTypes.length > 1)
      warnings.push(
        `${one.collection} has _id values of several types (${one.profile.idTypes.join(', ')}); all are copied.`,
      );
    if (one.profile.uncovered.length > 0)
      warnings.push(
        `${one.collection}: the mapping does not name ${one.profile.uncovered.join(', ')}; they are carried over as they are.`,
      );
  }
  const there = new Set(collections.map((one) => one.collection));
  for (const mapping of all ? resources.mappings.values() : []) {
    const found = [mapping.collection, ...mapping.aliases].filter((name) => there.has(name));
    if (found.length === 0) warnings.push(`The source has no ${mapping.collection}, under any of its names.`);
    if (found.length > 1) warnings.push(`${found.join(' and ')} are both copied, as ${mapping.collection}.`);
  }
  if (mapped.length === 0) warnings.push('There are no mappings.');
  return warnings;
}
