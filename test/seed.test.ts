// The seed: same request, same bytes; each case of dirt planted and written down; never over somebody's data.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deserialize, serialize } from 'bson';
import { MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idFromSourceId, sourceId } from '../core/identity.ts';
import { batches } from '../seed/fill.ts';
import type { Generator, Planted } from '../seed/generator.ts';
import { seedSource, type PlantedHeader, type SeedOptions, type SeedSummary } from '../seed/index.ts';
import { generators } from '../seed/world.ts';
import { stack } from './support/stack.ts';

const small = { documents: 1000, dirty: 0.05, seed: 11 };
const bytes = (generator: Generator, index: number): string =>
  Buffer.from(serialize(generator.make(index).document)).toString('hex');
const all = (generator: Generator) => Array.from({ length: generator.plan.count }, (_, index) => generator.make(index));
const planted = (generator: Generator): Planted[] => all(generator).flatMap((made) => made.planted ?? []);

describe('making documents', () => {
  it('gives the same bytes for the same request, in whatever order they are asked for', () => {
    const again = generators(small);
    generators(small).forEach((generator, n) => {
      const forwards = Array.from({ length: generator.plan.count }, (_, index) => bytes(generator, index));
      const backwards = forwards.map((_, index) => bytes(again[n]!, generator.plan.count - 1 - index)).reverse();
      expect(backwards).toEqual(forwards);
    });
  });

  it('gives other documents for another seed', () => {
    const other = generators({ ...small, seed: 12 });
    generators(small).forEach((generator, n) => expect(bytes(generator, 3)).not.toBe(bytes(other[n]!, 3)));
  });

  it('puts every document into exactly one batch, in order', () => {
    for (const generator of generators(small)) {
      const ids = [...batches(generator)].flatMap((batch) => batch.documents.map((document) => sourceId(document._id)));
      expect(ids).toEqual(all(generator).map(({ document }) => sourceId(document._id)));
    }
  });

  it.each([0, 0.01, 0.5, 1])('gives each document an _id of its own, with %d of them dirty', (dirty) => {
    for (const generator of generators({ documents: 5000, dirty, seed: 3 })) {
      expect(new Set(all(generator).map(({ document }) => sourceId(document._id))).size).toBe(generator.plan.count);
    }
  });

  it('has names, addresses, sessions and keys that only planted duplicates share', () => {
    for (const [mapping, ...fields] of [
      ['subscription_users', 'username', 'email'],
      ['sessions', 'session_id'],
      ['metadata', 'key'],
    ]) {
      const clean = generators({ ...small, documents: 20_000 })
        .filter(({ shape }) => shape.mapping === mapping)
        .flatMap(all)
        .filter((made) => made.clean);
      for (const field of fields) {
        const values = clean.flatMap(({ document }) =>
          field in document ? [String(document[field]).normalize('NFKC').toLowerCase()] : [],
        );
        expect(new Set(values).size).toBe(values.length);
      }
    }
  });
});

describe('dirt', () => {
  it('makes up the share asked for', () => {
    for (const { plan, shape } of generators({ documents: 200_000, dirty: 0.02, seed: 5 })) {
      let dirty = 0;
      for (let index = 0; index < plan.count; index++) if (plan.dirtyOrdinal(index) !== undefined) dirty++;
      expect(dirty, plan.collection).toBe(Math.max(Math.round(plan.count * 0.02), shape.cases.length));
    }
  });

  it('is none when none is asked for, whatever the size', () => {
    const clean = generators({ documents: 50, dirty: 0, seed: 1 });
    expect(clean.flatMap(planted)).toEqual([]);
  });

  it('has each case of each collection at 1,000 documents', () => {
    const made = generators(small);
    expect(made.reduce((sum, { plan }) => sum + plan.count, 0)).toBe(1000);
    for (const generator of made) {
      const names = planted(generator).map((one) => `${one.case} ${one.variant}`);
      expect(new Set(names)).toEqual(new Set(generator.shape.cases.map((one) => `${one.case} ${one.variant}`)));
      expect(new Set(names).size, 'variants are named apart').toBe(generator.shape.cases.length);
    }
  });

  it('covers the list of dirty documents', () => {
    const covered = new Set(generators(small).flatMap(({ shape }) => shape.cases.map((one) => one.case)));
    const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
    const wanted = [...range(2, 31), ...range(33, 56), ...range(58, 66), ...range(70, 74)];
    expect(wanted.filter((number) => !covered.has(number))).toEqual([]);
  });

  it('names a rule exactly for what is to be quarantined', () => {
    for (const { shape } of generators(small)) {
      for (const one of shape.cases)
        expect(one.rule !== undefined, `${shape.collection} ${one.variant}`).toBe(one.expect === 'quarantined');
    }
  });

  it('clashes with clean documents that are there', () => {
    for (const generator of generators({ ...small, documents: 30_000 })) {
      const made = all(generator);
      const clean = new Set(made.flatMap((one) => (one.clean ? [sourceId(one.document._id)] : [])));
      for (const { planted: one } of made) {
        if (one?.check?.field === 'clashes_with') expect(clean).toContain(one.check.value);
      }
    }
  });
});

