// Segments as the batches of the control schema tell of them.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';

/**
 * Of these segments (`<collection>/<source>/<chunk>/<segment>-<hash>`) those that a copy may still ask for: their chunk is planned, and no
 * batch of their number has been loaded. None where there is no control schema.
 */
export async function awaitedSegments(pool: pg.Pool, paths: readonly string[]): Promise<ReadonlySet<string>> {
  if (paths.length === 0) return new Set();
  const [there] = await query<{ there: boolean }>(
    pool,
    'looking for batches',
    `select to_regclass('migration_control.migration_batches') is not null as there`,
  );
  if (!there!.there) return new Set();
  const rows = await query<{ path: string }>(
    pool,
    'looking which segments have been loaded',
    `select s.path from unnest($1::text[]) s(path)
     cross join lateral (select substring(s.path from '^(.*)/[0-9]+/[0-9]+-[0-9a-f]+$') as collection,
       substring(s.path from '/([0-9]+)/[0-9]+-[0-9a-f]+$')::int as chunk, substring(s.path from '/([0-9]+)-[0-9a-f]+$')::int as segment) n
     join migration_control.collections c on c.mapping || '/' || c.source = n.collection
     join migration_control.chunks k on k.collection_id = c.id and k.chunk = n.chunk
     where not exists (select 1 from migration_control.migration_batches b
       where b.collection_id = c.id and b.chunk = n.chunk and b.segment = n.segment)`,
    [paths],
  );
  return new Set(rows.map((row) => row.path));
}
