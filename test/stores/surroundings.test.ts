// Surroundings that the protocol does not work in are refused by name, those that a connection can set aside are set aside.
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assess } from '../../assess/index.ts';
import { planScans } from '../../activities/verify/plan.ts';
import { preflight } from '../../activities/preflight/index.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import { replicaSetOf } from '../../stores/mongodb/surroundings.ts';
import { inTransaction, openPool, query } from '../../stores/postgres/connection.ts';
import { hasTimescale, timescaleOf } from '../../stores/postgres/schema.ts';
import { surroundingsOf } from '../../stores/postgres/surroundings.ts';
import { WirePeer } from '../support/wire-peer.ts';
import { World } from '../support/world.ts';

let world: World;
let owner: pg.Client;
const settings = (readSettings({}) as { settings: Settings }).settings;

beforeAll(async () => {
  world = await World.open('surroundings');
  owner = new pg.Client({ connectionString: world.environment['TARGET_POSTGRES_URL']! });
  await owner.connect();
});
afterAll(async () => {
  await owner?.end();
  await world?.close();
});

const databaseOf = () => new URL(world.environment['TARGET_POSTGRES_URL']!).pathname.slice(1);
const on = (database: string) => world.environment['TARGET_POSTGRES_URL']!.replace(databaseOf(), database);

test.each(['LATIN1', 'SQL_ASCII', 'WIN1252', 'EUC_CN'])('a target database in %s is refused', async (encoding) => {
  const database = `${databaseOf()}_${encoding.toLowerCase()}`;
  await owner.query(`create database ${database} encoding '${encoding}' template template0 locale 'C'`);
  const pool = openPool(on(database), 2);
  try {
    expect((await surroundingsOf(pool)).refused).toEqual([
      expect.stringContaining(`${database} is encoded in ${encoding}`),
    ]);
  } finally {
    await pool.end();
    await owner.query(`drop database ${database}`);
  }
});

const altered = {
  default_transaction_isolation: `'repeatable read'`,
  default_transaction_deferrable: 'on',
  statement_timeout: `'3s'`,
  lock_timeout: `'3s'`,
  idle_in_transaction_session_timeout: `'3s'`,
  idle_session_timeout: `'3s'`,
  search_path: 'pg_catalog',
  timezone: `'Asia/Kathmandu'`,
  datestyle: `'SQL, DMY'`,
  intervalstyle: `'sql_standard'`,
  extra_float_digits: '-15',
  bytea_output: 'escape',
  standard_conforming_strings: 'off',
  array_nulls: 'off',
  transform_null_equals: 'on',
  synchronous_commit: 'off',
  client_encoding: 'LATIN1',
};

test.each(['database', 'role', 'role in database'])(
  'settings of a %s are set aside by every connection',
  async (kind) => {
    const database = databaseOf();
    const role = `altered_${database}`;
    const place = {
      database: `alter database ${database}`,
      role: `alter role ${role}`,
      'role in database': `alter role ${role} in database ${database}`,
    }[kind]!;
    await owner.query(`create role ${role} login superuser password 'x'`);
    for (const [setting, value] of Object.entries(altered)) await owner.query(`${place} set ${setting} = ${value}`);
    const url = new URL(world.environment['TARGET_POSTGRES_URL']!);
    url.username = role;
    url.password = 'x';
    const pool = openPool(url.href, 2);
    try {
      const [row] = await query<Record<string, string>>(
        pool,
        'looking',
        `select ${Object.keys(altered)
          .map((setting) => `current_setting('${setting}') as ${setting}`)
          .join(
            ', ',
          )}, '2020-02-01T00:00:00Z'::timestamptz::text as time, '\\x00ff'::bytea::text as bytes, 0.1::float8::text as float`,
      );
      expect(row).toMatchObject({
        default_transaction_isolation: 'read committed',
        default_transaction_deferrable: 'off',
        statement_timeout: '0',
        lock_timeout: '0',
        idle_in_transaction_session_timeout: '0',
        idle_session_timeout: '0',
        search_path: 'public',
        array_nulls: 'on',
        transform_null_equals: 'off',
        synchronous_commit: 'on',
        client_encoding: 'UTF8',
        time: '2020-02-01 00:00:00+00',
        bytes: String.raw`\x00ff`,
        float: '0.1',
      });
      await inTransaction(pool, 'sleeping', (client) => client.query('select pg_sleep(0.05)'));
      expect((await surroundingsOf(pool)).warnings.join()).toContain(
        'transactions begin as repeatable read by default',
      );
    } finally {
      await pool.end();
      for (const setting of Object.keys(altered)) await owner.query(`${place} reset ${setting}`);
      await owner.query(`drop role ${role}`);
    }
  },
);

