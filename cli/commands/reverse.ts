// causeway reverse: what the new system has changed and the old one does not have yet, conflicts, and writes that came to the old one too late.
import { Command } from 'commander';
import { reverseStatus } from '../../control/reverse.ts';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { count, print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

interface Row {
  readonly what: string;
  readonly collection: string;
  readonly source_id: string;
  readonly at: Date;
}

export const reverse = (): Command =>
  new Command('reverse').description('the way back: changes of the new system on their way to the old one').addCommand(
    common(new Command('status').description('what waits, conflicts, late writes')).action(
      async (options: { json?: boolean }) => {
        const { addresses } = await readAddresses();
        const pool = openPool(addresses.postgres, 1);
        try {
          const status = await reverseStatus(pool);
          if (!status) throw new UsageError('There is no way back: it is anchored when writes move to the new system.');
          const found = await findingsOf(pool);
          if (options.json) return printJson({ ...status, findings: found });
          print(
            table(
              ['reverse sync', ''],
              [
                ['documents brought back', count(status.documents)],
                ['waiting', `${count(status.waiting)}, the oldest for ${status.lagMs} ms`],
                ['conflicts (both sides had changed a document)', count(status.conflicts)],
                ['late writes to the old system', count(status.lateWrites)],
              ],
            ),
          );
          if (found.length > 0)
            print(
              table(
                ['what', 'collection', 'document', 'at'],
                found.map((row) => [row.what, row.collection, row.source_id, row.at.toISOString()]),
              ),
            );
        } finally {
          await pool.end();
        }
      },
    ),
  );

/** The newest of each, at most 20. */
const findingsOf = (pool: ReturnType<typeof openPool>): Promise<Row[]> =>
  query<Row>(
    pool,
    'reading conflicts and late writes',
    `(select 'conflict, kept the ' || kept || ' one' as what, collection, source_id, at from migration_control.reverse_conflicts order by id desc limit 10)
     union all
     (select case when deleted then 'late delete' else 'late write' end, c.mapping, l.source_id, l.seen_at from migration_control.late_writes l
      join migration_control.collections c on c.id = l.collection_id order by seen_at desc limit 10)
     union all
     (select 'has no form in the old system: ' || u.paths, c.mapping, u.source_id, u.at from migration_control.reverse_unsaid u
      join migration_control.collections c on c.id = u.collection_id order by u.at desc limit 10)`,
  );
