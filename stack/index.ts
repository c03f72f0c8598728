// The embedded stack: up, down, status, reset, and the environment variables that lead to it.
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import getPort from 'get-port';
import { folderOf, freeAt, requireRoom, sizeOf } from './disk.ts';
import { homeOf, type Home } from './home.ts';
import type { Progress } from './install.ts';
import { end, isAlive } from './process.ts';
import { serviceNames, services, type Ports, type Running, type ServiceName } from './services.ts';
import { locked, quarantineKey, readState, writeState, type StackState } from './state.ts';

export { StackError } from './home.ts';
export { serviceNames, type ServiceName } from './services.ts';
export type StackEnvironment = Record<
  | 'TEMPORAL_ADDRESS'
  | 'TEMPORAL_NAMESPACE'
  | 'SOURCE_MONGODB_URL'
  | 'TARGET_POSTGRES_URL'
  | 'TARGET_MONGODB_URL'
  | 'TARGET_REDIS_URL'
  | 'TEMPORAL_UI_URL'
  | 'CAUSEWAY_QUARANTINE_KEY',
  string
>;

type Values = Record<string, string | undefined>;

/** Installs what is missing, starts what is not running, and returns the environment. Run again, it repairs what a crash left. */
export async function up(
  progress: Progress = () => undefined,
  values: Values = process.env,
): Promise<StackEnvironment> {
  const home = homeOf(values);
  await locked(home, async () => {
    const state = await readState(home);
    writeState(home, state);
    quarantineKey(home, true);
    const own = serviceNames.filter((name) => !values[services[name].variable]);
    await requireRoom(home, own);
    await settle(own.map((name) => services[name].install(home, progress)));
    await settle(own.map((name) => ensure(home, state, name, progress)));
  });
  return environment(values) as Promise<StackEnvironment>;
}

/** All results, or the first failure once every other has ended, so that nothing goes on unseen. */
async function settle(all: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(all)).find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

async function ensure(home: Home, state: StackState, name: ServiceName, progress: Progress): Promise<void> {
  const before = state.services[name];
  if (before && isAlive(before)) {
    if (
      await services[name].probe(before.url).then(
        () => true,
        () => false,
      )
    )
      return;
    progress(`${name} does not answer; starting it again`);
    await end(before);
  }
  state.services[name] = await startOn(home, await portsFor(before), state.secret, name);
  writeState(home, state);
  progress(`${name} is up`);
}

/** A port may be taken between its choice and its use: then another is tried. */
async function startOn(home: Home, ports: Ports, secret: string, name: ServiceName): Promise<Running> {
  try {
    return await services[name].start(home, ports, secret);
  } catch (error) {
    if (await isFree(ports.port)) throw error;
    return services[name].start(home, await portsFor(undefined), secret);
  }
}

/** The ports of last time if they are free, so that addresses outlive a restart; free ones otherwise. */
async function portsFor(before: Running | undefined): Promise<Ports> {
  const port = before && (await isFree(before.port)) ? before.port : await getPort({ host: '127.0.0.1' });
  const uiPort =
    before?.uiPort !== undefined && (await isFree(before.uiPort))
      ? before.uiPort
      : await getPort({ host: '127.0.0.1', exclude: [port] });
  return { port, uiPort };
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });

/** Stops what this stack started, and nothing else; data stays. Returns the names of what was stopped. */
export async function down(values: Values = process.env): Promise<ServiceName[]> {
  const home = homeOf(values);
  return locked(home, async () => {
    const state = await readState(home);
    const running = serviceNames.filter((name) => state.services[name] && isAlive(state.services[name]));
    await settle(running.map((name) => stopOne(state, name)));
    return running;
  });
}

async function stopOne(state: StackState, name: ServiceName, signal?: NodeJS.Signals): Promise<void> {
  // PostgreSQL's fast shutdown is SIGINT; SIGTERM waits for clients to leave.
  await end(state.services[name]!, 15_000, signal ?? (name === 'postgres' ? 'SIGINT' : 'SIGTERM'));
}

