// Records the histories that replay.test.ts replays, from the code that is deployed: `node --import tsx test/replay/record.ts`. One folder of
// histories/ for each situation, one file for each workflow of the tree: `completed` goes through all stages, takes a checkpoint and restores it,
// verifies, and goes back to the old system at the end; `undone` is aborted while it copies. Stages begin their histories anew, on a server that asks for that after 60 events.
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
import { identityAt } from '../../cli/queue.ts';
import { queueOf } from '../../core/owner.ts';
import { readEnvironment } from '../../workers/environment.ts';
import { rootId, statusQuery } from '../../workflows/contract.ts';

const histories = fileURLToPath(new URL('./histories/', import.meta.url));
const asked = process.argv.slice(2);
const situations: Record<string, (name: string) => Promise<void>> = {
  async completed(name) {
    await start(name, { stages: stagesToTheEnd });
    await until(name, (status) => status.routing['sessions']?.percentage === 10);
    await causeway(name, 'cutover', 'set', '5', '--collection', 'sessions');
    await until(name, (status) => status.waitingFor?.includes('fewer reads') === true);
    while ((await runsOf(name, 'cutover/phase_1_reads')) < 3) await new Promise((resolve) => setTimeout(resolve, 500));
    await causeway(name, 'cutover', 'advance');
    await until(name, (status) => status.state === 'completed');
    await causeway(name, 'checkpoint', 'create', 'first');
    await causeway(name, 'verify');
    await causeway(name, 'rollback', '--to', 'old', '--wait');
  },
  async undone(name) {
    await start(name, { copyLagMs: 1 });
    await until(name, (status) => status.phase === 'data');
    await causeway(name, 'abort', '--reason', 'recorded');
    await client.workflow.getHandle(rootId(name)).result();
  },
};
const stagesToTheEnd = [
  { name: 'phase_1_reads', percentage: 10, soakSeconds: 10 },
  { name: 'phase_4_writes', percentage: 100, writes: 'new_system', soakSeconds: 2 },
];

const temporal = await startTemporal({ 'limit.historyCount.suggestContinueAsNew': 60 });
const connection = await Connection.connect({ address: temporal.address });
const client = new Client({ connection });
let environment: Record<string, string> = {};
try {
  for (const [name, play] of Object.entries(situations))
    if (asked.length === 0 || asked.includes(name)) await record(name, play);
} finally {
  await connection.close();
  await temporal.stop();
}

/** Each in a world of its own. */
async function record(name: string, play: (name: string) => Promise<void>): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'causeway-record-'));
  const own = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
  try {
    const servers = await up(undefined, own);
    environment = { ...servers, ...own, TEMPORAL_ADDRESS: temporal.address };
    await seedSource({
      url: servers.SOURCE_MONGODB_URL,
      documents: 1000,
      dirty: 0.1,
      seed: 2,
      plantedFile: join(home, 'planted.jsonl'),
    });
    await withWorker(name, () => play(name));
    await save(name);
  } finally {
    await down(own);
    await rm(home, { recursive: true, force: true });
  }
}

async function causeway(name: string, ...args: string[]): Promise<void> {
  const child = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), ...args, '--migration', name], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`causeway ${args.join(' ')} ended with ${code}`);
}

async function withWorker(migration: string, work: () => Promise<void>): Promise<void> {
  const worker = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), 'worker', '--migration', migration], {
    env: { ...process.env, ...environment },
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

async function start(migration: string, more: object) {
  // Histories are recorded, not speeds: a busy machine sends no traffic back.
  const policy = {
    queryTime: { floorMs: 60_000 },
    errorRate: { increase: 1 },
    throughput: { minimumReads: 1_000_000 },
  };
  const { settings } = readSettings({ sampleSeconds: 1, quarantineBudget: 1, policy, ...more }) as {
    settings: Settings;
  };
  const { owner } = await identityAt(readEnvironment(environment).addresses, migration);
  return client.workflow.start('migration', {
    workflowId: rootId(migration),
    taskQueue: queueOf(owner),
    args: [{ name: migration, settings, until: 'cutover' }],
  });
}

async function until(name: string, reached: (status: Status) => boolean): Promise<void> {
  for (;;) {
    const status = await client.workflow.getHandle(rootId(name)).query(statusQuery);
    if (reached(status)) return;
    if (status.state === 'parked') throw new Error(`parked: ${status.lastError?.message}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function runsOf(name: string, place: string): Promise<number> {
  let runs = 0;
  for await (const _ of client.workflow.list({ query: `WorkflowId = '${rootId(name)}/${place}'` })) runs++;
  return runs;
}

/** Every workflow of the tree, one file each, named by its place in it. */
async function save(name: string): Promise<void> {
  const folder = join(histories, name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for await (const execution of client.workflow.list({ query: `WorkflowId STARTS_WITH '${rootId(name)}'` })) {
    const history = await client.workflow.getHandle(execution.workflowId, execution.runId).fetchHistory();
    const text = `${JSON.stringify(JSON.parse(historyToJSON(history))).replaceAll(checkout, '')}\n`;
    const place = execution.workflowId.slice(rootId(name).length + 1).replaceAll('/', '.') || 'root';
    const file = join(folder, `${place}.json`);
    await writeFile(file, text, { flag: 'wx' }).catch(() =>
      writeFile(file.replace('.json', `.${execution.runId.slice(0, 8)}.json`), text),
    );
  }
}
