// A migration's world for one test: databases of its own on the shared servers, the command line, and worker processes to kill.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { Redis } from 'ioredis';
import { MongoClient, type Db } from 'mongodb';
import pg from 'pg';
import { vi } from 'vitest';
import { openResources, type Resources } from '../../activities/resources.ts';
import type { Status } from '../../core/state.ts';
import { openRedis } from '../../stores/redis/connection.ts';
import { seedSource, type SeedSummary } from '../../seed/index.ts';
import { checkout } from '../../stack/home.ts';
import { command } from './command.ts';
import { stack as servers } from './stack.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let number = 0;

export class World {
  readonly name: string;
  readonly environment: Record<string, string>;
  readonly home: string;
  readonly source: Db;
  readonly target: Db;
  readonly pool: pg.Pool;
  readonly redis: Redis;
  readonly temporal: Client;
  readonly #clients: MongoClient[];
  readonly #connection: Connection;
  readonly #workers = new Set<ChildProcess>();
  readonly #commands = new Set<ChildProcess>();

  private constructor(
    name: string,
    environment: Record<string, string>,
    home: string,
    clients: MongoClient[],
    connection: Connection,
  ) {
    this.name = name;
    this.environment = environment;
    this.home = home;
    this.#clients = clients;
    this.#connection = connection;
    this.source = clients[0]!.db();
    this.target = clients[1]!.db();
    this.pool = new pg.Pool({ connectionString: environment['TARGET_POSTGRES_URL'], max: 4 });
    this.pool.on('error', () => undefined);
    const redis = environment['TARGET_REDIS_URL']!;
    this.redis = redis.startsWith('rediss:') ? (openRedis(redis) as Redis) : new Redis(redis);
    // A test may kill the server; what it then asks for fails where it is awaited.
    this.redis.on('error', () => undefined);
    this.temporal = new Client({ connection });
    // A file whose set-up failed may not come to close its world; its workers end with it all the same.
    process.once('exit', () => this.#workers.forEach((child) => child.kill('SIGKILL')));
  }

  /** `temporal`: the address of another Temporal server than the stack's. `own`: the URLs of other stores, their database called as the stack's. */
  static async open(label: string, temporal?: string, own: Record<string, string> = {}): Promise<World> {
    const stack = { ...servers, ...own, ...(temporal !== undefined && { TEMPORAL_ADDRESS: temporal }) };
    // What this process seals, workers open, and the other way round.
    process.env['CAUSEWAY_QUARANTINE_KEY'] = stack.CAUSEWAY_QUARANTINE_KEY;
    const name = `${label}-${process.pid}-${++number}`;
    const database = name.replaceAll('-', '_');
    const admin = new pg.Client({ connectionString: stack.TARGET_POSTGRES_URL });
    await admin.connect();
    await admin.query(`create database ${database}`);
    await admin.end();
    const home = await mkdtemp(join(tmpdir(), 'causeway-'));
    // The workflows are bundled once for all worlds, not once for each.
    const bundle = join(checkout, '.causeway', 'bundle');
    await mkdir(bundle, { recursive: true });
    await symlink(bundle, join(home, 'bundle'));
    const environment = {
      ...stack,
      SOURCE_MONGODB_URL: stack.SOURCE_MONGODB_URL.replace(/\/tradingagents/, `/${database}`),
      TARGET_MONGODB_URL: stack.TARGET_MONGODB_URL.replace(/\/tradingagents/, `/${database}`),
      TARGET_POSTGRES_URL: stack.TARGET_POSTGRES_URL.replace(/\/tradingagents/, `/${database}`),
      TARGET_REDIS_URL: stack.TARGET_REDIS_URL.replace(/\/0$/, `/${number % 16}`),
      CAUSEWAY_HOME: home,
      CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools'),
    };
    const clients = [new MongoClient(environment.SOURCE_MONGODB_URL), new MongoClient(environment.TARGET_MONGODB_URL)];
    const world = new World(
      name,
      environment,
      home,
      clients,
      await Connection.connect({ address: stack.TEMPORAL_ADDRESS }),
    );
    await world.redis.flushdb();
    return world;
  }

  /** What activities and the library work with, on this world's stores. Whoever opens them closes them. */
  resources(who = 'test'): Promise<Resources> {
    const address = (name: string) => this.environment[name]!;
    return openResources(
      {
        source: address('SOURCE_MONGODB_URL'),
        postgres: address('TARGET_POSTGRES_URL'),
        mongodb: address('TARGET_MONGODB_URL'),
        redis: address('TARGET_REDIS_URL'),
      },
      this.home,
      { host: who, process: who },
    );
  }

  get planted(): string {
    return join(this.home, 'planted.jsonl');
  }

  seed(documents: number, dirty: number, only?: string[], seed = 5): Promise<SeedSummary> {
    return seedSource({
      url: this.environment['SOURCE_MONGODB_URL']!,
      documents,
      dirty,
      seed,
      plantedFile: this.planted,
      ...(only && { only }),
    });
  }

  /** The command line in a process of its own. `--migration` is added where the command takes it. */
  async causeway(args: readonly string[], extra: Record<string, string> = {}): Promise<Ran> {
    const named =
      ['seed', 'init', 'assess', 'stack', 'replay', 'worker', 'demo', 'sidecar'].includes(args[0]!) ||
      args.includes('--help')
        ? args
        : [...args, '--migration', this.name];
    const child = spawn(process.execPath, [command, ...named], {
      env: { ...process.env, ...this.environment, ...extra },
    });
    this.#commands.add(child);
    child.once('exit', () => this.#commands.delete(child));
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code: code ?? 1, stdout, stderr };
  }

  /** Asks commands that run until they are told to end, to end. */
  stopCommands(): void {
    for (const child of this.#commands) child.kill('SIGTERM');
  }

  /** Starts a worker and waits until it polls. */
  async worker(extra: Record<string, string> = {}): Promise<ChildProcess> {
    const child = spawn(process.execPath, [command, 'worker', '--migration', this.name], {
      env: { ...process.env, ...this.environment, ...extra },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#workers.add(child);
    child.once('exit', () => this.#workers.delete(child));
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr!.on('data', (part: Buffer) => {
        said += part.toString('utf8');
        if (said.includes('polling')) resolve();
      });
      child.once('exit', (code) => reject(new Error(`worker ended with ${code}: ${said}`)));
    });
    return child;
  }

  async status(): Promise<Status> {
    const { stdout, stderr } = await this.causeway(['status', '--json']);
    try {
      return JSON.parse(stdout) as Status;
    } catch {
      throw new Error(`status printed no JSON: ${stdout} ${stderr}`);
    }
  }

  /** The workflow's own answer, without starting a process. */
  query(): Promise<Status> {
    return this.temporal.workflow.getHandle(`migration/${this.name}`).query<Status>('status');
  }

  until(check: (status: Status) => boolean, timeout = 240_000): Promise<Status> {
    return vi.waitFor(
      async () => {
        const status = await this.query();
        if (!check(status))
          throw new Error(
            `not yet: ${status.phase} ${status.state} ${status.waitingFor ?? ''} ${status.lastError?.message ?? ''}`,
          );
        return status;
      },
      { timeout, interval: 200 },
    );
  }

  async rows<T extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<T[]> {
    return (await this.pool.query<T>(sql, values)).rows;
  }

  async close(): Promise<void> {
    for await (const execution of this.temporal.workflow.list({ query: `ExecutionStatus = 'Running'` })) {
      if (execution.workflowId.startsWith(`migration/${this.name}`))
        await this.temporal.workflow
          .getHandle(execution.workflowId)
          .terminate('test over')
          .catch(() => undefined);
    }
    await Promise.all(
      [...this.#workers].map(async (child) => {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }),
    );
    // What a killed worker or a test left open would lock documents that are to be dropped.
    for (const client of this.#clients) await client.db('admin').command({ killAllSessions: [] });
    await this.source.dropDatabase();
    await this.target.dropDatabase();
    await this.redis.flushdb();
    this.redis.disconnect();
    await this.pool.end();
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.#connection.close();
    await rm(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}
