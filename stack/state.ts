// What the stack has started, written after every change: the record that `up` repairs from and `down` goes by.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import lockfile from 'proper-lockfile';
import { makeFolder, privateFile, privateFolder } from '../spool/private.ts';
import { StackError, type Home } from './home.ts';
import { newSecret, serviceNames, type Running, type ServiceName } from './services.ts';

const running = z.object({
  pid: z.int(),
  started: z.string(),
  port: z.int(),
  uiPort: z.int().optional(),
  url: z.string(),
});
const schema = z.object({
  secret: z.string().min(10),
  services: z.partialRecord(z.enum(serviceNames as [ServiceName, ...ServiceName[]]), running),
});

export interface StackState {
  /** PostgreSQL's password, kept over restarts. */
  readonly secret: string;
  services: Partial<Record<ServiceName, Running>>;
}

/** A file that cannot be read counts as none: the servers it spoke of are found again by their data, or started anew. */
export async function readState(home: Home): Promise<StackState> {
  const secretFile = `${home.folder}/secret`;
  const text = await readFile(home.state, 'utf8').catch(() => undefined);
  const read = schema.safeParse(text === undefined ? undefined : parsed(text));
  if (read.success) return read.data as StackState;
  const secret = (await readFile(secretFile, 'utf8').catch(() => '')) || newSecret();
  return { secret, services: {} };
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** In one breath: services that come up at the same time each write the whole record. */
export function writeState(home: Home, state: StackState): void {
  mkdirSync(home.folder, { recursive: true, mode: privateFolder });
  for (const [file, content] of [
    [`${home.folder}/secret`, state.secret],
    [home.state, JSON.stringify(state, null, 2)],
  ] as const) {
    writeFileSync(`${file}.part`, content, { mode: privateFile });
    renameSync(`${file}.part`, file);
  }
}

/** The key that quarantined documents are encrypted with, in a file only its owner may read; made once, and gone with the data. */
export function quarantineKey(home: Home, make: boolean): string | undefined {
  const file = `${home.folder}/quarantine-key`;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (!make || (error as NodeJS.ErrnoException).code !== 'ENOENT') return undefined;
  }
  const key = randomBytes(32).toString('base64');
  writeFileSync(`${file}.part`, key, { mode: privateFile });
  renameSync(`${file}.part`, file);
  return key;
}

/** One `up` or `down` at a time; a lock whose holder died is taken over. */
export async function locked<T>(home: Home, work: () => Promise<T>): Promise<T> {
  await makeFolder(home.folder);
  const release = await lockfile
    .lock(home.folder, {
      lockfilePath: `${home.folder}/stack.lock`,
      stale: 20_000,
      update: 5000,
      retries: { retries: 120, minTimeout: 1000, maxTimeout: 1000 },
    })
    .catch(() => {
      throw new StackError(
        `Another causeway is starting or stopping the stack in ${home.folder}. Wait for it, or remove ${home.folder}/stack.lock if there is none.`,
      );
    });
  try {
    return await work();
  } finally {
    await release();
  }
}
