// From `assess` to `rollback --to old` on servers as users have them: Debian's PostgreSQL (JIT on, other defaults) and Redis (password, eviction), TLS
// with a CA and client certificates of one's own on every store, IPv6, users with the rights that the runbook names and no more, and a Temporal cluster
// behind TLS and an API key that nobody has prepared.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkout } from '../../stack/home.ts';
import { makeCertificates } from '../support/certificates.ts';
import type { Server } from '../support/server.ts';
import { ipv6, missing, startMongo, startPostgres, startRedis, stockPostgres, stockRedis } from '../support/stock.ts';
import { startTemporal, type OwnTemporal } from '../support/temporal.ts';
import { reaching, temporalProxy, type TemporalProxy } from '../support/temporal-proxy.ts';
import { World } from '../support/world.ts';

const password = 'p@ss:w/rd%?#';
const lacks = missing({ 'PostgreSQL 15': stockPostgres, 'Redis 7 with TLS': stockRedis });
if (!ipv6) process.stderr.write('SKIPPED: IPv6, this machine has no ::1; the same runs over IPv4\n');

/** The statements as the runbook prints them. */
async function documented() {
  const page = await readFile(join(checkout, 'docs', 'runbook', '1-preparation.md'), 'utf8');
  const blocks = [...page.matchAll(/```\w*\n([\s\S]*?)```/g)].map(([, text]) => text!.trim());
  const of = (start: string) => blocks.find((block) => block.startsWith(start))!;
  const statements = of('create role').split(';');
  return {
    sql: statements.map((statement) => statement.trim()).filter(Boolean),
    roles: [...of('db.getSiblingDB').matchAll(/role: '(\w+)'/g)].map(([, role]) => role!),
    acl: of('ACL SETUSER').split(' ').slice(2),
  };
}

