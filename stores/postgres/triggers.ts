// Triggers of a table taken out of the way of rows that are put back, and put back as they stood.
import type pg from 'pg';
import { isHypertable } from './timescale.ts';

interface Trigger {
  readonly trigger: string;
  readonly relation: string;
  /** As pg_trigger.tgenabled has it: O fires for everybody's changes, A also for those of a replica. */
  readonly state: 'O' | 'A';
  readonly definition: string;
}

/** A trigger of others (an outbox, an audit) takes a row that is put back for a new one. To be called in a transaction. */
export async function withoutTriggers(client: pg.ClientBase, table: string, work: () => Promise<void>): Promise<void> {
  const triggers = await firing(client, table);
  const hypertable = triggers.length > 0 && (await isHypertable(client, table));
  for (const one of triggers) await client.query(hypertable ? taken(one) : disabled(one));
  await work();
  for (const one of triggers) await client.query(hypertable ? one.definition : enabled(one));
}

/** A hypertable's cannot be disabled. They come back by their definition; one that is disabled there does not exist. */
const taken = ({ trigger, relation }: Trigger): string => `drop trigger ${trigger} on ${relation}`;
const disabled = ({ trigger, relation }: Trigger): string => `alter table ${relation} disable trigger ${trigger}`;
const enabled = ({ trigger, relation, state }: Trigger): string =>
  `alter table ${relation} enable ${state === 'A' ? 'always ' : ''}trigger ${trigger}`;

/** Those that fire, of the table and of its partitions; TimescaleDB's own belong to it and stay. */
async function firing(client: pg.ClientBase, table: string): Promise<Trigger[]> {
  const { rows } = await client.query<Trigger>(
    `select quote_ident(t.tgname) as trigger, t.tgrelid::regclass::text as relation, t.tgenabled as state, pg_get_triggerdef(t.oid) as definition
     from pg_trigger t
     where t.tgrelid in (select $1::regclass::oid union select relid::oid from pg_partition_tree($1::regclass))
       and not t.tgisinternal and t.tgparentid = 0 and t.tgenabled in ('O', 'A')
       and not exists (select from pg_depend d join pg_extension e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass
         where d.classid = 'pg_proc'::regclass and d.objid = t.tgfoid and d.deptype = 'e' and e.extname = 'timescaledb')
     order by t.tgrelid, t.tgname`,
    [table],
  );
  return rows;
}
