// What stands beside a document's rows: why it is set aside, references it has not found, unique values it lost. Replaced with its version.
import type pg from 'pg';
import type { ApplyOptions, Before, Images } from './apply.ts';
import { errorColumns, unresolvedColumns } from './ledger.ts';

/** A newer version leaves quarantine by itself, or enters it with its own reason; what it refers to is noted anew. */
export async function replaceNotes(
  client: pg.ClientBase,
  images: Images,
  options: ApplyOptions,
  before: Before,
): Promise<void> {
  const again = options.origin === 'quarantine retry';
  if (before.quarantined > 0) {
    if (again && images.errors) await updateErrors(client);
    await client.query(
      `update migration_control.migration_errors e set resolved_at = clock_timestamp(),
         resolution = case when s.deleted then 'deleted' when s.state = 'l' then 'loaded' when s.state = 's' then 'skipped' else 'replaced' end
       from fresh join stage_ledger s using (source_id), migration_control.collections c
       where fresh.old_state = 'q' and c.id = $1 and e.collection = c.mapping and e.source_collection = c.source and e.source_id = fresh.source_id
         and e.resolved_at is null${again ? ` and s.state <> 'q'` : ''}`,
      [images.collectionId],
    );
  }
  if (images.errors) {
    const columns = (of: string) => errorColumns.map((column) => `${of}${column}`).join(', ');
    const there = `exists (select 1 from migration_control.migration_errors m where ${sameDocument('m', 'e')} and m.resolved_at is null)`;
    await client.query(
      `insert into migration_control.migration_errors (${columns('')}) select ${columns('e.')} from stage_errors e join fresh using (source_id)
       ${again ? `where not ${there}` : ''}`,
    );
  }
  if (before.known > 0)
    await client.query(
      `delete from migration_control.unresolved u using fresh where u.collection_id = $1 and u.source_id = fresh.source_id`,
      [images.collectionId],
    );
  if (images.unresolved)
    await client.query(
      `insert into migration_control.unresolved (${unresolvedColumns.join(', ')}) select distinct ${unresolvedColumns.map((column) => `u.${column}`).join(', ')} from stage_unresolved u join fresh using (source_id)`,
    );
  if (options.forgetElections && (images.siblings.length > 1 || images.tables.some(({ target }) => target.unique)))
    await client.query(
      `delete from migration_control.elections e using fresh where e.collection_id = $1 and e.source_id = fresh.source_id`,
      [images.collectionId],
    );
}

const sameDocument = (a: string, b: string): string =>
  ['collection', 'source_collection', 'source_id'].map((column) => `${a}.${column} = ${b}.${column}`).join(' and ');

/** Documents that have failed again: when and why they were set aside first stays with them, the reason is today's. */
async function updateErrors(client: pg.ClientBase): Promise<void> {
  const set = errorColumns.slice(3).map((column) => `${column} = s.${column}`);
  await client.query(
    `update migration_control.migration_errors e set ${set.join(', ')}, attempts = e.attempts + 1, tried_at = clock_timestamp()
     from stage_errors s join fresh using (source_id) where ${sameDocument('e', 's')} and e.resolved_at is null`,
  );
}
