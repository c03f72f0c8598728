// The five servers: how each is started, asked whether it is well, and addressed.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import pg from 'pg';
import { Connection } from '@temporalio/client';
import { makeOwnFolder, writePrivately } from '../spool/private.ts';
import { lastLines, run } from './command.ts';
import { StackError, type Home } from './home.ts';
import { mongoBinary, postgresPrograms, redisBinary, temporalBinary, type Progress } from './install.ts';
import { unprivileged } from './privilege.ts';
import { healthy, start, type ProcessMark } from './process.ts';

export interface Running extends ProcessMark {
  readonly port: number;
  /** A second port: Temporal's web UI. */
  readonly uiPort?: number;
  readonly url: string;
}

export interface Ports {
  readonly port: number;
  readonly uiPort: number;
}

export interface Service {
  /** Environment variable that names the server, and a server of one's own when it is set. */
  readonly variable: string;
  install(home: Home, progress: Progress): Promise<unknown>;
  start(home: Home, ports: Ports, secret: string): Promise<Running>;
  probe(url: string): Promise<unknown>;
}

const database = 'tradingagents';
const quiet: Progress = () => undefined;
/** Registered with the server when it starts. */
export const searchAttributes = [
  'MigrationName=Keyword',
  'MigrationPhase=Keyword',
  'CutoverPercentage=Int',
  'Collection=Keyword',
];
/**
 * Without these a server with one shard looks only twenty times a second for what is to be handed out, and lets timers be up to a second late: each
 * step of each workflow then waits for its turn on a machine that is idle.
 */
export const promptly = [
  'history.transferProcessorMaxPollRPS=1000',
  'history.timerProcessorMaxPollRPS=1000',
  'history.visibilityProcessorMaxPollRPS=1000',
  'history.timerProcessorMaxTimeShift="10ms"',
].flatMap((value) => ['--dynamic-config-value', value]);
const logOf = (home: Home, name: string) => join(home.logs, `${name}.log`);

const temporal: Service = {
  variable: 'TEMPORAL_ADDRESS',
  install: temporalBinary,
  async start(home, { port, uiPort }) {
    const log = logOf(home, 'temporal');
    await makeOwnFolder(join(home.data, 'temporal'));
    const flags = [
      '--ip',
      '127.0.0.1',
      '--port',
      `${port}`,
      '--ui-port',
      `${uiPort}`,
      '--db-filename',
      join(home.data, 'temporal', 'temporal.db'),
      '--log-level',
      'error',
      ...promptly,
    ];
    const attributes = searchAttributes.flatMap((attribute) => ['--search-attribute', attribute]);
    const mark = await start([await temporalBinary(home, quiet), 'server', 'start-dev', ...flags, ...attributes], log);
    const url = `127.0.0.1:${port}`;
    await healthy('Temporal', mark, log, () => temporal.probe(url));
    return { ...mark, port, uiPort, url };
  },
  async probe(url) {
    const connection = await Connection.connect({ address: url, connectTimeout: '2s' });
    try {
      await connection.workflowService.describeNamespace({ namespace: 'default' });
    } finally {
      await connection.close();
    }
  },
};

const mongodb = (name: 'source-mongodb' | 'target-mongodb', variable: string): Service => ({
  variable,
  install: mongoBinary,
  async start(home, { port }) {
    const log = logOf(home, name);
    const folder = join(home.data, name);
    await makeOwnFolder(folder);
    const { path, is } = await mongoBinary(home, quiet);
    const url = `mongodb://127.0.0.1:${port}/${database}?directConnection=true`;
    const command =
      is === 'mongod'
        ? [
            path,
            '--dbpath',
            folder,
            '--bind_ip',
            '127.0.0.1',
            '--port',
            `${port}`,
            '--replSet',
            'causeway',
            '--wiredTigerCacheSizeGB',
            '0.5',
          ]
        : [
            path,
            '--host',
            '127.0.0.1',
            '--port',
            `${port}`,
            '--storage-path',
            folder,
            '--cache-size',
            '512M',
            '--log-level',
            'WARNING',
            '--oplog-retention-seconds',
            '86400',
            '--oplog-max-entries',
            '5000000',
            // By default 2 GB, all of which a server that is written to takes from the disk.
            '--log-file-max',
            '128MB',
            // Without it a kill -9 loses writes that were acknowledged, with any write concern.
            '--sync-on-commit',
          ];
    const mark = await start(command, log);
    if (is === 'mongod') await healthy(name, mark, log, () => initiate(port));
    await healthy(name, mark, log, () => this.probe(url));
    return { ...mark, port, url };
  },
  probe: probeMongo,
});

