// Servers as users have them: Debian's PostgreSQL, Redis and pgbouncer, where `.ci/stock-servers` has unpacked them or the machine has them.
import { existsSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { writeFileSync as writeNow } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { run } from '../../stack/command.ts';
import { checkout, homeOf } from '../../stack/home.ts';
import { mongoBinary } from '../../stack/install.ts';
import { unprivileged } from '../../stack/privilege.ts';
import { openRedis } from '../../stores/redis/connection.ts';
import type { Certificates } from './certificates.ts';
import { startServer, type Server } from './server.ts';

const unpacked = join(checkout, '.causeway', 'stock');
const libraries = {
  LD_LIBRARY_PATH: ['x86_64', 'aarch64'].map((machine) => join(unpacked, `usr/lib/${machine}-linux-gnu`)).join(':'),
};
const found = (path: string) => [path, join(unpacked, path)].find((file) => file.startsWith('/') && existsSync(file));

export const stockPostgres = found('/usr/lib/postgresql/15/bin');
export const stockRedis = [join(unpacked, 'usr/bin/redis-server')].find((file) => existsSync(file));
export const stockPgbouncer = [join(unpacked, 'usr/sbin/pgbouncer')].find((file) => existsSync(file));

/** Why a test cannot run here; undefined where it can. */
export const missing = (what: Record<string, string | undefined>): string | undefined => {
  const names = Object.entries(what).flatMap(([name, path]) => (path === undefined ? [name] : []));
  if (names.length === 0) return undefined;
  const reason = `${names.join(', ')} not on this machine: run .ci/stock-servers`;
  // Not by the console, which some reporters keep: a run must show that it did not prove this.
  process.stderr.write(`SKIPPED: tests on stock servers: ${reason}\n`);
  return reason;
};

/** Whether the machine has IPv6, if only for itself. */
export const ipv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));

export interface StockPostgres extends Server {
  /** As the superuser. */
  url(database: string): string;
}