describe.skipIf(lacks !== undefined)('few rights, TLS everywhere, other defaults', () => {
  let world: World;
  let folder: string;
  let temporal: OwnTemporal;
  let cluster: TemporalProxy;
  /** The URLs with the documented user in them, and the cluster's address and keys. */
  let little: Record<string, string>;
  let config: string[];
  const servers: Server[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'certificates-'));
    const tls = await makeCertificates(folder);
    const unusual = {
      work_mem: '64kB',
      default_transaction_isolation: 'repeatable read',
      timezone: 'Asia/Shanghai',
      datestyle: 'SQL, DMY',
      bytea_output: 'escape',
      standard_conforming_strings: 'off',
      synchronous_commit: 'off',
      lock_timeout: '100ms',
    };
    const [postgres, redis, source, target, unprepared] = await Promise.all([
      startPostgres(password, unusual, tls),
      startRedis(password, tls),
      startMongo(password, { tls, host: ipv6 ? '::1' : '127.0.0.1' }),
      startMongo(password, { tls, demands: true }),
      startTemporal({}, [], false),
    ]);
    servers.push(postgres, redis, source, target);
    temporal = unprepared;
    cluster = await temporalProxy(temporal.address, tls);
    const owner = new pg.Client({ connectionString: postgres.url('postgres') });
    await owner.connect();
    await owner.query('create database tradingagents');
    await owner.end();
    world = await World.open('stock', temporal.address, {
      SOURCE_MONGODB_URL: source.url('tradingagents'),
      TARGET_MONGODB_URL: target.url('tradingagents'),
      TARGET_POSTGRES_URL: postgres.url('tradingagents'),
      TARGET_REDIS_URL: redis.url,
    });
    await grant(postgres.url('postgres'), [source.url('admin'), target.url('admin')]);
    little = Object.fromEntries(
      Object.entries(world.environment)
        .filter(([name]) => /^(SOURCE|TARGET)_/.test(name))
        .map(([name, url]) => [name, url.replace(/\/\/[^@]*@/, `//causeway:${encodeURIComponent(password)}@`)]),
    );
    if (ipv6)
      for (const name of ['TARGET_POSTGRES_URL', 'TARGET_REDIS_URL'])
        little[name] = little[name]!.replace('@localhost:', '@[::1]:');
    Object.assign(little, reaching(cluster, tls, password));
    await world.seed(600, 0.03);
    const stage = (name: string, percentage: number, writes = 'dual_write', soakSeconds = 1) => ({
      ...{ name, percentage, writes, soakSeconds },
    });
    const settings = {
      stages: [stage('reads', 50), stage('writes', 100, 'new_system', 600)],
      sampleSeconds: 0.5,
      policy: { queryTime: { floorMs: 5000 } },
      quarantineBudget: 0.9,
      configurationDirectory: join(world.home, 'configuration'),
    };
    await writeFile(join(world.home, 'settings.json'), JSON.stringify(settings));
    config = ['--config', join(world.home, 'settings.json')];
  }, 180_000);
  afterAll(async () => {
    await world?.close();
    await cluster?.stop();
    await temporal?.stop();
    await Promise.all(servers.map((server) => server.stop()));
    await rm(folder, { recursive: true, force: true });
  });

  /** Runs what the runbook says, as its administrators would. */
  async function grant(postgres: string, mongods: readonly string[]): Promise<void> {
    const database = world.source.databaseName;
    const { sql, roles, acl } = await documented();
    const admin = new pg.Client({ connectionString: postgres });
    await admin.connect();
    for (const statement of sql.filter((one) => !one.includes('schema public') && !one.startsWith('create database')))
      await admin.query(statement.replace('PASSWORD', password).replaceAll('tradingagents', database));
    await admin.end();
    for (const statement of sql.filter((one) => one.includes('schema public'))) await world.rows(statement);
    for (const url of mongods) {
      const root = new MongoClient(url);
      const granted = roles.map((role) => ({ role, db: database }));
      await root.db('admin').command({ createUser: 'causeway', pwd: password, roles: granted });
      await root.close();
    }
    await world.redis.call('ACL', 'SETUSER', ...acl.map((rule) => rule.replace('PASSWORD', password)));
  }

  async function good(...args: string[]): Promise<string> {
    const ran = await world.causeway(args, little);
    expect(ran.code, `${args.join(' ')}: ${ran.stdout} ${ran.stderr}`).toBe(0);
    expect(`${ran.stdout}${ran.stderr}`).not.toMatch(/p@ss|p%40ss/);
    return ran.stdout;
  }

  test('assess and the dry run name what differs', async () => {
    await good('assess', '--sample', '50', '--trial-documents', '50');
    const checks = await good('start', '--dry-run', ...config);
    expect(checks).toContain('transactions begin as repeatable read by default');
    expect(checks).toContain('maxmemory-policy is allkeys-lru');
  });

  test('the migration comes to the write cutover, with every connection over TLS', async () => {
    await world.worker(little);
    await good('start', ...config);
    await world.until(
      (status) => Object.values(status.routing).some((route) => route.writeMode === 'new_system'),
      120_000,
    );
    const [row] = await world.rows(
      `select bool_and(ssl) as secure, bool_and(client_dn = '/CN=causeway') as known, count(*) > 0 as here
       from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'causeway'`,
    );
    expect(row).toEqual({ secure: true, known: true, here: true });
    await good('verify');
  });

  test('what was written to the new system is in the old one after the rollback', async () => {
    await world.rows(`update users set email = 'changed@example.org' where id = (select min(id) from users)`);
    await good('rollback', '--to', 'old', '--reason', 'test');
    await world.until(
      (status) => Object.values(status.routing).every((route) => route.writeMode !== 'new_system'),
      120_000,
    );
    const routes = await world.rows('select distinct percentage, write_mode from migration_control.routing');
    expect(routes).toEqual([{ percentage: 0, write_mode: expect.not.stringMatching('new_system') as string }]);
    const [first, second] = ['subscription_users', 'users'].map((name) => world.source.collection(name));
    const found = { email: 'changed@example.org' };
    expect((await first!.countDocuments(found)) + (await second!.countDocuments(found))).toBe(1);
  });
});
