// Bad input is refused before anything is written, with a sentence that says what to do and an exit code that says whose fault it is.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import getPort from 'get-port';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { MongoClient } from 'mongodb';
import { mongoBinary } from '../../stack/install.ts';
import { homeOf } from '../../stack/home.ts';
import { World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open('refusals');
  await world.seed(1000, 0.02);
});
afterAll(() => world.close());

const nothingWritten = async () =>
  expect(await world.rows(`select nspname from pg_namespace where nspname = 'migration_control'`)).toEqual([]);
const config = async (content: string) => {
  const file = join(world.home, 'settings.json');
  await writeFile(file, content);
  return file;
};

test.each([
  ['malformed JSON', '{ "parallelism": ', 'no JSON'],
  ['an unknown setting', '{ "paralellism": 4 }', 'paralellism'],
  ['a value out of range', '{ "parallelism": 0 }', 'parallelism'],
  ['a bad stage', '{ "stages": [{ "name": "a", "percentage": 120, "soakSeconds": 1 }] }', 'percentage'],
])('configuration with %s', async (_, content, word) => {
  const ran = await world.causeway(['start', '--config', await config(content)]);
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain(word);
  await nothingWritten();
});

test('a configuration file that is not there', async () => {
  const ran = await world.causeway(['start', '--config', join(world.home, 'missing.json')]);
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain('cannot be read');
});

test('an unknown collection', async () => {
  const ran = await world.causeway(['start', '--config', await config('{ "collections": ["token_usages"] }')]);
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain('token_usages');
  expect(ran.stderr).toContain('Known: ');
  await nothingWritten();
});

test('a store that nobody answers at is named, whichever it is', async () => {
  const variables = ['SOURCE_MONGODB_URL', 'TARGET_POSTGRES_URL', 'TARGET_MONGODB_URL', 'TARGET_REDIS_URL'];
  // Side by side: each is asked again for some seconds, because it might be restarting.
  await Promise.all(
    variables.map(async (variable) => {
      const url = new URL(world.environment[variable]!.replace('?directConnection=true', ''));
      url.port = String(await getPort({ host: '127.0.0.1' }));
      const ran = await world.causeway(['start'], {
        [variable]: `${url.href}${variable.includes('MONGODB') ? '?directConnection=true' : ''}`,
      });
      expect(ran.code, ran.stderr).toBe(3);
      const [first, last] = ran.stderr.trim().split('\n');
      expect(first).toMatch(/It is asked again for 10 s\.$/);
      expect(last).toContain(url.host);
      expect(last).toContain(variable);
    }),
  );
  await nothingWritten();
});

test.each([
  ['an address where nobody answers', { TEMPORAL_ADDRESS: '127.0.0.1:1' }, '127.0.0.1:1 cannot be reached'],
  ['a namespace that is not there', { TEMPORAL_NAMESPACE: 'nowhere' }, 'has no namespace "nowhere"'],
])('a dry run asks Temporal too: %s', async (_, variables, sentence) => {
  const ran = await world.causeway(['start', '--dry-run'], variables);
  expect(ran.code, ran.stderr).toBe(3);
  expect(ran.stderr.trim().split('\n')).toHaveLength(1);
  expect(ran.stderr).toContain(sentence);
});

test('a wrong password, which is not repeated', async () => {
  const url = new URL(world.environment['TARGET_POSTGRES_URL']!);
  url.password = 'not-the-password';
  const ran = await world.causeway(['start'], { TARGET_POSTGRES_URL: url.href });
  expect(ran.code).toBe(3);
  expect(ran.stderr).toContain('password');
  expect(ran.stderr).not.toContain('not-the-password');
});

test.each([
  ['start', 'TARGET_POSTGRES_URL', 'tradngagents', /tradngagents.*does not exist.*TARGET_POSTGRES_URL/],
  ['worker', 'TARGET_POSTGRES_URL', 'tradngagents', /tradngagents.*does not exist.*TARGET_POSTGRES_URL/],
  ['start', 'TARGET_REDIS_URL', '4711', /4711.*TARGET_REDIS_URL/],
  ['worker', 'TARGET_REDIS_URL', '4711', /4711.*TARGET_REDIS_URL/],
])(
  '%s: a database that the server of %s does not have is named, and not waited for',
  async (command, variable, database, sentence) => {
    const url = new URL(world.environment[variable]!);
    url.pathname = `/${database}`;
    const ran = await world.causeway([command], { [variable]: url.href });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toMatch(sentence);
    expect(ran.stderr).not.toMatch(/asked again|no work is taken yet|cannot be reached/);
    expect(ran.stderr.trim().split('\n')).toHaveLength(1);
  },
);

