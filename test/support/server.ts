// Servers of a test's own, beside the stack: other programs, other settings, TLS. They listen on this machine only and end with the test.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import getPort from 'get-port';

export interface Server {
  readonly port: number;
  readonly folder: string;
  /** Ends the process and removes its folder. */
  stop(): Promise<void>;
  /** Ends the process and starts it with other arguments on the same folder and port. */
  again(
    args: (port: number, folder: string) => readonly string[],
    ready: (port: number) => Promise<unknown>,
  ): Promise<void>;
}

export interface ServerOrder {
  readonly program: string;
  readonly args: (port: number, folder: string) => readonly string[];
  /** Resolves when it serves. */
  readonly ready: (port: number) => Promise<unknown>;
  readonly before?: (folder: string) => Promise<unknown>;
  readonly env?: Record<string, string>;
  readonly ids?: { readonly uid?: number; readonly gid?: number };
}

export async function startServer(order: ServerOrder): Promise<Server> {
  const port = await getPort({ host: '127.0.0.1' });
  const folder = await mkdtemp(join(tmpdir(), 'server-'));
  await order.before?.(folder);
  let child: ChildProcess;
  const run = async (args: ServerOrder['args'], ready: ServerOrder['ready']) => {
    let said = '';
    child = spawn(order.program, args(port, folder), {
      env: { ...process.env, ...order.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...order.ids,
    });
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (part: Buffer) => (said = (said + part.toString('utf8')).slice(-2000)));
    for (const since = Date.now(); ; await sleep(200))
      try {
        await ready(port);
        return;
      } catch (error) {
        if (child.exitCode !== null) throw new Error(`${order.program} ended: ${said}`, { cause: error });
        if (Date.now() - since > 60_000) throw error;
      }
  };
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await once(child, 'exit');
    clearTimeout(timer);
  };
  await run(order.args, order.ready);
  return {
    port,
    folder,
    again: async (args, ready) => {
      await end();
      await run(args, ready);
    },
    stop: async () => {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