/** Stops one server of a running stack; `startService` starts it again on the same port with the same data. */
export async function stopService(
  name: ServiceName,
  signal?: NodeJS.Signals,
  values: Values = process.env,
): Promise<void> {
  const state = await readState(homeOf(values));
  if (state.services[name]) await stopOne(state, name, signal);
}

export async function startService(name: ServiceName, values: Values = process.env): Promise<void> {
  const home = homeOf(values);
  await locked(home, async () => ensure(home, await readState(home), name, () => undefined));
}

/** Stops the stack and removes its data. Installed servers stay. */
export async function reset(values: Values = process.env): Promise<void> {
  await down(values);
  const home = homeOf(values);
  for (const name of [
    'data',
    'logs',
    'spool',
    'configuration',
    'planted.jsonl',
    'demo-planted.jsonl',
    'stack.json',
    'secret',
    'quarantine-key',
  ])
    await rm(join(home.folder, name), { recursive: true, force: true });
}

export interface ServiceStatus {
  readonly name: ServiceName;
  readonly state: 'running' | 'stopped' | 'external' | 'not answering';
  /** With the password, if it has one: whoever shows it uses `safeAddress`. */
  readonly url: string;
  readonly pid: number | null;
  /** What its data takes on the disk; null of one that is not ours. */
  readonly bytes: number | null;
}

export async function status(values: Values = process.env): Promise<ServiceStatus[]> {
  const home = homeOf(values);
  const state = await readState(home);
  return Promise.all(
    serviceNames.map(async (name) => {
      const external = values[services[name].variable];
      if (external) return { name, state: 'external' as const, url: external, pid: null, bytes: null };
      const known = state.services[name];
      const bytes = await sizeOf(folderOf(home, name));
      if (!known || !isAlive(known)) return { name, state: 'stopped' as const, url: '', pid: null, bytes };
      const answers = await services[name].probe(known.url).then(
        () => true,
        () => false,
      );
      return {
        name,
        state: answers ? ('running' as const) : ('not answering' as const),
        url: known.url,
        pid: known.pid,
        bytes,
      };
    }),
  );
}

/** The variables of the process's environment, and where one is not set, of the running stack. */
export async function environment(values: Values = process.env): Promise<Partial<StackEnvironment>> {
  const state = await readState(homeOf(values));
  const result: Partial<StackEnvironment> = {};
  const url = (name: ServiceName) =>
    values[services[name].variable] ??
    (state.services[name] && isAlive(state.services[name]) ? state.services[name].url : undefined);
  for (const name of serviceNames) {
    const found = url(name);
    if (found !== undefined) result[services[name].variable as keyof StackEnvironment] = found;
  }
  if (result.TEMPORAL_ADDRESS !== undefined) result.TEMPORAL_NAMESPACE = values['TEMPORAL_NAMESPACE'] ?? 'default';
  const ui =
    values['TEMPORAL_UI_URL'] ??
    (state.services.temporal?.uiPort === undefined ? undefined : `http://127.0.0.1:${state.services.temporal.uiPort}`);
  if (ui !== undefined) result.TEMPORAL_UI_URL = ui;
  // The stack's key belongs to what the stack's PostgreSQL holds; a database elsewhere has one of its own.
  const embedded = !values[services.postgres.variable] && result.TARGET_POSTGRES_URL !== undefined;
  const key = values['CAUSEWAY_QUARANTINE_KEY'] ?? (embedded ? quarantineKey(homeOf(values), false) : undefined);
  if (key !== undefined) result.CAUSEWAY_QUARANTINE_KEY = key;
  return result;
}

export { homeOf };

/** Of the disk that the stack's data lies on. */
export const freeRoom = (values: Values = process.env): Promise<number | undefined> =>
  freeAt(homeOf(values).folder).catch(() => undefined);
