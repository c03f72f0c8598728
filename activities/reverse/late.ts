// Changes of the old system that came after its writes had moved: by somebody whom the fence did not reach. Nothing of them is lost.
import type pg from 'pg';
import { name } from '../../stores/postgres/connection.ts';
import type { Change, Feed } from '../apply.ts';

/**
 * Our own writes back come through the change stream too: the ledger holds a time that includes them, so they are no news. Everything newer is
 * noted; on the way back those documents are read again.
 */
export async function noteLateWrites(client: pg.ClientBase, feed: Feed, changes: readonly Change[]): Promise<void> {
  const ids = [...new Set(changes.map((change) => change.id))].sort();
  const partition = `migration_control.${name(`ledger_${feed.collectionId}`)}`;
  // A document that is just being written back has a row in a transaction that has not ended: this waits for it.
  await client.query(
    `insert into ${partition} (collection_id, source_id, version, op_index, deleted, state, mapping_version, source_digest)
     select $1, id, 0, 0, true, 's', $3, 0 from unnest($2::text[]) id order by id on conflict do nothing`,
    [feed.collectionId, ids, feed.mapping.version],
  );
  await client.query(`select 1 from ${partition} where source_id = any($1) order by source_id for share`, [ids]);
  await client.query(
    `insert into migration_control.late_writes as w (collection_id, source_id, version, op_index, deleted)
     select distinct on (s.source_id) $1::smallint, s.source_id, s.version, s.op_index, s.deleted
     from unnest($2::text[], $3::bigint[], $4::integer[], $5::boolean[]) s(source_id, version, op_index, deleted)
     join ${partition} l on l.source_id = s.source_id
     where (l.version, l.op_index) < (s.version, s.op_index) order by s.source_id, s.version desc, s.op_index desc
     on conflict (collection_id, source_id) do update set version = excluded.version, op_index = excluded.op_index, deleted = excluded.deleted
     where (w.version, w.op_index) < (excluded.version, excluded.op_index)`,
    [
      feed.collectionId,
      changes.map((change) => change.id),
      changes.map((change) => change.version.time.toString()),
      changes.map((change) => change.version.op),
      changes.map((change) => change.bytes === undefined),
    ],
  );
}
