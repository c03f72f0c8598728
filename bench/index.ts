// npm run bench: the copy's rate per collection beside the raw rates of both stores, in one run on one machine. Ratios hold, absolutes do not.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { table } from '../cli/output.ts';
import { progressOf } from '../control/progress.ts';
import { readSettings } from '../core/settings.ts';
import { seedSource } from '../seed/index.ts';
import { checkout } from '../stack/home.ts';
import { down, reset, up, type StackEnvironment } from '../stack/index.ts';
import { openPool } from '../stores/postgres/connection.ts';
import { queueOf } from '../core/owner.ts';
import { readEnvironment } from '../workers/environment.ts';
import { rootId, statusQuery } from '../workflows/contract.ts';
import { identityAt } from '../cli/queue.ts';
import { benchCapture } from './capture.ts';
import { rawCopyRate, rawReadRate } from './raw.ts';
import { benchRouter } from './router.ts';
import { benchVerify } from './verify.ts';

const { values, positionals } = parseArgs({
  options: {
    documents: { type: 'string', default: '62700,626600' },
    only: { type: 'string', default: 'token_usage' },
    json: { type: 'boolean', default: false },
    events: { type: 'string', default: '20000' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '30' },
  },
  allowPositionals: true,
});

const [part = 'copy'] = positionals;
if (part === 'router') {
  await benchRouter();
  process.exit();
}
if (part === 'capture') {
  const { events, rate, seconds } = values;
  await benchCapture({ documents: Number(events), rate: Number(rate), seconds: Number(seconds) });
  process.exit();
}
if (part === 'verify') {
  await benchVerify({ documents: Number(values.documents.split(',')[0]) });
  process.exit();
}
if (part !== 'copy') {
  process.stderr.write(`There is no bench ${part}; there are copy, capture, router and verify.\n`);
  process.exit(2);
}

interface Row {
  readonly documents: number;
  readonly collection: string;
  readonly copied: number;
  readonly rate: number;
  readonly rawRead: number;
  readonly rawCopy: number | null;
  readonly ratio: number;
  readonly peakMegabytes: number;
}

const home = await mkdtemp(join(tmpdir(), 'causeway-bench-'));
const environment = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
const rows: Row[] = [];
try {
  for (const documents of values.documents.split(',').map(Number)) rows.push(...(await measure(documents)));
} finally {
  await down(environment);
  await rm(home, { recursive: true, force: true });
}
if (values.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
else {
  const shown = rows.map((row) => [
    row.collection,
    row.copied,
    Math.round(row.rate),
    Math.round(row.rawRead),
    row.rawCopy === null ? null : Math.round(row.rawCopy),
    row.ratio.toFixed(2),
    (1e6 / row.rate).toFixed(1),
    row.peakMegabytes,
  ]);
  process.stdout.write(
    `${table(['collection', 'documents', 'copied/s', 'raw read/s', 'raw COPY/s', 'of the slower', 'us/document', 'worker peak, MB'], shown)}\n`,
  );
}

/** One migration of `documents` seeded documents on a fresh stack, then the raw rates on the same data. */
async function measure(documents: number): Promise<Row[]> {
  await reset(environment);
  const servers = await up(undefined, environment);
  const only = values.only === 'all' ? undefined : values.only.split(',');
  await seedSource({
    url: servers.SOURCE_MONGODB_URL,
    documents,
    dirty: 0.02,
    seed: 3,
    plantedFile: join(home, 'planted.jsonl'),
    ...(only && { only }),
  });
  process.stderr.write(`  seeded ${documents}\n`);
  const worker = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), 'worker', '--migration', 'bench'], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    worker.stderr.on('data', (part: Buffer) => part.includes('polling') && resolve());
    worker.once('exit', (code) => reject(new Error(`the worker ended with exit code ${code}`)));
  });
  try {
    await migrate(servers);
    const peakMegabytes = peakOf(worker.pid!);
    const pool = openPool(servers.TARGET_POSTGRES_URL, 2);
    try {
      const result: Row[] = [];
      for (const its of await progressOf(pool)) {
        const rawRead = await rawReadRate(servers.SOURCE_MONGODB_URL, its.collection);
        const rawCopy = its.collection === 'token_usage' ? await rawCopyRate(pool, 'api_usage', 'timestamp') : null;
        const rate = its.documents / its.seconds;
        result.push({
          documents,
          collection: its.collection,
          copied: its.documents,
          rate,
          rawRead,
          rawCopy,
          ratio: rate / Math.min(rawRead, rawCopy ?? rawRead),
          peakMegabytes,
        });
      }
      return result;
    } finally {
      await pool.end();
    }
  } finally {
    worker.kill('SIGKILL');
    if (worker.exitCode === null && worker.signalCode === null) await once(worker, 'exit');
  }
}

async function migrate(servers: StackEnvironment): Promise<void> {
  const { temporal, addresses } = readEnvironment(servers);
  const { owner } = await identityAt(addresses, 'bench');
  const connection = await Connection.connect({ address: temporal.address });
  const client = new Client({ connection });
  const read = readSettings({ quarantineBudget: 1 });
  if ('problems' in read) throw new Error(read.problems.join('; '));
  const collections = values.only === 'all' ? undefined : ['token_usage'];
  const settings = { ...read.settings, ...(collections && { collections }) };
  const handle = await client.workflow.start('migration', {
    workflowId: rootId('bench'),
    taskQueue: queueOf(owner),
    args: [{ name: 'bench', settings, until: 'data' }],
  });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const status = await handle.query(statusQuery);
    if (status.state === 'parked') throw new Error(`the migration parked: ${status.lastError?.message}`);
    if (status.state === 'completed') break;
  }
  await connection.close();
}

/** Peak resident memory since the process began; 0 where the system does not tell. */
function peakOf(pid: number): number {
  try {
    return Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);
  } catch {
    return 0;
  }
}
