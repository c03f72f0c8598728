// causeway assess: what it says of a dirty source is what the source holds, and it writes nothing.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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

test('a draft of what is there migrates as it is, and every document is equal', async () => {
  const folder = join(world.home, 'drafted');
  const only = ['token_usage', 'users', 'sessions'].flatMap((name) => ['--collection', name]);
  const dry = await world.causeway(['init', folder, ...only, '--dry-run']);
  expect({ code: dry.code, there: existsSync(folder) }).toEqual({ code: 0, there: false });
  const drafted = await world.causeway(['init', folder, ...only]);
  expect(drafted.code, drafted.stderr).toBe(0);
  expect(drafted.stdout).toContain('another spelling of input_tokens');
  expect(drafted.stdout + (await readFile(join(folder, 'users.mts'), 'utf8'))).not.toContain('@example.com');
  const again = await world.causeway(['init', folder]);
  expect({ code: again.code, said: again.stderr }).toEqual({
    code: 2,
    said: expect.stringContaining('is not empty') as string,
  });

  const drafts = { CAUSEWAY_MAPPINGS: folder };
  const config = join(world.home, 'settings.json');
  await writeFile(config, JSON.stringify({ quarantineBudget: 0.9, configurationDirectory: join(world.home, 'c') }));
  await world.worker(drafts);
  const migrated = await world.causeway(['start', '--until', 'data', '--config', config, '--wait'], drafts);
  expect(migrated.code, migrated.stdout + migrated.stderr).toBe(0);
  const verified = await world.causeway(['verify', '--json'], drafts);
  expect(verified.code, verified.stdout + verified.stderr).toBe(0);
  for (const name of ['token_usage', 'users', 'sessions']) {
    const [row] = await world.rows<{ n: string }>(
      `select count(*) as n from migration_control.ledger l join migration_control.collections c on c.id = l.collection_id where c.source = '${name}'`,
    );
    expect(Number(row!.n), name).toBe(await world.source.collection(name).countDocuments());
  }
});
