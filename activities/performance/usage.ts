// Memory and CPU of the processes the new system is made of, as far as they run on this host or tell themselves.
import { readFile } from 'node:fs/promises';
import { cpus, hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { mongo } from '../../stores/mongodb/connection.ts';
import { query } from '../../stores/postgres/connection.ts';
import { mastersOf } from '../../stores/redis/connection.ts';
import type { Resources } from '../resources.ts';

export interface Part {
  readonly part: 'workers' | 'PostgreSQL' | 'MongoDB' | 'Redis' | 'this process';
  readonly processes: number;
  /** Highest seen, MB. null: not measurable. */
  readonly memoryMb: number | null;
  /** Mean share of all cores of this host, %. */
  readonly cpuPercent: number | null;
  /** How it was measured, or why it was not. */
  readonly by: string;
}

export interface Usage {
  readonly parts: readonly Part[];
  /** Parts of the new system summed; this process, which makes the load, is not among them unless it is a worker. */
  readonly memoryMb: number | null;
  readonly cpuPercent: number | null;
  readonly of: string;
  /** All that runs on this host, %. */
  readonly hostCpuPercent: number;
}

interface Watched {
  readonly part: Part['part'];
  readonly by: string;
  readonly pids: readonly number[];
  /** Instead of processes: what the server says of itself. */
  readonly ask?: () => Promise<{ memoryMb: number; cpuSeconds: number | null }>;
}

const ticksPerSecond = 100;
const everyMs = 250;

/** Samples while `work` runs. */
export async function usageDuring<T>(
  resources: Resources,
  work: () => Promise<T>,
): Promise<{ result: T; usage: Usage }> {
  const watched = await whatToWatch(resources);
  const before = await readings(watched);
  const host = hostTimes();
  const started = performance.now();
  const peaks = watched.map((_, i) => before[i]?.memoryMb ?? null);
  const over = new AbortController();
  const sampling = (async () => {
    for (;;) {
      await sleep(everyMs, undefined, { signal: over.signal });
      const now = await readings(watched);
      now.forEach((reading, i) => {
        if (reading) peaks[i] = Math.max(peaks[i] ?? 0, reading.memoryMb);
      });
    }
  })().catch(() => undefined);
  try {
    const result = await work();
    const after = await readings(watched);
    const seconds = (performance.now() - started) / 1000;
    return { result, usage: summed(watched, peaks, before, after, seconds, hostShare(host)) };
  } finally {
    over.abort();
    await sampling;
  }
}

interface Reading {
  readonly memoryMb: number;
  readonly cpuSeconds: number | null;
}

const readings = (watched: readonly Watched[]): Promise<(Reading | undefined)[]> =>
  Promise.all(
    watched.map(async ({ pids, ask }) => {
      if (ask) return ask().catch(() => undefined);
      const found = (await Promise.all(pids.map(readProcess))).filter((one) => one !== undefined);
      if (found.length === 0) return undefined;
      return {
        memoryMb: found.reduce((sum, one) => sum + one.memoryMb, 0),
        cpuSeconds: found.reduce((sum, one) => sum + one.cpuSeconds, 0),
      };
    }),
  );

function summed(
  watched: readonly Watched[],
  peaks: readonly (number | null)[],
  before: readonly (Reading | undefined)[],
  after: readonly (Reading | undefined)[],
  seconds: number,
  hostCpuPercent: number,
): Usage {
  const tenth = (value: number) => Math.round(value * 10) / 10;
  const parts = watched.map(({ part, pids, ask, by }, i): Part => {
    const [from, to] = [before[i]?.cpuSeconds ?? null, after[i]?.cpuSeconds ?? null];
    const memory = peaks[i] ?? null;
    return {
      part,
      processes: ask ? 1 : pids.length,
      memoryMb: memory === null ? null : tenth(memory),
      cpuPercent: from === null || to === null ? null : tenth((Math.max(0, to - from) / seconds / cpus().length) * 100),
      by,
    };
  });
  const own = parts.filter((part) => part.part !== 'this process');
  const total = (of: 'memoryMb' | 'cpuPercent') => {
    const known = own.flatMap((part) => (part[of] === null ? [] : [part[of]]));
    return known.length === 0 ? null : tenth(known.reduce((sum, value) => sum + value, 0));
  };
  const named = (missing: boolean) =>
    own.filter((part) => (part.memoryMb === null) === missing).map((part) => part.part);
  const [seen, unseen] = [named(false), named(true)];
  return {
    parts,
    memoryMb: total('memoryMb'),
    cpuPercent: total('cpuPercent'),
    of: `${seen.join(', ') || 'nothing'} measured${unseen.length > 0 ? `; ${unseen.join(', ')} not measurable from here` : ''}`,
    hostCpuPercent: tenth(hostCpuPercent),
  };
}

async function whatToWatch(resources: Resources): Promise<Watched[]> {
  const workers = await workersHere(resources);
  const watched: Watched[] = [
    workers.length > 0
      ? { part: 'workers', pids: workers, by: '/proc of this host' }
      : { part: 'workers', pids: [], by: 'no worker has shown itself on this host in the last minute' },
    await postgresHere(resources),
    await mongoHere(resources),
    await redisHere(resources),
  ];
  if (!workers.includes(process.pid))
    watched.push({ part: 'this process', pids: [process.pid], by: '/proc; makes the load' });
  return watched;
}

async function workersHere({ postgres }: Resources): Promise<number[]> {
  const rows = await query<{ holder: string }>(
    postgres,
    'looking for workers',
    `select holder from migration_control.capture_workers where seen_at > now() - interval '1 minute'`,
  );
  const here = `/host-${hostname()}-`;
  return rows.flatMap(({ holder }) => {
    const pid = /-(\d+)$/.exec(holder)?.[1];
    return holder.includes(here) && pid !== undefined ? [Number(pid)] : [];
  });
}

/** Backends are this host's where /proc knows their ids as PostgreSQL's. */
async function postgresHere({ postgres }: Resources): Promise<Watched> {
  const rows = await query<{ pid: number }>(postgres, 'listing backends', 'select pid from pg_stat_activity');
  const names = await Promise.all(rows.map(({ pid }) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
  const pids = rows.map((row) => row.pid).filter((_, i) => names[i]!.startsWith('postgres'));
  return pids.length === 0
    ? { part: 'PostgreSQL', pids, by: 'the server runs on another host' }
    : { part: 'PostgreSQL', pids, by: '/proc of its backends, shared memory counted once' };
}

async function mongoHere({ mongodb }: Resources): Promise<Watched> {
  const status = await mongo('asking for its status', () => mongodb.db.command({ serverStatus: 1 })).catch(() => ({}));
  const resident = Number((status as { mem?: { resident?: unknown } }).mem?.resident ?? 0);
  if (resident === 0) return { part: 'MongoDB', pids: [], by: 'the server does not say what it uses' };
  const ask = async () => {
    const now = (await mongodb.db.command({ serverStatus: 1 })) as {
      mem: { resident: unknown };
      extra_info?: { user_time_us?: unknown; system_time_us?: unknown };
    };
    const { user_time_us: user, system_time_us: system } = now.extra_info ?? {};
    const cpu = user === undefined || system === undefined ? null : (Number(user) + Number(system)) / 1e6;
    return { memoryMb: Number(now.mem.resident), cpuSeconds: cpu };
  };
  return { part: 'MongoDB', pids: [], by: 'serverStatus', ask };
}

async function redisHere({ redis }: Resources): Promise<Watched> {
  const figure = (info: string, field: string) => Number(new RegExp(`^${field}:([\\d.]+)`, 'm').exec(info)?.[1] ?? 0);
  const ask = async () => {
    const infos = await Promise.all(mastersOf(redis).map((node) => node.info()));
    const sum = (...fields: string[]) =>
      infos.reduce((total, info) => total + fields.reduce((own, field) => own + figure(info, field), 0), 0);
    return {
      memoryMb: sum('used_memory_rss') / 1024 / 1024,
      cpuSeconds: sum('used_cpu_sys', 'used_cpu_user'),
    };
  };
  return { part: 'Redis', pids: [], by: 'INFO of its masters', ask };
}

/** Pages shared with other processes count in proportion; where that may not be read, pages of its own only. */
async function readProcess(pid: number): Promise<{ memoryMb: number; cpuSeconds: number } | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    const pss = /^Pss:\s+(\d+)/m.exec(rollup)?.[1];
    if (pss !== undefined) return { memoryMb: Number(pss) / 1024, cpuSeconds };
    const [, resident, shared] = (await readFile(`/proc/${pid}/statm`, 'utf8')).split(' ').map(Number);
    return { memoryMb: ((resident! - shared!) * 4096) / 1024 / 1024, cpuSeconds };
  } catch {
    return undefined;
  }
}

const hostTimes = () =>
  cpus().reduce(
    (sum, { times }) => {
      const total = times.user + times.nice + times.sys + times.idle + times.irq;
      return { busy: sum.busy + total - times.idle, total: sum.total + total };
    },
    { busy: 0, total: 0 },
  );

function hostShare(before: ReturnType<typeof hostTimes>): number {
  const now = hostTimes();
  return ((now.busy - before.busy) / Math.max(1, now.total - before.total)) * 100;
}