test('what no connection can set aside is refused with what mends it', async () => {
  const database = databaseOf();
  const pool = () => openPool(world.environment['TARGET_POSTGRES_URL']!, 2);
  for (const [setting, value, said] of [
    ['session_replication_role', 'replica', 'no trigger would note'],
    ['default_transaction_read_only', 'on', 'read-only by default'],
  ] as const) {
    // From another database: this one would be read-only for us, too.
    const elsewhere = new pg.Client({ connectionString: on('postgres') });
    await elsewhere.connect();
    await elsewhere.query(`alter database ${database} set ${setting} = ${value}`);
    const opened = pool();
    try {
      const { refused } = await surroundingsOf(opened);
      expect(refused.join()).toContain(said);
      expect(refused.join()).toMatch(/alter (role|database) /);
    } finally {
      await opened.end();
      await elsewhere.query(`alter database ${database} reset ${setting}`);
      await elsewhere.end();
    }
  }
  const role = `other_${database}`;
  await owner.query(`create role ${role}; alter role ${role} set default_transaction_isolation = 'serializable'`);
  const opened = pool();
  expect((await surroundingsOf(opened)).warnings.join()).toContain(
    `the role ${role} has default_transaction_isolation=serializable`,
  );
  await opened.end();
  await owner.query(`drop role ${role}`);
});

test('files of TimescaleDB alone do not make hypertables', async (context) => {
  const has = await world.rows(`select from pg_settings where name = 'extension_control_path'`);
  if (has.length === 0) context.skip('before version 18 PostgreSQL finds extensions in its own folder only');
  const folder = await mkdtemp(join(tmpdir(), 'extensions-'));
  const before = await timescaleOf(world.pool);
  const place = `alter database ${databaseOf()}`;
  let pool: pg.Pool | undefined;
  try {
    await mkdir(join(folder, 'extension'));
    // What Debian's package brings, without the library in shared_preload_libraries.
    await writeFile(
      join(folder, 'extension', 'timescaledb.control'),
      `comment = 'files only'\ndefault_version = '2'\n`,
    );
    await writeFile(join(folder, 'extension', 'timescaledb--2.sql'), '');
    for (const at of [folder, join(folder, 'extension')]) await chmod(at, 0o755);
    await owner.query(`${place} set extension_control_path = '${folder}:$system'`);
    pool = openPool(world.environment['TARGET_POSTGRES_URL']!, 2);
    expect(await query(pool, 'looking', `select from pg_available_extensions where name = 'timescaledb'`)).toEqual([
      {},
    ]);
    expect([before, await timescaleOf(pool)]).toEqual(
      before === 'loaded' ? ['loaded', 'loaded'] : ['none', 'installed'],
    );
    expect(await hasTimescale(pool)).toBe(before === 'loaded');
  } finally {
    await pool?.end();
    await owner.query(`${place} reset extension_control_path`);
    await rm(folder, { recursive: true, force: true });
  }
});

test('a database of the source that holds none of the collections is refused, and those that hold them are named', async () => {
  const resources = await world.resources();
  const { client } = resources.source;
  const right = `${world.source.databaseName}_right`;
  try {
    await client.db(right).collection('token_usage').insertOne({ provider: 'x' });
    await client.db(right).collection('users').insertOne({ username: 'x' });
    const refusal = expect.objectContaining({
      type: 'PreflightFailed',
      message: expect.stringMatching(new RegExp(`${right} holds [12] of them .*SOURCE_MONGODB_URL`)) as string,
    }) as Error;
    await expect(assess(resources, { sample: 10, trialDocuments: 10 })).rejects.toEqual(refusal);
    await expect(preflight(resources, 'm', settings)).rejects.toEqual(refusal);
    const mapping = resources.mappings.get('users')!;
    await expect(planScans(resources, [{ mapping, source: 'users', collectionId: 1 } as never])).rejects.toEqual(
      refusal,
    );
  } finally {
    await client.db(right).dropDatabase();
    await resources.close();
  }
});

test.each([
  ['a mongos', { isdbgrid: true }, {}, /sharded cluster \(a mongos answers\).*replica sets only/],
  [
    'a secondary',
    {},
    { isWritablePrimary: false, ismaster: false, secondary: true },
    /no primary.*replicaSet=scripted/,
  ],
  ['a mongod alone', {}, { setName: undefined }, /not a replica set.*--replSet/],
])('%s is refused as source and as target', async (_, options, said, sentence) => {
  const peer = await WirePeer.listen(undefined, options);
  const own = peer.hello();
  peer.answer = (__, name) => (/^(hello|ismaster)$/i.test(name) ? { ...own, ...said } : undefined);
  try {
    for (const side of ['source', 'target'] as const) {
      const { client, db } = openMongo(peer.url, side);
      await expect(replicaSetOf(db, side).finally(() => client.close())).rejects.toThrow(sentence);
    }
  } finally {
    await peer.close();
  }
});
