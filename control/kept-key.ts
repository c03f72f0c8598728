// The key that is used where nobody gives one: made once per home, kept in a file that only its owner may read.
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { privateFile, privateFolder } from '../spool/private.ts';
import { homeOf } from '../stack/home.ts';

/** Not among the data of the embedded stack: `stack reset` leaves it, because documents elsewhere are encrypted with it. */
export const keptKeyFile = (): string => join(homeOf().folder, 'migration-key');

/** Read, or made where there is none; of processes that make it at the same time all get the same. */
export function keptKey(): string {
  const file = keptKeyFile();
  const there = read(file);
  if (there !== undefined) return there;
  mkdirSync(homeOf().folder, { recursive: true, mode: privateFolder });
  const draft = `${file}.${process.pid}.part`;
  writeFileSync(draft, `${randomBytes(32).toString('base64')}\n`, { mode: privateFile });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  return read(file)!;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}
