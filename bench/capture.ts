// npm run bench -- capture: events applied per second and target out of a full backlog, and the lag at a fixed rate of writes.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Double, ObjectId } from 'bson';
import { MongoClient, type Db } from 'mongodb';
import { table } from '../cli/output.ts';
import { captureStatus } from '../control/capture.ts';
import { seedSource } from '../seed/index.ts';
import { checkout } from '../stack/home.ts';
import { down, up } from '../stack/index.ts';
import { openPool } from '../stores/postgres/connection.ts';
import { startWorker, stop } from './worker.ts';

const backlog: Record<
  string,
  { readonly collection: string; readonly document: (i: number) => Record<string, unknown> }
> = {
  'PostgreSQL api_usage': { collection: 'token_usage', document: usage },
  'PostgreSQL market_data': { collection: 'stock_daily_quotes', document: quote },
  'Redis and PostgreSQL sessions': { collection: 'sessions', document: session },
  'MongoDB analysis_results_optimized': { collection: 'analysis_results', document: analysis },
};

function usage(i: number) {
  const timestamp = new Date(Date.now() - i * 1000);
  return {
    _id: new ObjectId(),
    timestamp,
    provider: 'deepseek',
    model_name: 'deepseek-chat',
    input_tokens: i,
    output_tokens: 7,
    cost: new Double(0.001),
    currency: 'CNY',
    session_id: `s${i}`,
    analysis_type: 'stock_analysis',
  };
}
function quote(i: number) {
  const day = new Date(Date.UTC(2020, 0, 1) + (i % 1500) * 86_400_000).toISOString().slice(0, 10);
  return {
    _id: new ObjectId(),
    symbol: String(600_000 + Math.floor(i / 1500)),
    code: String(600_000 + Math.floor(i / 1500)),
    market: 'CN',
    trade_date: day,
    period: 'daily',
    data_source: 'bench',
    open: new Double(1.5),
    high: new Double(2),
    low: new Double(1),
    close: new Double(1.75),
    volume: new Double(1000),
    amount: new Double(1750),
  };
}
function session(i: number) {
  const now = Date.now();
  return {
    _id: new ObjectId(),
    session_id: `bench-${now}-${i}`,
    user_id: 'nobody',
    status: 'active',
    created_at: new Date(now),
    last_activity: new Date(now),
    expires_at: new Date(now + 86_400_000),
    data: { n: i },
  };
}
function analysis(i: number) {
  const now = new Date();
  return {
    _id: new ObjectId(),
    analysis_id: `bench-${now.getTime()}-${i}`,
    stock_symbol: '600519',
    analysis_date: now.toISOString().slice(0, 10),
    timestamp: now,
    status: 'completed',
    source: 'api',
    summary: 'x'.repeat(400),
    reports: { market_report: 'y'.repeat(800) },
    created_at: now,
    updated_at: now,
  };
}

export async function benchCapture(options: {
  readonly documents: number;
  readonly rate: number;
  readonly seconds: number;
}): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'causeway-bench-'));
  const values = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
  let worker: ChildProcess | undefined;
  try {
    const servers = await up(undefined, values);
    await seedSource({
      url: servers.SOURCE_MONGODB_URL,
      documents: 20_000,
      dirty: 0,
      seed: 3,
      plantedFile: join(home, 'planted.jsonl'),
    });
    worker = await startWorker(values);
    await run(values, ['start', '--until', 'data', '--wait', '--migration', 'bench']);
    const client = new MongoClient(servers.SOURCE_MONGODB_URL);
    const pool = openPool(servers.TARGET_POSTGRES_URL, 2);
    try {
      const rows = [];
      for (const [target, { collection, document }] of Object.entries(backlog)) {
        await stop(worker);
        const before = (await captureStatus(pool, Date.now()))!;
        await fill(client.db(), collection, document, options.documents);
        worker = await startWorker(values);
        rows.push([target, options.documents, Math.round(await rateOf(pool, before.events, options.documents))]);
        process.stderr.write(`  ${target}\n`);
      }
      process.stdout.write(`${table(['target, out of a backlog', 'events', 'applied/s'], rows)}\n`);
      await lagAt(values, pool, options);
    } finally {
      await pool.end();
      await client.close();
    }
  } finally {
    if (worker) await stop(worker);
    await down(values);
    await rm(home, { recursive: true, force: true });
  }
}

async function fill(
  db: Db,
  collection: string,
  document: (i: number) => Record<string, unknown>,
  documents: number,
): Promise<void> {
  for (let i = 0; i < documents; i += 1000)
    await db
      .collection(collection)
      .insertMany(Array.from({ length: Math.min(1000, documents - i) }, (_, n) => document(i + n)));
}

/** From the first event applied to the last: a worker's start is not capture's rate. */
async function rateOf(pool: ReturnType<typeof openPool>, before: number, documents: number): Promise<number> {
  let first: { at: number; events: number } | undefined;
  for (;;) {
    const { events } = (await captureStatus(pool, Date.now()))!;
    const now = performance.now();
    if (events > before && !first) first = { at: now, events };
    if (events >= before + documents) return ((events - first!.events) * 1000) / Math.max(1, now - first!.at);
    await sleep(50);
  }
}

async function lagAt(
  values: Record<string, string>,
  pool: ReturnType<typeof openPool>,
  { rate, seconds }: { readonly rate: number; readonly seconds: number },
): Promise<void> {
  await pool.query('delete from migration_control.capture_lag');
  const script = join(checkout, 'seed', 'legacy-writer.ts');
  const environment = { ...process.env, ...values, ...(await stackUrls(values)) };
  const writer = spawn(
    process.execPath,
    ['--import', 'tsx', script, '--rate', `${rate}`, '--seconds', `${seconds}`, '--seed', '5'],
    { env: environment, cwd: checkout, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let said = '';
  writer.stdout.on('data', (part: Buffer) => (said += part.toString('utf8')));
  await once(writer, 'close');
  const { rate: achieved } = JSON.parse(said.trim().split('\n').at(-1)!) as { rate: number };
  const { lagP50Ms, lagP99Ms } = (await captureStatus(pool, Date.now()))!;
  process.stdout.write(
    `${table(['writes/s asked', 'achieved', 'lag p50, ms', 'lag p99, ms'], [[rate, Math.round(achieved), Math.round(lagP50Ms ?? NaN), Math.round(lagP99Ms ?? NaN)]])}\n`,
  );
}

const stackUrls = async (values: Record<string, string>): Promise<Record<string, string>> => ({
  ...(await up(undefined, values)),
});

async function run(values: Record<string, string>, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), ...args], {
    env: { ...process.env, ...values },
    stdio: 'ignore',
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`causeway ${args.join(' ')} ended with exit code ${code}`);
}