describe('seedSource', () => {
  const database = `seed_test_${process.pid}_${Date.now()}`;
  let folder: string;
  let client: MongoClient;
  let options: SeedOptions;
  let summary: SeedSummary;

  beforeAll(async () => {
    const url = new URL(stack.SOURCE_MONGODB_URL);
    url.pathname = `/${database}`;
    folder = await mkdtemp(join(tmpdir(), 'causeway-seed-'));
    options = { ...small, url: url.href, plantedFile: join(folder, 'planted.jsonl') };
    client = await new MongoClient(url.href).connect();
    summary = await seedSource(options);
  });

  afterAll(async () => {
    await client.db().dropDatabase();
    await client.close();
    await rm(folder, { recursive: true });
  });

  const read = async (): Promise<[PlantedHeader, Planted[]]> => {
    const [header, ...lines] = (await readFile(options.plantedFile, 'utf8')).trimEnd().split('\n');
    return [JSON.parse(header!) as PlantedHeader, lines.map((line) => JSON.parse(line) as Planted)];
  };

  it('writes as many documents as it says', async () => {
    const [header] = await read();
    for (const [collection, count] of Object.entries(header.collections)) {
      expect(await client.db().collection(collection).countDocuments(), collection).toBe(count);
      expect(summary.collections[collection]!.documents).toBe(count);
    }
    expect(summary.documents).toBe(1000);
  });

  it('writes down each dirty document under the _id it has in the database', async () => {
    const [, lines] = await read();
    expect(lines.length).toBe(summary.dirty);
    for (const line of lines) {
      const collection = client.db().collection(line.collection);
      const raw = await collection.findOne({ _id: idFromSourceId(line.sourceId) } as object, { raw: true });
      // Decoded here: the driver's own copy of bson has other classes.
      const found = raw && deserialize(raw as unknown as Uint8Array, { promoteValues: false });
      expect(found && sourceId(found['_id']), `${line.collection} ${line.case} ${line.variant}`).toBe(line.sourceId);
    }
  });

  it('stores the bytes it made', async () => {
    const generator = generators(small).find(({ shape }) => shape.collection === 'token_usage')!;
    const stored = await client.db().collection('token_usage').find({}, { raw: true }).toArray();
    const expected = all(generator).map(({ document }) => Buffer.from(serialize(document)).toString('hex'));
    const actual = stored.map((raw) => Buffer.from(raw as unknown as Uint8Array).toString('hex'));
    expect(actual.sort()).toEqual(expected.sort());
  });

  it('refuses a database that has documents', async () => {
    await expect(seedSource(options)).rejects.toThrow(/already has documents in .*causeway stack reset/);
  });

  it('refuses a URL without a database and collections it does not know', async () => {
    await expect(seedSource({ ...options, url: 'mongodb://127.0.0.1:1/' })).rejects.toThrow(/names no database/);
    await expect(seedSource({ ...options, only: ['orders'] })).rejects.toThrow(/no collection orders/);
  });
});
