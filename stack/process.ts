// Processes of the stack: started apart from us, recognised by pid and start time, ended only when they are really ours.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeOwnFolder, withLog } from '../spool/private.ts';
import { lastLines } from './command.ts';
import { StackError } from './home.ts';

export interface ProcessMark {
  readonly pid: number;
  /** What the system says of the process's start, so that a pid used anew is not taken for ours. */
  readonly started: string;
}

export async function start(
  command: readonly string[],
  log: string,
  options: { cwd?: string; uid?: number; gid?: number; env?: Record<string, string> } = {},
): Promise<ProcessMark> {
  await makeOwnFolder(dirname(log));
  const { env, ...rest } = options;
  const child = withLog(log, (out) =>
    spawn(command[0]!, command.slice(1), {
      detached: true,
      stdio: ['ignore', out, out],
      env: { ...process.env, ...env },
      ...rest,
    }),
  );
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) => reject(new StackError(`${command[0]} could not be started: ${error.message}.`)));
  });
  child.unref();
  return { pid: child.pid!, started: startOf(child.pid!) ?? '' };
}

/** Start time in clock ticks since boot where /proc is, else the process's existence alone. */
function startOf(pid: number): string | undefined {
  try {
    if (!existsSync('/proc/self/stat')) return process.kill(pid, 0) ? 'alive' : undefined;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export const isAlive = (mark: ProcessMark): boolean => mark.started !== '' && startOf(mark.pid) === mark.started;

/** Asks the process to end, and makes it after `graceMs`. One that is not ours, or is gone, is left alone. */
export async function end(mark: ProcessMark, graceMs = 15_000, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (!isAlive(mark)) return;
  process.kill(mark.pid, signal);
  const deadline = Date.now() + graceMs;
  while (isAlive(mark) && Date.now() < deadline) await sleep(50);
  if (isAlive(mark)) process.kill(mark.pid, 'SIGKILL');
  while (isAlive(mark)) await sleep(50);
}

/** Waits until `probe` succeeds; tells the end of the log when the process dies or the time is up. */
export async function healthy(
  name: string,
  mark: ProcessMark,
  log: string,
  probe: () => Promise<unknown>,
  timeoutMs = 60_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await probe().then(
      () => true,
      () => false,
    );
    if (answer) return;
    if (!isAlive(mark) || Date.now() > deadline) {
      const tail = lastLines(await readFile(log, 'utf8').catch(() => ''), 8);
      throw new StackError(
        `${name} ${isAlive(mark) ? `did not answer within ${timeoutMs / 1000} s` : 'ended right after its start'}. The end of ${log}:\n${tail}`,
      );
    }
    await sleep(100);
  }
}