test('a variable that is no address', async () => {
  const ran = await world.causeway(['start'], { TARGET_POSTGRES_URL: 'mysql://host/db' });
  expect(ran.code).toBe(2);
  expect(ran.stderr).toContain('TARGET_POSTGRES_URL');
});

test('a source, and a target, that is no replica set', async () => {
  const { path, is } = await mongoBinary(homeOf(world.environment), () => undefined);
  const port = await getPort({ host: '127.0.0.1' });
  const folder = await mkdtemp(join(tmpdir(), 'standalone-'));
  const args =
    is === 'mongod'
      ? ['--dbpath', folder, '--port', `${port}`, '--bind_ip', '127.0.0.1']
      : ['--standalone', '--storage-path', folder, '--port', `${port}`, '--cache-size', '64M'];
  const server = spawn(path, args, { stdio: 'ignore' });
  try {
    const url = `mongodb://127.0.0.1:${port}/tradingagents?directConnection=true`;
    await vi.waitFor(async () => {
      const client = new MongoClient(url, { serverSelectionTimeoutMS: 500 });
      await client
        .db()
        .command({ ping: 1 })
        .finally(() => client.close());
    }, 15_000);
    const ran = await world.causeway(['start'], { SOURCE_MONGODB_URL: url });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('not a replica set');
    expect(ran.stderr).toContain('rs.initiate()');
    const target = await world.causeway(['start'], { TARGET_MONGODB_URL: url });
    expect(target.code).toBe(1);
    expect(target.stderr).toContain('The target MongoDB is not a replica set');
    await nothingWritten();
  } finally {
    server.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
});

test('foreign tables, foreign collections, foreign keys: nothing of them is touched', async () => {
  await world.rows('create table users (id int)');
  const table = await world.causeway(['start']);
  expect(table.code).toBe(1);
  expect(table.stderr).toContain('users');
  await world.rows('drop table users');
  await world.rows('create table unrelated (id int)');
  expect((await world.causeway(['start'])).stderr).toContain('allowForeignTables');
  await world.rows('drop table unrelated');

  await world.target.createCollection('analysis_results_optimized');
  expect((await world.causeway(['start'])).stderr).toContain('analysis_results_optimized');
  await world.target.dropCollection('analysis_results_optimized');

  await world.redis.set('session:somebody', 'else');
  expect((await world.causeway(['start'])).stderr).toContain('session:');
  expect(await world.redis.get('session:somebody')).toBe('else');
  await world.redis.del('session:somebody');
  await nothingWritten();
});

test('a mapping that leaves a required column empty', async () => {
  const folder = join(world.home, 'mappings');
  const { mkdir } = await import('node:fs/promises');
  await mkdir(folder, { recursive: true });
  const root = new URL('../../', import.meta.url).pathname;
  await writeFile(
    join(folder, 'index.mts'),
    `import { z } from '${root}node_modules/zod/index.js';
import { table, text } from '${root}stores/postgres/target.ts';
import { defineMapping } from '${root}mappings/mapping.ts';
export const application = [defineMapping({ collection: 'market_news', class: 'static', shape: z.looseObject({}),
  targets: [table('market_news', { columns: { title: text({ notNull: true }) } })], transform: () => ({ market_news: [{}] }) })];`,
  );
  await world.source.collection('market_news').insertOne({ headline: 'x' });
  const ran = await world.causeway(['start'], { CAUSEWAY_MAPPINGS: folder });
  expect(ran.code).toBe(1);
  expect(ran.stderr).toContain('market_news.title');
  await nothingWritten();
});

test('a dry run says what would be done and writes nothing', async () => {
  const ran = await world.causeway(['start', '--dry-run', '--json']);
  expect(ran.code, ran.stderr).toBe(0);
  expect(
    (JSON.parse(ran.stdout) as { collections: { collection: string }[] }).collections.map((one) => one.collection),
  ).toContain('token_usage');
  await nothingWritten();
});

test('usage errors are 2, --help is 0', async () => {
  expect((await world.causeway(['nonsense'])).code).toBe(2);
  expect((await world.causeway(['start', '--until', 'lunch'])).code).toBe(2);
  const help = await world.causeway(['start', '--help']);
  expect(help.code).toBe(0);
  expect(help.stdout).toContain('--until');
});
