// The gate that a cutover stage passes only with good and recent performance results.
import type { PerformanceSettings } from '../../core/settings.ts';
import { query } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';

export interface GateOrder {
  readonly maxAgeSeconds: PerformanceSettings['maxAgeSeconds'];
  /** `thresholds`: every benchmark and query passed. `no_slower`: no query is slower than in the old system, or has lost its index. */
  readonly accept: 'thresholds' | 'no_slower';
}

export interface Gate {
  readonly passed: boolean;
  readonly reasons: readonly string[];
  readonly resultId: number | null;
  readonly timestamp: string | null;
}

interface Row {
  id: string;
  overall_status: string;
  against_old: string;
  regressions: { what: string; why: string[] }[];
  timestamp: Date;
  age: number;
  before_data: boolean;
}

/** Reads the newest result. One that is older than the data it was measured on counts for nothing. */
export async function performanceGate(resources: Pick<Resources, 'postgres'>, order: GateOrder): Promise<Gate> {
  const [row] = await query<Row>(
    resources.postgres,
    'reading performance results',
    `select id, overall_status, against_old, regressions, "timestamp", extract(epoch from clock_timestamp() - "timestamp")::float8 as age,
            coalesce("timestamp" < (select max(created_at) from migration_control.rollback_checkpoints where phase = 'data'), false) as before_data
     from migration_control.performance_results order by id desc limit 1`,
  );
  const closed = (...reasons: string[]): Gate => ({
    passed: false,
    reasons,
    resultId: row ? Number(row.id) : null,
    timestamp: row?.timestamp.toISOString() ?? null,
  });
  const again = '`causeway perf` measures anew';
  if (!row) return closed(`performance has not been measured; ${again}`);
  if (row.before_data) return closed(`performance was measured before the data was copied; ${again}`);
  if (row.age > order.maxAgeSeconds)
    return closed(
      `performance was measured ${Math.round(row.age)} s ago, and ${order.maxAgeSeconds} s are allowed; ${again}`,
    );
  const why = row.regressions.flatMap((one) => one.why.map((sentence) => `${one.what}: ${sentence}`));
  const good = order.accept === 'thresholds' ? row.overall_status === 'passed' : row.against_old === 'no_slower';
  const broken = row.regressions.some((one) => one.what === 'indexes' || /waits for|no answer/.test(one.why.join(' ')));
  if (!good || broken)
    return closed(...(why.length > 0 ? why : [`the new system is ${row.against_old} against the old one`]));
  return { passed: true, reasons: [], resultId: Number(row.id), timestamp: row.timestamp.toISOString() };
}
