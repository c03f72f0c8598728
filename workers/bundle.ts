// The workflow bundle, built in a process of its own (bundling needs more memory than all the worker does) and kept by content.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeFolder, writePrivately } from '../spool/private.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

/** Path of a bundle of the workflows as they are now, under `folder`. */
export async function workflowBundle(folder: string): Promise<string> {
  const path = join(folder, `workflows-${await digest()}.js`);
  if (existsSync(path)) return path;
  await makeFolder(folder);
  await new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(import.meta.url), path], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`bundling the workflows failed with exit code ${code}`)),
    );
  });
  return path;
}

/** Of everything the bundle holds: workflows, the rules they share, and the SDK's version. */
async function digest(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(join(root, 'package-lock.json')));
  for (const folder of ['core', 'workflows']) {
    const files = (await readdir(join(root, folder), { recursive: true }))
      .filter((file) => file.endsWith('.ts'))
      .sort();
    for (const file of files) hash.update(file).update(await readFile(join(root, folder, file)));
  }
  return hash.digest('hex').slice(0, 16);
}

async function build(path: string): Promise<void> {
  const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'workflows', 'index.ts'),
    workflowInterceptorModules: [join(root, 'workflows', 'interceptors.ts')],
    logger: new DefaultLogger('WARN'),
  });
  await writePrivately(path, code);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build(process.argv[2]!);