async function initiate(port: number): Promise<void> {
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 2000,
  });
  try {
    const members = [{ _id: 0, host: `127.0.0.1:${port}` }];
    await client
      .db('admin')
      .command({ replSetInitiate: { _id: 'causeway', members } })
      .catch((error: { codeName?: string }) => {
        if (error.codeName !== 'AlreadyInitialized') throw error;
      });
    const hello = await client.db('admin').command({ hello: 1 });
    if (!hello['isWritablePrimary']) throw new Error('no primary yet');
  } finally {
    await client.close();
  }
}

async function probeMongo(url: string): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 2000, connectTimeoutMS: 2000 });
  try {
    await client.db().command({ ping: 1 });
  } finally {
    await client.close();
  }
}

const postgres: Service = {
  variable: 'TARGET_POSTGRES_URL',
  install: (_home, progress) => postgresPrograms(progress),
  async start(home, { port }, secret) {
    const log = logOf(home, 'postgres');
    const folder = join(home.data, 'postgres');
    const programs = await postgresPrograms(quiet);
    const account = await unprivileged();
    await initialise(home, folder, programs, account, secret);
    const settings = {
      listen_addresses: '127.0.0.1',
      port,
      unix_socket_directories: '',
      shared_buffers: '256MB',
      // What is written ahead stays on the disk up to this size.
      max_wal_size: '512MB',
      wal_level: 'logical',
      max_connections: 100,
      log_min_messages: 'error',
      autovacuum_naptime: '60s',
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const mark = await start([...account.prefix, join(programs, 'postgres'), '-D', folder, ...options], log, {
      cwd: home.folder,
      ...account.ids,
    });
    const base = `postgres://causeway:${secret}@127.0.0.1:${port}`;
    await healthy('PostgreSQL', mark, log, () => postgres.probe(`${base}/postgres`));
    await makeDatabase(`${base}/postgres`);
    return { ...mark, port, url: `${base}/${database}` };
  },
  async probe(url) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('select 1');
    } finally {
      await client.end().catch(() => undefined);
    }
  },
};

async function initialise(
  home: Home,
  folder: string,
  programs: string,
  account: Awaited<ReturnType<typeof unprivileged>>,
  secret: string,
): Promise<void> {
  // Written last by initdb; a folder without it is an interrupted start.
  if (existsSync(join(folder, 'causeway-ready'))) return;
  await rm(folder, { recursive: true, force: true });
  await makeOwnFolder(folder);
  await account.own(folder);
  // An account of its own must be able to walk to its folder; it can list neither of these.
  if (account.ids.uid !== undefined) for (const above of [home.folder, home.data]) await chmod(above, 0o711);
  const passwords = join(home.folder, `.password-${process.pid}`);
  await writePrivately(passwords, secret);
  await account.own(passwords);
  const [command, ...args] = [
    ...account.prefix,
    join(programs, 'initdb'),
    '-D',
    folder,
    '-U',
    'causeway',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
    `--pwfile=${passwords}`,
  ];
  const { code, output } = await run(command!, args, account.ids.uid === undefined ? {} : { ids: account.ids }).finally(
    () => rm(passwords, { force: true }),
  );
  if (code !== 0)
    throw new StackError(
      `PostgreSQL's data folder ${folder} could not be made:\n${lastLines(output)}\nThe folder must be reachable by an unprivileged user; set CAUSEWAY_HOME to another place, or TARGET_POSTGRES_URL to a server.`,
    );
  await writePrivately(join(folder, 'causeway-ready'), '');
}

async function makeDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [database]);
    if (rowCount === 0) await client.query(`create database ${database}`);
  } finally {
    await client.end();
  }
}

const redis: Service = {
  variable: 'TARGET_REDIS_URL',
  install: redisBinary,
  async start(home, { port }) {
    const log = logOf(home, 'redis');
    const folder = join(home.data, 'redis');
    await makeOwnFolder(folder);
    const mark = await start(
      [
        await redisBinary(home, quiet),
        '--port',
        `${port}`,
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--appendonly',
        'yes',
        '--save',
        '',
      ],
      log,
    );
    const url = `redis://127.0.0.1:${port}/0`;
    await healthy('Redis', mark, log, () => redis.probe(url));
    return { ...mark, port, url };
  },
  async probe(url) {
    const client = new Redis(url, {
      lazyConnect: true,
      retryStrategy: () => null,
      connectTimeout: 2000,
      maxRetriesPerRequest: 0,
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.ping();
    } finally {
      client.disconnect();
    }
  },
};

export const services = {
  temporal,
  'source-mongodb': mongodb('source-mongodb', 'SOURCE_MONGODB_URL'),
  'target-mongodb': mongodb('target-mongodb', 'TARGET_MONGODB_URL'),
  postgres,
  redis,
} as const satisfies Record<string, Service>;

export type ServiceName = keyof typeof services;
export const serviceNames = Object.keys(services) as ServiceName[];
export const newSecret = (): string => randomBytes(18).toString('base64url');
