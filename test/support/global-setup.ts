// For the suites that need servers: what an earlier run left is ended, command and workflows are bundled, and the first place's stack is up (installed, if it is
// the first time). Further places start theirs when a file first runs there. The user's own stack is another; only the installed servers are shared.
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { checkout } from '../../stack/home.ts';
import { down, reset, up } from '../../stack/index.ts';
import { workflowBundle } from '../../workers/bundle.ts';
import { buildCommand } from './build.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Path of the bundled command. */
    command: string;
  }
}

const stacks = join(checkout, '.causeway', 'test');
/** Each suite loads this file for itself, and they share what it made. */
const shared = globalThis as { causewayServers?: { users: number; readonly command: Promise<string> } };

export default async function setup(project: TestProject) {
  shared.causewayServers ??= { users: 0, command: begin() };
  shared.causewayServers.users++;
  project.provide('command', await shared.causewayServers.command);
  return async () => {
    if (--shared.causewayServers!.users === 0) await end();
  };
}

async function begin(): Promise<string> {
  await mkdir(stacks, { recursive: true });
  for (const home of await homes()) await reset({ CAUSEWAY_HOME: home });
  await rm(stacks, { recursive: true, force: true });
  const [command] = await Promise.all([
    buildCommand(),
    workflowBundle(join(checkout, '.causeway', 'bundle')),
    up((message) => process.stdout.write(`  ${message}\n`), { CAUSEWAY_HOME: join(stacks, '1') }),
  ]);
  return command;
}

/** The logs stay, the data would fill the disk. */
async function end(): Promise<void> {
  for (const home of await homes()) {
    await down({ CAUSEWAY_HOME: home });
    await rm(join(home, 'data'), { recursive: true, force: true });
  }
}

const homes = async () =>
  [stacks, ...(await readdir(stacks)).map((place) => join(stacks, place))].filter((home) =>
    existsSync(join(home, 'stack.json')),
  );
