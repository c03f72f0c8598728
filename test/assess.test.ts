// causeway assess: what it says of a dirty source is what the source holds, and it writes nothing.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Assessment } from '../assess/index.ts';
import { World, type Ran } from './support/world.ts';

let world: World;
let ran: Ran;
let found: Assessment;
beforeAll(async () => {
  world = await World.open('assess');
  await world.seed(3000, 0.1);
  await world.source.collection('token_usage_backup_20250801_000000').insertOne({ old: true });
  ran = await world.causeway(['assess', '--json', '--sample', '5000', '--trial-documents', '1000']);
  found = JSON.parse(ran.stdout) as Assessment;
});
afterAll(() => world.close());

test("counts and sizes are the source's", async () => {
  expect(ran.code, ran.stderr).toBe(0);
  for (const { name } of await world.source.listCollections().toArray()) {
    const one = found.collections.find((it) => it.collection === name);
    expect(one?.documents, name).toBe(await world.source.collection(name).countDocuments());
  }
});

test('growth, indexes and access patterns are told, with where they were read', () => {
  const usage = found.collections.find((one) => one.collection === 'token_usage')!;
  expect(usage.growth).toMatchObject({ from: expect.any(String) as string });
  expect(usage.growth!.documentsPerDay).toBeGreaterThan(0);
  expect(usage.indexes.map((index) => index.name)).toContain('_id_');
  expect(usage.accessPatterns.patterns.length).toBeGreaterThan(0);
  expect(['design', 'profiler', 'index use']).toContain(usage.accessPatterns.source);
});

test('the type profile, the uncovered fields and the quarantine of the sample are found', () => {
  const usage = found.collections.find((one) => one.collection === 'token_usage')!;
  const cost = usage.profile!.fields.find((field) => field.path === 'cost')!;
  expect(Object.keys(cost.types)).toEqual(expect.arrayContaining(['double', 'string']));
  expect(usage.profile!.quarantined).toHaveProperty('timestamp_not_null');
  expect(usage.profile!.idTypes.length).toBeGreaterThan(1);
  expect(found.collections.some((one) => one.profile !== null && one.profile.uncovered.length > 0)).toBe(true);
});

test('both estimates stand side by side', () => {
  expect(found.estimate.strategy).toMatchObject({
    parallel_workers: 4,
    recommended_window: expect.stringContaining('hours') as string,
  });
  expect(found.estimate.measured!.documentsPerSecond).toBeGreaterThan(1000);
});

test('unknown collections are named, and values are not', () => {
  expect(found.warnings.join(' ')).toContain('token_usage_backup_20250801_000000 has no mapping');
  expect(ran.stdout).not.toContain('@example.com');
});

test('nothing is written, and an unreachable source is exit code 3', async () => {
  expect(await world.rows(`select 1 from pg_namespace where nspname = 'migration_control'`)).toEqual([]);
  const url = world.environment['SOURCE_MONGODB_URL']!.replace(/:\d+\//, ':1/');
  const none = await world.causeway(['assess'], { SOURCE_MONGODB_URL: `${url}&serverSelectionTimeoutMS=500` });
  expect(none.code, none.stderr).toBe(3);
});
