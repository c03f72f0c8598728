// Running installers and helpers: output goes to a log, the last lines of which explain a failure.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { delimiter, join } from 'node:path';
import { access, constants } from 'node:fs/promises';

export interface Ran {
  readonly code: number;
  readonly output: string;
}

/** Runs to the end. `onLine` sees each line of output as it comes. */
export async function run(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; ids?: { uid?: number; gid?: number }; onLine?: (line: string) => void } = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...options.ids,
  });
  let output = '';
  const read = (part: Buffer) => {
    output = (output + part.toString('utf8')).slice(-20_000);
    for (const line of part.toString('utf8').split('\n').filter(Boolean)) options.onLine?.(line);
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const code = await Promise.race([
    once(child, 'close').then(([exit]) => (exit as number | null) ?? 1),
    once(child, 'error').then(() => 127),
  ]);
  return { code, output };
}

export const lastLines = (text: string, count = 5): string => text.trim().split('\n').slice(-count).join('\n');

/** Full path of an executable on PATH, or undefined. */
export async function onPath(name: string): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

export const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
