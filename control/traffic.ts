// The application's traffic in SQL: what routers report, and the sums over an interval.
import type pg from 'pg';
import type { Histogram } from '../core/histogram.ts';
import type { LogRatios } from '../core/ratio.ts';
import { query } from '../stores/postgres/connection.ts';

export type Side = 'old' | 'new';

/** Shadow reads of one collection: by what came of the comparison, and the latency ratios. */
export interface ShadowCounts {
  readonly equal: number;
  readonly lag: number;
  readonly expected: number;
  readonly defect: number;
  /** The side behind failed or took too long. */
  readonly failed: number;
  /** There was no room to run it. */
  readonly skipped: number;
  /** new / old */
  readonly ratios: LogRatios;
  /** old / old */
  readonly noise: LogRatios;
}

export interface TrafficRow {
  readonly collection: string;
  readonly side: Side;
  readonly reads: number;
  readonly errors: number;
  readonly latency_ms: number;
  readonly histogram: Histogram;
  readonly writes: number;
  readonly write_errors: number;
  readonly shadow: ShadowCounts;
}

/** Sent again, because nobody knows whether it arrived, a report is counted once. */
export async function writeTraffic(
  client: pg.ClientBase,
  router: string,
  report: number,
  rows: readonly TrafficRow[],
): Promise<void> {
  await client.query(
    `insert into migration_control.traffic_samples
       (router, report, collection, side, reads, errors, latency_ms, histogram, writes, write_errors, shadow)
     select $1, $2, s.* from jsonb_to_recordset($3::jsonb) as s (collection text, side text, reads bigint, errors bigint,
       latency_ms double precision, histogram jsonb, writes bigint, write_errors bigint, shadow jsonb)
     on conflict do nothing`,
    [router, report, JSON.stringify(rows)],
  );
}

export interface TrafficSums extends Omit<TrafficRow, 'shadow'> {
  readonly shadow: Partial<Record<Exclude<keyof ShadowCounts, 'ratios' | 'noise'>, number>>;
  readonly ratios: LogRatios;
  readonly noise: LogRatios;
}

const shadowKeys = ['equal', 'lag', 'expected', 'defect', 'failed', 'skipped'];
const logKeys = ['pairs', 'sum', 'squares'];
const summed = (path: string, keys: readonly string[]) =>
  keys.map((key) => `'${key}', coalesce(sum((${path}->>'${key}')::double precision), 0)`).join(', ');

/**
 * What arrived in the last `seconds`, by collection and side. Latency ratios and their noise are those of the last ten minutes: they need
 * more pairs than an interval has.
 */
export async function readTraffic(on: pg.Pool | pg.ClientBase, seconds: number): Promise<TrafficSums[]> {
  return query<TrafficSums>(
    on,
    'reading the traffic',
    `with recent as (select * from migration_control.traffic_samples where received_at > clock_timestamp() - make_interval(secs => $1)),
          longer as (select * from migration_control.traffic_samples where received_at > clock_timestamp() - interval '10 minutes'),
          buckets as (select collection, side, jsonb_object_agg(bucket, reads) as histogram from
            (select collection, side, key as bucket, sum(value::bigint) as reads from recent, jsonb_each_text(histogram) group by 1, 2, 3) one group by 1, 2)
     select l.collection, l.side,
            coalesce(r.reads, 0)::float8 as reads, coalesce(r.errors, 0)::float8 as errors, coalesce(r.latency_ms, 0) as latency_ms,
            coalesce(b.histogram, '{}') as histogram, coalesce(r.writes, 0)::float8 as writes, coalesce(r.write_errors, 0)::float8 as write_errors,
            coalesce(r.shadow, '{}') as shadow, l.ratios, l.noise
     from (select collection, side, jsonb_build_object(${summed(`shadow->'ratios'`, logKeys)}) as ratios,
             jsonb_build_object(${summed(`shadow->'noise'`, logKeys)}) as noise from longer group by 1, 2) l
     left join (select collection, side, sum(reads) as reads, sum(errors) as errors, sum(latency_ms) as latency_ms, sum(writes) as writes,
             sum(write_errors) as write_errors, jsonb_build_object(${summed('shadow', shadowKeys)}) as shadow from recent group by 1, 2) r using (collection, side)
     left join buckets b using (collection, side)`,
    [seconds],
  );
}

/** Reports older than an hour have served. */
export async function pruneTraffic(on: pg.Pool | pg.ClientBase): Promise<void> {
  await query(
    on,
    'forgetting old traffic',
    `delete from migration_control.traffic_samples where received_at < clock_timestamp() - interval '1 hour'`,
  );
}

/** The time up to which every change stands on the other side, in whichever direction changes go, ms; undefined without change capture. */
export async function capturedUntil(on: pg.Pool | pg.ClientBase): Promise<number | undefined> {
  const [row] = await query<{ until: Date | null }>(
    on,
    'reading the position of capture',
    `select least((select min(first_wall) from migration_control.captured), (select min(at) from migration_control.outbox),
              (select coalesce(seen_at, to_timestamp((version >> 32)::float8)) from migration_control.capture_stream)) as until`,
  );
  return row?.until?.getTime();
}
