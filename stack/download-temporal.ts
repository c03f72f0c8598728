// Temporal's server as its own SDK downloads it: seconds where the internet can be reached, and given up after a few where it cannot.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isExecutable } from './command.ts';
import { checkout } from './home.ts';

/** Until the first byte lies on the disk, and altogether, ms. */
const patience = { begins: 8000, ends: 180_000 };

/** In a process of its own, which can be ended while the SDK waits for the network. The server it starts to see that it runs is stopped again. */
const script = `
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const [downloadDir, version] = process.argv.slice(-2);
  const server = { executable: { type: 'cached-download', downloadDir, version } };
  await (await TestWorkflowEnvironment.createLocal({ server })).teardown();
  process.exit(0);`;

/** Puts `temporal` into the empty folder. false: it cannot be had this way. */
export async function downloadTemporal(into: string, version: string): Promise<boolean> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, into, version], {
    cwd: checkout,
    stdio: 'ignore',
  });
  const ended = Promise.race([once(child, 'exit'), once(child, 'error')]).then(() => true);
  const within = (ms: number) => Promise.race([ended, sleep(ms, false, { ref: false })]);
  if (!(await within(patience.begins)) && (await readdir(into)).length > 0) await within(patience.ends);
  if (child.exitCode === null) child.kill('SIGKILL');
  await ended;
  if (child.exitCode !== 0) return false;
  for (const name of await readdir(into)) {
    if (!(await isExecutable(join(into, name)))) continue;
    await rename(join(into, name), join(into, 'temporal'));
    return true;
  }
  return false;
}
