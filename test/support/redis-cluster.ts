// Three masters of Redis Cluster with a replica each, on this machine; joined by commands that any client may send, without redis-cli.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { vi } from 'vitest';
import { homeOf } from '../../stack/home.ts';
import { redisBinary } from '../../stack/install.ts';

export class ClusterNode {
  readonly port: number;
  readonly client: Redis;
  readonly #command: readonly [program: string, ...args: string[]];
  #process!: ChildProcess;

  constructor(program: string, port: number, folder: string) {
    this.port = port;
    this.client = new Redis({ host: '127.0.0.1', port, lazyConnect: true, retryStrategy: () => 100 });
    this.client.on('error', () => undefined);
    const flags = {
      port,
      bind: '127.0.0.1',
      dir: folder,
      'cluster-enabled': 'yes',
      'cluster-config-file': `${port}.conf`,
      // Short enough for a test, long enough for a machine that has more to do.
      'cluster-node-timeout': 2000,
      'repl-diskless-sync-delay': 0,
      save: '',
      appendonly: 'no',
      dbfilename: `${port}.rdb`,
    };
    this.#command = [program, ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`])];
  }

  start(): void {
    const [program, ...args] = this.#command;
    this.#process = spawn(program, args, { stdio: 'ignore' });
  }

  /** As a machine that is gone. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process.kill(name);
  }

  async line(): Promise<string> {
    const nodes = String(await this.client.cluster('NODES'));
    return nodes.split('\n').find((line) => line.includes('myself')) ?? '';
  }

  async isMaster(): Promise<boolean> {
    return (await this.line()).includes('master');
  }
}

export class RedisCluster {
  readonly nodes: readonly ClusterNode[];
  readonly #folder: string;

  private constructor(nodes: readonly ClusterNode[], folder: string) {
    this.nodes = nodes;
    this.#folder = folder;
  }

  /** Addresses of all nodes, as TARGET_REDIS_URL takes them. */
  get url(): string {
    return this.nodes.map(({ port }) => `redis://127.0.0.1:${port}`).join(',');
  }

  static async start(environment: Record<string, string>, replicas = 1): Promise<RedisCluster> {
    const program = await redisBinary(homeOf(environment), () => undefined);
    const folder = await mkdtemp(join(tmpdir(), 'cluster-'));
    const ports = await freePorts(3 * (1 + replicas));
    const cluster = new RedisCluster(
      ports.map((port) => new ClusterNode(program, port, folder)),
      folder,
    );
    for (const node of cluster.nodes) node.start();
    try {
      await cluster.#join();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async #join(): Promise<void> {
    const [first, ...others] = this.nodes;
    for (const node of this.nodes) await vi.waitFor(() => node.client.ping(), { timeout: 20_000 });
    for (const [i, { client }] of this.nodes.slice(0, 3).entries())
      await client.cluster('ADDSLOTSRANGE' as 'ADDSLOTS', ...rangeOf(i)).catch(() => addOneByOne(client, i));
    for (const { client } of others) await client.cluster('MEET', '127.0.0.1', first!.port);
    await this.#settled(this.nodes.length);
    const ids = await Promise.all(this.nodes.map(({ client }) => client.cluster('MYID') as Promise<string>));
    for (const [i, { client }] of this.nodes.slice(3).entries()) await client.cluster('REPLICATE', ids[i % 3]!);
    await this.healthy();
  }

  /** Every node knows of every other. */
  async #settled(count: number): Promise<void> {
    for (const { client } of this.nodes)
      await vi.waitFor(
        async () => {
          const info = String(await client.cluster('INFO'));
          const known = String(await client.cluster('NODES'));
          if (!info.includes('cluster_state:ok') || known.includes('handshake')) throw new Error(info);
          if (!info.includes(`cluster_known_nodes:${count}`)) throw new Error(info);
        },
        { timeout: 30_000, interval: 100 },
      );
  }

  /** All slots are served, and every replica has what its master has. */
  async healthy(): Promise<void> {
    await this.#settled(this.nodes.length);
    for (const node of this.nodes)
      await vi.waitFor(
        async () => {
          if (await node.isMaster()) return;
          const info = await node.client.info('replication');
          if (!info.includes('master_link_status:up')) throw new Error(info);
        },
        { timeout: 30_000, interval: 100 },
      );
  }

  async masters(): Promise<ClusterNode[]> {
    const are = await Promise.all(this.nodes.map((node) => node.isMaster().catch(() => false)));
    return this.nodes.filter((_, i) => are[i]);
  }

  async replicaOf(master: ClusterNode): Promise<ClusterNode> {
    const id = String(await master.client.cluster('MYID'));
    for (const node of this.nodes) if (node !== master && (await node.line()).split(' ')[3] === id) return node;
    throw new Error(`no replica of ${master.port}`);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) {
      node.client.disconnect();
      await node.kill();
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

const first = (i: number) => Math.ceil((16_384 * i) / 3);
const rangeOf = (i: number): [number, number] => [first(i), first(i + 1) - 1];

/** Servers before 7.0 take no ranges. */
const addOneByOne = (client: Redis, i: number) =>
  client.cluster(
    'ADDSLOTS',
    Array.from({ length: first(i + 1) - first(i) }, (_, n) => first(i) + n),
  );

/** Each with the port of the cluster's bus, 10,000 above, free too. Held until all are found. */
async function freePorts(count: number): Promise<number[]> {
  const held: { close(): unknown }[] = [];
  const listen = async (port: number) => {
    const server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    held.push(server);
  };
  const ports: number[] = [];
  for (let tries = 0; ports.length < count && tries < 500; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    try {
      await listen(port);
      await listen(port + 10_000);
      ports.push(port);
    } catch {
      // Somebody else's.
    }
  }
  await Promise.all(held.map((server) => new Promise((resolve) => void resolve(server.close()))));
  return ports;
}
