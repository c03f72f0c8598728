// What stands beside a document's rows: why it is set aside, references it has not found, unique values it lost. Replaced with its version.
import type { ApplyOptions, Before, Images } from './apply.ts';
import { errorColumns, unresolvedColumns } from './ledger.ts';

/** Statements: a newer version leaves quarantine by itself, or enters it with its own reason; what it refers to is noted anew. */
export function* notesStatements(images: Images, options: ApplyOptions, before: Before): Generator<string> {
  const again = options.origin === 'quarantine retry';
  if (before.quarantined > 0) {
    if (again && images.errors) yield updateErrors();
    yield `update migration_control.migration_errors e set resolved_at = clock_timestamp(),
         resolution = case when s.deleted then 'deleted' when s.state = 'l' then 'loaded' when s.state = 's' then 'skipped' else 'replaced' end
       from fresh join stage_ledger s using (source_id), migration_control.collections c
       where fresh.old_state = 'q' and c.id = ${images.collectionId} and e.collection = c.mapping and e.source_collection = c.source and e.source_id = fresh.source_id
         and e.resolved_at is null${again ? ` and s.state <> 'q'` : ''}`;
  }
  if (images.errors) {
    const columns = (of: string) => errorColumns.map((column) => `${of}${column}`).join(', ');
    const there = `exists (select 1 from migration_control.migration_errors m where ${sameDocument('m', 'e')} and m.resolved_at is null)`;
    yield `insert into migration_control.migration_errors (${columns('')}) select ${columns('e.')} from stage_errors e join fresh using (source_id)
       ${again ? `where not ${there}` : ''}`;
  }
  if (before.known > 0)
    yield `delete from migration_control.unresolved u using fresh where u.collection_id = ${images.collectionId} and u.source_id = fresh.source_id`;
  if (images.unresolved)
    yield `insert into migration_control.unresolved (${unresolvedColumns.join(', ')}) select distinct ${unresolvedColumns.map((column) => `u.${column}`).join(', ')} from stage_unresolved u join fresh using (source_id)`;
  // The copy does not settle anew who has lost; but what it loads has not, though somebody may have set it aside since the copy asked.
  if (images.siblings.length > 1 || images.tables.some(({ target }) => target.unique))
    yield `delete from migration_control.elections e using fresh join stage_ledger s using (source_id)
       where e.collection_id = ${images.collectionId} and e.source_id = fresh.source_id${options.forgetElections ? '' : ` and s.state = 'l'`}`;
}

const sameDocument = (a: string, b: string): string =>
  ['collection', 'source_collection', 'source_id'].map((column) => `${a}.${column} = ${b}.${column}`).join(' and ');

/** Documents that have failed again: when and why they were set aside first stays with them, the reason is today's. */
function updateErrors(): string {
  const set = errorColumns.slice(3).map((column) => `${column} = s.${column}`);
  return `update migration_control.migration_errors e set ${set.join(', ')}, attempts = e.attempts + 1, tried_at = clock_timestamp()
     from stage_errors s join fresh using (source_id) where ${sameDocument('e', 's')} and e.resolved_at is null`;
}
