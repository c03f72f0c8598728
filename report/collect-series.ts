// What charts are drawn from, thinned by PostgreSQL: the copy's progress, and where change capture stands with its lag.
import type { Reader } from './collect.ts';

/** Points of a chart: more are not told apart. */
export const slots = 200;

export interface CopySlot {
  readonly collection: string;
  readonly at: Date;
  readonly documents: number;
}

/** Documents per collection and slot of time, oldest first. */
export const readCopySeries = ({ rows }: Reader): Promise<CopySlot[]> =>
  rows<CopySlot>(
    ['migration_batches'],
    'reading the progress of the copy',
    `with span as (select min(finished_at) as a, greatest(extract(epoch from max(finished_at) - min(finished_at)) / ${slots}, 0.001) as w
                   from migration_control.migration_batches)
     select collection, max(finished_at) as at, sum(documents)::float8 as documents
     from migration_control.migration_batches, span group by collection, floor(extract(epoch from finished_at - a) / w) order by 2`,
  );

export interface LagSlot {
  readonly at: Date;
  readonly p50: number;
  readonly most: number;
  readonly events: number;
}

export interface CaptureRead {
  readonly opened: string;
  readonly position: string;
  readonly lanes: number;
  readonly events: number;
  readonly documents: number;
  readonly stale: number;
  readonly pending: number;
  readonly redo: number;
  readonly p50: number | null;
  readonly p99: number | null;
  readonly most: number | null;
  readonly batches: number;
  readonly first: Date | null;
  readonly last: Date | null;
  readonly gaps: readonly {
    readonly kind: string;
    readonly collection: string | null;
    readonly detail: string;
    readonly opened_at: Date;
    readonly closed_at: Date | null;
  }[];
  readonly lag: readonly LagSlot[];
}

/** undefined: capture has not been opened, or was undone. */
export async function readCapture({ rows }: Reader): Promise<CaptureRead | undefined> {
  const [row] = await rows<Omit<CaptureRead, 'gaps' | 'lag'>>(
    ['capture_stream', 'capture_position', 'captured', 'redo', 'capture_lag'],
    'reading the state of capture',
    `select opened_version::text as opened, coalesce((select min(first_version) - 1 from migration_control.captured), version)::text as position, lanes,
       p.*, (select coalesce(sum(events), 0)::float8 from migration_control.captured) as pending,
       (select count(*)::float8 from migration_control.redo) as redo, l.*
     from migration_control.capture_stream,
       (select coalesce(sum(events), 0)::float8 as events, coalesce(sum(documents), 0)::float8 as documents, coalesce(sum(stale), 0)::float8 as stale
        from migration_control.capture_position) p,
       (select percentile_cont(0.5) within group (order by lag_ms) as p50, percentile_cont(0.99) within group (order by lag_ms) as p99,
          max(lag_ms)::float8 as most, count(*)::float8 as batches, min(at) as first, max(at) as last from migration_control.capture_lag) l`,
  );
  if (!row) return undefined;
  const gaps = await rows<CaptureRead['gaps'][number]>(
    ['capture_gaps'],
    'reading gaps',
    'select kind, collection, detail, opened_at, closed_at from migration_control.capture_gaps order by id desc limit 100',
  );
  const lag = await rows<LagSlot>(
    ['capture_lag'],
    'reading the lag of capture',
    `with span as (select min(at) as a, greatest(extract(epoch from max(at) - min(at)) / ${slots}, 0.001) as w from migration_control.capture_lag)
     select max(at) as at, percentile_cont(0.5) within group (order by lag_ms) as p50, max(lag_ms)::float8 as most, sum(events)::float8 as events
     from migration_control.capture_lag, span group by floor(extract(epoch from at - a) / w) order by 1`,
  );
  return { ...row, gaps, lag };
}
