// What the way back could not bring, or brought over something else: kept, and told by `reverse status`.
import type pg from 'pg';
import { sealLost } from '../../control/conflicts.ts';
import { orNoteAgain } from '../../stores/postgres/redo.ts';
import type { Feed } from '../apply.ts';

/** What a document of the old system has no form for stays in the new one, and is told of. */
export async function noteUnsaid(
  client: pg.ClientBase,
  feed: Feed,
  unsaid: ReadonlyMap<string, readonly string[]>,
): Promise<void> {
  if (unsaid.size === 0) return;
  await client.query('delete from migration_control.reverse_unsaid where collection_id = $1 and source_id = any($2)', [
    feed.collectionId,
    [...unsaid.keys()],
  ]);
  const some = [...unsaid].filter(([, paths]) => paths.length > 0);
  if (some.length > 0)
    await client.query(
      'insert into migration_control.reverse_unsaid (collection_id, source_id, paths) select $1, * from unnest($2::text[], $3::text[])',
      [feed.collectionId, some.map(([id]) => id), some.map(([, paths]) => paths.join(', '))],
    );
}

export interface Conflict {
  readonly id: string;
  readonly kept: 'new' | 'old';
  readonly lost: Uint8Array | undefined;
}

/** Nothing is lost: the side that was not kept stands here. Where the old one was kept, it is brought to the new system. */
export async function keepConflicts(client: pg.ClientBase, feed: Feed, conflicts: readonly Conflict[]): Promise<void> {
  for (const { id, kept, lost } of conflicts)
    await client.query(
      `insert into migration_control.reverse_conflicts (collection, source_collection, source_id, kept, document) values ($1, $2, $3, $4, $5)`,
      [feed.mapping.collection, feed.source, id, kept, lost ? sealLost(feed.source, id, lost) : null],
    );
  const old = conflicts.filter((one) => one.kept === 'old').map((one) => one.id);
  if (old.length > 0)
    await client.query(
      `insert into migration_control.redo (collection_id, source_id, reason) select $1, id, 'late write' from unnest($2::text[]) id order by id ${orNoteAgain}`,
      [feed.collectionId, old],
    );
}