/** As Debian ships it: JIT on, no settings of ours but those given. With certificates it takes nobody without one. */
export async function startPostgres(
  password: string,
  settings: Record<string, string> = {},
  tls?: Certificates,
): Promise<StockPostgres> {
  const account = await unprivileged();
  const env = { ...libraries, TZ: 'UTC' };
  const [program, ...before] = [...account.prefix, join(stockPostgres!, 'postgres')];
  const options = {
    unix_socket_directories: '',
    listen_addresses: ipv6 ? '127.0.0.1,::1' : '127.0.0.1',
    fsync: 'on',
    ...settings,
  };
  const query = tls
    ? `?sslmode=verify-full&${new URLSearchParams({ sslrootcert: tls.ca, sslcert: tls.client.cert, sslkey: tls.client.key })}`
    : '';
  const at = (port: number, database: string) =>
    `postgres://postgres:${encodeURIComponent(password)}@localhost:${port}/${database}${query}`;
  const server = await startServer({
    program: program!,
    env,
    ids: account.ids,
    before: async (folder) => {
      await account.own(folder);
      const file = join(folder, 'password');
      await writeFile(file, password, { mode: 0o600 });
      await account.own(file);
      const [command, ...args] = [
        ...account.prefix,
        ...[join(stockPostgres!, 'initdb'), '-D', join(folder, 'data'), '-U', 'postgres', '--encoding=UTF8'],
        ...['--locale=C', '--auth=scram-sha-256', '--no-sync', `--pwfile=${file}`],
      ];
      const made = await run(command!, args, { env, ...(account.ids.uid !== undefined && { ids: account.ids }) });
      if (made.code !== 0) throw new Error(made.output);
      if (!tls) return;
      for (const [name, from] of Object.entries({ 'server.crt': tls.cert, 'server.key': tls.key, 'ca.crt': tls.ca })) {
        await copyFile(from, join(folder, name));
        await account.own(join(folder, name));
      }
      await writeFile(join(folder, 'data', 'pg_hba.conf'), 'hostssl all all all scram-sha-256 clientcert=verify-ca\n');
    },
    args: (port, folder) => {
      const file = (name: string) => join(folder, name);
      const secure = tls && {
        ssl: 'on',
        ssl_cert_file: file('server.crt'),
        ssl_key_file: file('server.key'),
        ssl_ca_file: file('ca.crt'),
      };
      const set = Object.entries({ port: `${port}`, ...options, ...secure });
      return [...before, '-D', file('data'), ...set.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    },
    ready: async (port) => {
      const client = new pg.Client({ connectionString: at(port, 'postgres') });
      client.on('error', () => undefined);
      await client.connect();
      await client.end();
    },
  });
  return { ...server, url: (database) => at(server.port, database) };
}

/** With a password, and with the eviction that a cache has. With certificates it takes nobody without one. */
export async function startRedis(password: string, tls?: Certificates): Promise<Server & { readonly url: string }> {
  const query = tls && new URLSearchParams({ cacert: tls.ca, cert: tls.client.cert, key: tls.client.key });
  const at = (port: number) =>
    `redis${tls ? 's' : ''}://:${encodeURIComponent(password)}@localhost:${port}/0${query ? `?${query}` : ''}`;
  const secure = (port: number) =>
    tls
      ? Object.entries({
          port: '0',
          'tls-port': `${port}`,
          'tls-cert-file': tls.cert,
          'tls-key-file': tls.key,
          'tls-ca-cert-file': tls.ca,
          'tls-auth-clients': 'yes',
        }).flatMap(([name, value]) => [`--${name}`, value])
      : ['--port', `${port}`];
  const server = await startServer({
    program: stockRedis!,
    env: libraries,
    args: (port, folder) => [
      ...secure(port),
      ...['--bind', '127.0.0.1', ...(ipv6 ? ['::1'] : []), '--dir', folder, '--appendonly', 'yes'],
      ...['--requirepass', password, '--maxmemory', '256mb', '--maxmemory-policy', 'allkeys-lru'],
    ],
    ready: async (port) => {
      const client = openRedis(at(port));
      await client.ping().finally(() => client.disconnect());
    },
  });
  return { ...server, url: at(server.port) };
}

/** In front of one PostgreSQL, which it reaches without TLS. */
export async function startPgbouncer(
  behind: { port: number; user: string; password: string },
  mode: 'session' | 'transaction' | 'statement',
  size = 60,
): Promise<Server> {
  const account = await unprivileged();
  const [program, ...before] = [...account.prefix, stockPgbouncer!];
  return startServer({
    program: program!,
    env: libraries,
    ids: account.ids,
    before: async (folder) => {
      await account.own(folder);
      await mkdir(folder, { recursive: true });
    },
    args: (port, folder) => {
      const file = join(folder, 'pgbouncer.ini');
      const auth = join(folder, 'users');
      const escaped = behind.password.replaceAll('"', '""');
      writeNow(auth, `"${behind.user}" "${escaped}"\n`);
      writeNow(
        file,
        `[databases]\n* = host=127.0.0.1 port=${behind.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nauth_type = scram-sha-256\nauth_file = ${auth}\npool_mode = ${mode}\ndefault_pool_size = ${size}\nmax_client_conn = 200\nunix_socket_dir =\n`,
      );
      return [...before, '-q', file];
    },
    ready: async (port) => {
      const client = new pg.Client({
        host: '127.0.0.1',
        port,
        user: behind.user,
        password: behind.password,
        database: 'postgres',
      });
      client.on('error', () => undefined);
      await client.connect();
      await client.end();
    },
  });
}

/** The embedded server with users. With certificates it speaks TLS only, and with `demands` takes nobody without one. */
export async function startMongo(
  password: string,
  { tls, demands = false, host = '127.0.0.1' }: { tls?: Certificates; demands?: boolean; host?: string } = {},
): Promise<Server & { url(database: string): string }> {
  const { path, is } = await mongoBinary(homeOf(process.env), () => undefined);
  if (is === 'mongod') throw new Error('this starts the embedded server; a mongod needs a key file for --auth');
  const secure = tls ? ['--tls-cert-file', tls.cert, '--tls-key-file', tls.key] : [];
  const demanding = tls && demands ? ['--tls-ca-file', tls.ca, '--tls-require-client-cert'] : [];
  const files = tls && { tlsCAFile: tls.ca, ...(demands && { tlsCertificateKeyFile: tls.client.both }) };
  const query = new URLSearchParams({
    authSource: 'admin',
    directConnection: 'true',
    ...(files && { tls: 'true', ...files }),
  });
  const name = host.includes(':') ? `[${host}]` : 'localhost';
  const at = (port: number, login: string, database: string) =>
    `mongodb://${login}${name}:${port}/${database}?${query}`;
  const args = (port: number, folder: string) => [
    ...['--host', host, '--port', `${port}`, '--storage-path', folder, '--cache-size', '128M', '--log-level', 'ERROR'],
    ...['--oplog-retention-seconds', '86400', '--oplog-max-entries', '1000000', '--log-file-max', '128MB'],
    ...secure,
    ...demanding,
  ];
  const ready = async (port: number) => {
    const client = new MongoClient(at(port, '', 'admin'), { serverSelectionTimeoutMS: 1000 });
    await client
      .db('admin')
      .command({ hello: 1 })
      .finally(() => client.close());
  };
  const server = await startServer({ program: path, args, ready });
  const open = new MongoClient(at(server.port, '', 'admin'));
  await open.db('admin').command({ createUser: 'root', pwd: password, roles: [{ role: 'root', db: 'admin' }] });
  await open.close();
  await server.again((port, folder) => [...args(port, folder), '--auth'], ready);
  return { ...server, url: (database) => at(server.port, `root:${encodeURIComponent(password)}@`, database) };
}
