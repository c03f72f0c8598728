// Room on the disk: what each server's data takes, and whether there is enough before one is started. On a full disk nothing works any more, and nothing says why.
import { readdir, lstat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { StackError, type Home } from './home.ts';
import type { ServiceName } from './services.ts';

const MiB = 1024 * 1024;

/** What each takes with the data of a demo, and what it writes ahead at most (`services.ts`); estimated, and rounded up. */
const needs: Readonly<Record<ServiceName, number>> = {
  temporal: 100 * MiB,
  'source-mongodb': 300 * MiB,
  'target-mongodb': 300 * MiB,
  postgres: 800 * MiB,
  redis: 100 * MiB,
};

export const folderOf = (home: Home, name: ServiceName): string => join(home.data, name);

/** Bytes that a folder takes on the disk; 0 where it is not there or may not be looked into. */
export async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map((entry) => {
      const path = join(folder, entry.name);
      // A file may go while it is looked at.
      return entry.isDirectory()
        ? sizeOf(path)
        : lstat(path).then(
            ({ blocks }) => blocks * 512,
            () => 0,
          );
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

export async function freeAt(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Why these servers are not started; undefined where there is room. What lies there already needs none. */
export function refusalOfRoom(
  folder: string,
  free: number,
  used: Readonly<Partial<Record<ServiceName, number>>>,
): string | undefined {
  const names = Object.keys(used) as ServiceName[];
  const needed = names.reduce((sum, name) => sum + Math.max(0, needs[name] - used[name]!), 0);
  if (free >= needed) return undefined;
  const mib = (bytes: number) => `${Math.ceil(bytes / MiB)} MiB`;
  return `There is too little room on the disk of ${folder}: ${mib(free)} are free, and ${names.join(', ')} need ${mib(needed)}. Make room, or set CAUSEWAY_HOME to a folder on another disk. \`causeway stack status\` says what each server takes, \`causeway stack reset --yes\` removes the embedded stack's data.`;
}

/** Throws before anything is started where it would fill the disk. */
export async function requireRoom(home: Home, names: readonly ServiceName[]): Promise<void> {
  if (names.length === 0) return;
  const used = await Promise.all(names.map(async (name) => [name, await sizeOf(folderOf(home, name))] as const));
  const refusal = refusalOfRoom(home.folder, await freeAt(home.folder), Object.fromEntries(used));
  if (refusal !== undefined) throw new StackError(refusal);
}
