// For the suites that need servers: what an earlier run left is ended, command and workflows are bundled, and the first place's stack is up (installed, if it is
// the first time). Further places start theirs when a file first runs there. The user's own stack is another; only the installed servers are shared.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkout } from '../../stack/home.ts';
import { down, reset, up } from '../../stack/index.ts';
import { workflowBundle } from '../../workers/bundle.ts';
import { command } from './command.ts';

const stacks = join(checkout, '.causeway', 'test');
/** Each suite loads this file for itself, and they share what it made. */
const shared = globalThis as { causewayServers?: { users: number; readonly ready: Promise<void> } };

export default async function setup() {
  shared.causewayServers ??= { users: 0, ready: begin() };
  shared.causewayServers.users++;
  await shared.causewayServers.ready;
  return async () => {
    if (--shared.causewayServers!.users === 0) await end();
  };
}

async function begin(): Promise<void> {
  await mkdir(stacks, { recursive: true });
  for (const home of await homes()) await reset({ CAUSEWAY_HOME: home });
  await rm(stacks, { recursive: true, force: true });
  await Promise.all([
    // The first command makes the bundle that all others run.
    promisify(execFile)(process.execPath, [command, '--help']),
    workflowBundle(join(checkout, '.causeway', 'bundle')),
    up((message) => process.stdout.write(`  ${message}\n`), { CAUSEWAY_HOME: join(stacks, '1') }),
  ]);
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
