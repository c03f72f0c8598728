// npm run bench -- verify: documents verified per second and the worker's peak memory, beside the raw read rates of both stores in the same run.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { table } from '../cli/output.ts';
import type { Summary } from '../control/verification-report.ts';
import { seedSource } from '../seed/index.ts';
import { checkout } from '../stack/home.ts';
import { down, up } from '../stack/index.ts';
import { openPool } from '../stores/postgres/connection.ts';
import { startWorker, stop } from './worker.ts';
import { rawReadRate } from './raw.ts';

type Pool = ReturnType<typeof openPool>;

/** A migration of `documents` seeded documents, then a worker of its own that only verifies. */
export async function benchVerify(options: { readonly documents: number }): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'causeway-bench-'));
  const values = { CAUSEWAY_HOME: home, CAUSEWAY_TOOLS: join(checkout, '.causeway', 'tools') };
  let worker: ChildProcess | undefined;
  try {
    const servers = await up(undefined, values);
    const plantedFile = join(home, 'planted.jsonl');
    await seedSource({
      url: servers.SOURCE_MONGODB_URL,
      documents: options.documents,
      dirty: 0.02,
      seed: 3,
      plantedFile,
    });
    process.stderr.write(`  seeded ${options.documents}\n`);
    worker = await startWorker(values);
    await causeway(values, ['start', '--until', 'data', '--wait', '--migration', 'bench']);
    await stop(worker);
    worker = await startWorker(values);
    const summary = JSON.parse(await causeway(values, ['verify', '--json', '--migration', 'bench'])) as Summary;
    const peak = peakOf(worker.pid!);
    const pool = openPool(servers.TARGET_POSTGRES_URL, 2);
    try {
      process.stdout.write(
        `${table(
          ['scan', 'compared', 'per second', 'raw read/s, MongoDB', 'raw read/s, PostgreSQL'],
          await scansOf(pool, summary.run, servers.SOURCE_MONGODB_URL),
        )}\n`,
      );
    } finally {
      await pool.end();
    }
    process.stdout.write(
      `${table(
        ['documents', 'rows and keys', 'seconds', 'documents/s', 'different', 'open', 'worker peak, MB'],
        [
          [
            summary.documents,
            summary.rows,
            summary.seconds,
            Math.round(summary.documents / summary.seconds),
            summary.different,
            summary.open,
            peak,
          ],
        ],
      )}\n`,
    );
  } finally {
    if (worker) await stop(worker);
    await down(values);
    await rm(home, { recursive: true, force: true });
  }
}

interface ScanRow {
  readonly kind: string;
  readonly source: string | null;
  readonly target: string | null;
  readonly compared: string;
  readonly seconds: number;
}

/** From the end of the scan before to its own. */
async function scansOf(pool: Pool, run: number, url: string) {
  const { rows } = await pool.query<ScanRow>(
    `select kind, source, target, compared, extract(epoch from updated_at - coalesce(lag(updated_at) over (order by scan), (select started_at from migration_control.verification_runs where id = $1)))::float8 as seconds
     from migration_control.verification_scans where run_id = $1 order by scan`,
    [run],
  );
  const result = [];
  for (const row of rows.filter((one) => Number(one.compared) > 1000)) {
    const mongo = row.kind === 'documents' ? await rawReadRate(url, row.source!) : null;
    const postgres = row.kind === 'rows' ? await rawRowRate(pool, row.target!) : null;
    result.push([
      `${row.kind} ${row.target ?? row.source}`,
      Number(row.compared),
      Math.round(Number(row.compared) / row.seconds),
      mongo === null ? null : Math.round(mongo),
      postgres === null ? null : Math.round(postgres),
    ]);
  }
  return result;
}

/** Rows per second when the server goes through all of a table's values and sends none; the better of two runs. */
async function rawRowRate(pool: Pool, name: string): Promise<number> {
  const rates: number[] = [];
  for (let n = 0; n < 2; n++) {
    const started = performance.now();
    const { rows } = await pool.query<{ rows: string }>(
      `select count(*) as rows, sum(length(t::text)) from "${name}" t`,
    );
    rates.push((Number(rows[0]!.rows) * 1000) / (performance.now() - started));
  }
  return Math.max(...rates);
}

async function causeway(values: Record<string, string>, args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [join(checkout, 'bin', 'causeway.js'), ...args], {
    env: { ...process.env, ...values },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (part: Buffer) => (said += part.toString('utf8')));
  await once(child, 'close');
  return said;
}

/** Peak resident memory since the process began; 0 where the system does not tell. */
function peakOf(pid: number): number {
  try {
    return Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);
  } catch {
    return 0;
  }
}
