// Unique values that two documents claim at the same time: the one that has it keeps it, the other waits.
import type pg from 'pg';
import type { Images, Stage } from './apply.ts';
import { inOneTrip, name } from './connection.ts';
import { orNoteAgain } from './redo.ts';

/** `set`: position in the target's `unique`, which is also that of the mapping's unique rule; -1 where a sibling collection has the same id. */
export interface Clash {
  readonly id: string;
  readonly set: number;
  /** Who has the value. */
  readonly winner: { readonly id: string; readonly source: string | null };
}

/** Unique values change hands between documents of different lanes, in any order. */
export const sameIdSet = -1;

/**
 * Takes documents that clash out of `fresh`, notes them in `redo`, and returns them: each stays as it was until it is read again. One that is
 * taken out keeps the values it has, so another that counted on them may clash in turn: repeated until nobody does.
 */
export async function clashesOf(client: pg.ClientBase, images: Images, stages: readonly Stage[]): Promise<Clash[]> {
  const statements = [...siblingStatement(images), ...stages.flatMap((one) => [...uniqueStatements(one)])];
  if (statements.length === 0) return [];
  const look = async () =>
    (await inOneTrip(client, statements)).reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
  if ((await look()) === 0) return [];
  do await client.query('delete from fresh f using clash c where c.source_id = f.source_id');
  while ((await look()) > 0);
  const { rows } = await client.query<{ source_id: string; unique_set: number; id: string; source: string | null }>(
    'select source_id, unique_set, min(winner) as id, min(winner_source) as source from clash group by 1, 2 order by 1',
  );
  await client.query(
    `insert into migration_control.redo (collection_id, source_id, reason, due_at)
     select $1, source_id, 'clash', clock_timestamp() + interval '200 ms' from (select distinct source_id from clash) noted order by source_id ${orNoteAgain}`,
    [images.collectionId],
  );
  return rows.map(({ source_id, unique_set, id, source }) => ({
    id: source_id,
    set: unique_set,
    winner: { id, source },
  }));
}

function* siblingStatement({ collectionId, siblings }: Images): Generator<string> {
  const others = siblings.filter((id) => id !== collectionId);
  if (others.length > 0)
    yield `insert into clash select f.source_id, ${sameIdSet}, l.source_id, (select source from migration_control.collections c where c.id = l.collection_id)
      from fresh f join stage_ledger s using (source_id) join migration_control.ledger l on l.source_id = f.source_id and l.collection_id in (${others.join(', ')})
      where s.state = 'l' and not s.deleted and l.state = 'l' and not l.deleted`;
}

function* uniqueStatements({ target, stage }: Stage): Generator<string> {
  for (const [set, columns] of (target.unique ?? []).entries()) {
    const of = (alias: string) => `(${columns.map((column) => `${alias}.${name(column)}`).join(', ')})`;
    // A holder that is of this batch and leaves the value is no obstacle: it is laid down before anything is written.
    yield `insert into clash select s.source_id, ${set}, t.source_id, null from ${stage} s join fresh using (source_id)
      join ${name(target.name)} t on ${of('t')} = ${of('s')} and t.source_id <> s.source_id
      left join fresh g on g.source_id = t.source_id left join ${stage} h on h.source_id = t.source_id
      where g.source_id is null or ${of('h')} = ${of('s')}`;
    yield `insert into clash select source_id, ${set}, winner, null from (
        select s.source_id, row_number() over same as nth, first_value(s.source_id) over same as winner
        from ${stage} s join fresh using (source_id) left join ${name(target.name)} t on t.source_id = s.source_id and ${of('t')} = ${of('s')}
        where ${columns.map((column) => `s.${name(column)} is not null`).join(' and ')}
          and not exists (select 1 from clash where clash.source_id = s.source_id)
        window same as (partition by ${columns.map((column) => `s.${name(column)}`).join(', ')} order by t.source_id is null, s.source_id)) claims where nth > 1`;
  }
}
