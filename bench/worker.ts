// A worker in a process of its own, as it would be in earnest: what it takes is not the benchmark's.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { checkout } from '../stack/home.ts';

export async function startWorker(values: Record<string, string>): Promise<ChildProcess> {
  const worker = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), 'worker'], {
    env: { ...process.env, ...values },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    worker.stderr.on('data', (part: Buffer) => part.includes('polling') && resolve());
    worker.once('exit', (code) => reject(new Error(`the worker ended with exit code ${code}`)));
  });
  return worker;
}

export async function stop(worker: ChildProcess): Promise<void> {
  worker.kill('SIGKILL');
  if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit');
}
