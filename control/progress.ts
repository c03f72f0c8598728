// Progress as the target's own rows tell it: what the batches loaded, live, whatever the workflow has heard of.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';

export interface CollectionRows {
  readonly collection: string;
  readonly documents: number;
  readonly loaded: number;
  readonly quarantined: number;
  readonly skipped: number;
  readonly bytes: number;
  readonly batches: number;
  /** Seconds from the first batch's start to the last one's end. */
  readonly seconds: number;
}

/** Sums of migration_batches; none where the control schema is not there. */
export async function progressOf(pool: pg.Pool): Promise<CollectionRows[]> {
  const [there] = await query<{ there: boolean }>(
    pool,
    'looking for batches',
    `select to_regclass('migration_control.migration_batches') is not null as there`,
  );
  if (!there!.there) return [];
  const rows = await query<Record<Exclude<keyof CollectionRows, 'collection'>, string> & { collection: string }>(
    pool,
    'reading batches',
    `select collection, sum(documents) as documents, sum(loaded) as loaded, sum(quarantined) as quarantined, sum(skipped) as skipped, sum(bytes) as bytes,
            count(*) as batches, extract(epoch from max(finished_at) - min(started_at)) as seconds
     from migration_control.migration_batches group by collection order by collection`,
  );
  return rows.map(({ collection, ...numbers }) => ({
    collection,
    ...(Object.fromEntries(Object.entries(numbers).map(([key, value]) => [key, Number(value)])) as Record<
      Exclude<keyof CollectionRows, 'collection'>,
      number
    >),
  }));
}
