// The same `_id` in several source collections of a mapping: who is about to load it, and which ledger row says so.
import type pg from 'pg';
import { KnownFailure } from '../../core/failures.ts';
import type { Images } from './apply.ts';

/**
 * Locks what the other source collections have under these ids, to the end of the transaction. A row that is not there is made first, older than any version:
 * whoever is about to load the document waits at it, also a copy, which otherwise loads without a look. Throws StoreBusy where one has been loaded
 * meanwhile: tried again, it is seen.
 */
export async function lockSiblings(
  client: pg.ClientBase,
  { collectionId, siblings, mappingVersion }: Pick<Images, 'collectionId' | 'siblings'> & { mappingVersion: number },
  ids: readonly string[],
): Promise<void> {
  const others = siblings.filter((one) => one !== collectionId);
  const given = [others, [...ids].sort()];
  await client.query(
    `insert into migration_control.ledger (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest)
     select c, id, 0, 0, true, 's', $3, 0 from unnest($1::smallint[]) c, unnest($2::text[]) id order by c, id on conflict do nothing`,
    [...given, mappingVersion],
  );
  const { rows } = await client.query<{ loaded: boolean }>(
    `select state = 'l' and not deleted as loaded from migration_control.ledger
     where collection_id = any($1) and source_id = any($2) order by collection_id, source_id for update`,
    given,
  );
  const loaded = rows.filter((row) => row.loaded).length;
  if (loaded > 0)
    throw new KnownFailure(
      'StoreBusy',
      `${loaded} documents have an _id that is being loaded from another source collection of their mapping; they are looked at again.`,
    );
}
