// Records the histories that replay.test.ts replays: `node --import tsx test/replay/record.ts`. Each release adds folders of its own and keeps
// the earlier ones: `completed` and `compensated` are from before there was change capture, `live` and `live-undone` from when it came,
// `gated` and `gated-undone` from when stages got gates and writes a way back, `proven` from when there was verification: with quarantine
// retry, checkpoint, restore and decommission. What is recorded now goes into `steady`: a stage that holds for an operator, whose history begins
// anew, on a server that asks for that after 60 events.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { readSettings, type Settings } from '../../core/settings.ts';
import type { Status } from '../../core/state.ts';
import { seedSource } from '../../seed/index.ts';
import { checkout } from '../../stack/home.ts';
import { down, up } from '../../stack/index.ts';
import { startTemporal } from '../support/temporal.ts';
import { controlQueue, rootId, statusQuery } from '../../workflows/contract.ts';

const here = fileURLToPath(new URL('./', import.meta.url));
const name = 'steady';
const home = await mkdtemp(join(tmpdir(), 'causeway-record-'));
const environment = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
const temporal = await startTemporal({ 'limit.historyCount.suggestContinueAsNew': 60 });
const servers = { ...(await up(undefined, environment)), TEMPORAL_ADDRESS: temporal.address };
const connection = await Connection.connect({ address: servers.TEMPORAL_ADDRESS });
const client = new Client({ connection });
await seedSource({
  url: servers.SOURCE_MONGODB_URL,
  documents: 1000,
  dirty: 0.1,
  seed: 2,
  plantedFile: join(home, 'planted.jsonl'),
});

try {
  await withWorker(async () => {
    await start(name);
    await until((status) => status.routing['sessions']?.percentage === 10);
    await causeway('cutover', 'set', '5', '--collection', 'sessions');
    await until((status) => status.waitingFor?.includes('fewer reads') === true);
    while ((await runsOf('cutover/phase_1_reads')) < 3) await new Promise((resolve) => setTimeout(resolve, 500));
    await causeway('cutover', 'advance');
    await until((status) => status.state === 'completed');
    await save();
  });
} finally {
  await connection.close();
  await down(environment);
  await temporal.stop();
  await rm(home, { recursive: true, force: true });
}

async function causeway(...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), ...args, '--migration', name], {
    env: { ...process.env, ...servers, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`causeway ${args.join(' ')} ended with ${code}`);
}

async function withWorker(work: () => Promise<void>): Promise<void> {
  const worker = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), 'worker'], {
    env: { ...process.env, ...servers, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve) =>
    worker.stderr.on('data', (part: Buffer) => part.includes('polling') && resolve()),
  );
  try {
    await work();
  } finally {
    worker.kill('SIGKILL');
    await once(worker, 'exit');
  }
}

function start(migration: string) {
  const stages = [
    { name: 'phase_1_reads', percentage: 10, soakSeconds: 10 },
    { name: 'phase_2_reads', percentage: 50, soakSeconds: 1 },
  ];
  const { settings } = readSettings({ stages, sampleSeconds: 1, quarantineBudget: 1 }) as { settings: Settings };
  return client.workflow.start('migration', {
    workflowId: rootId(migration),
    taskQueue: controlQueue,
    args: [{ name: migration, settings, until: 'cutover' }],
  });
}

async function until(reached: (status: Status) => boolean): Promise<void> {
  for (;;) {
    const status = await client.workflow.getHandle(rootId(name)).query(statusQuery);
    if (reached(status)) return;
    if (status.state === 'parked') throw new Error(`parked: ${status.lastError?.message}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function runsOf(place: string): Promise<number> {
  let runs = 0;
  for await (const _ of client.workflow.list({ query: `WorkflowId = '${rootId(name)}/${place}'` })) runs++;
  return runs;
}

/** Every workflow of the tree, one file each, named by its place in it. */
async function save(): Promise<void> {
  const folder = join(here, name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for await (const execution of client.workflow.list({ query: `MigrationName = '${name}'` })) {
    const history = await client.workflow.getHandle(execution.workflowId, execution.runId).fetchHistory();
    const text = `${JSON.stringify(JSON.parse(historyToJSON(history))).replaceAll(checkout, '')}\n`;
    const place = execution.workflowId.slice(rootId(name).length + 1).replaceAll('/', '.') || 'root';
    const file = join(folder, `${place}.json`);
    await writeFile(file, text, { flag: 'wx' }).catch(() =>
      writeFile(file.replace('.json', `.${execution.runId.slice(0, 8)}.json`), text),
    );
  }
}
