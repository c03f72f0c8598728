// causeway reverse: what the new system has changed and the old one does not have yet, or did not take; conflicts; writes that came to the old one too late.
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { hasTable } from '../../control/checkpoints.ts';
import {
  acceptSetAside,
  bringingBack,
  readReverse,
  retrySetAside,
  reverseStatus,
  setAsideOf,
  wholeDocument,
} from '../../control/reverse.ts';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { count, print, printJson, table } from '../output.ts';
import { conflict } from './conflict.ts';
import { common } from './orders.ts';

type Pool = ReturnType<typeof openPool>;

interface Row {
  readonly what: string;
  readonly collection: string;
  readonly source_id: string;
  readonly at: Date;
}

export const reverse = (): Command =>
  new Command('reverse')
    .description('the way back: changes of the new system on their way to the old one')
    .addCommand(
      common(new Command('status').description('what waits, what was set aside, conflicts, late writes')).action(
        (options: { json?: boolean }) => withPool((pool) => status(pool, options)),
      ),
    )
    .addCommand(
      common(new Command('retry').description('try changes again that the old system did not take')).action(
        (options: { json?: boolean }) => withPool((pool) => retry(pool, options)),
      ),
    )
    .addCommand(conflict(withPool))
    .addCommand(
      common(
        new Command('accept').description(
          'leave what was set aside in the new system; a rollback then ends without it',
        ),
      )
        .requiredOption('--reason <text>', 'why, for the audit log')
        .option('--collection <name>', 'only of this collection')
        .action((options: { json?: boolean; reason: string; collection?: string }) =>
          withPool(async (pool) => {
            const accepted = await acceptSetAside(pool, options.collection, options.reason);
            if (options.json) printJson({ accepted });
            else
              print(
                `${count(accepted)} changes stay in the new system alone. \`causeway reverse status\` still lists them.`,
              );
          }),
        ),
    );

async function withPool(work: (pool: Pool) => Promise<void>): Promise<void> {
  const { addresses } = await readAddresses();
  const pool = openPool(addresses.postgres, 1);
  try {
    if (!(await hasTable(pool, 'reverse_unsaid'))) throw new UsageError(noWayBack);
    await work(pool);
  } finally {
    await pool.end();
  }
}

const noWayBack = 'There is no way back: it is anchored when writes move to the new system.';

async function status(pool: Pool, options: { json?: boolean }): Promise<void> {
  const its = await reverseStatus(pool);
  const found = await findingsOf(pool);
  if (!its && found.length === 0) throw new UsageError(noWayBack);
  const setAside = totalOf(await setAsideOf(pool));
  if (options.json) return printJson({ ...its, setAside, findings: found });
  if (!its) print('The way back was taken down. What it has left behind, the newest of each kind:');
  else
    print(
      table(
        ['reverse sync', ''],
        [
          ['documents brought back', count(its.documents)],
          ['waiting', `${count(its.waiting)}, the oldest for ${its.lagMs} ms`],
          ['set aside: the old system did not take them', count(setAside)],
          ['conflicts (both sides had changed a document)', count(its.conflicts)],
          ['late writes to the old system', count(its.lateWrites)],
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
}

const totalOf = (aside: readonly { documents: number }[]): number => aside.reduce((sum, one) => sum + one.documents, 0);

const patienceMs = 60_000;

async function retry(pool: Pool, options: { json?: boolean }): Promise<void> {
  if (!(await readReverse(pool))) throw new UsageError(noWayBack);
  const before = totalOf(await setAsideOf(pool));
  if (before > 0) await retrySetAside(pool);
  const isBroughtBack = bringingBack(pool);
  for (const until = Date.now() + patienceMs; !(await isBroughtBack()); await sleep(200))
    if (Date.now() > until)
      throw new Error(
        `The changes are noted, and not all were taken up within ${patienceMs / 1000} s. Check that \`causeway worker\` runs; \`causeway reverse status\` tells what waits.`,
      );
  const left = totalOf(await setAsideOf(pool));
  if (left > 0) process.exitCode = 1;
  if (options.json) return printJson({ tried: before, setAside: left });
  print(`${count(before)} changes were tried again; ${count(left)} are still set aside.`);
}

/** The newest of each, at most 10. */
const findingsOf = (pool: Pool): Promise<Row[]> =>
  query<Row>(
    pool,
    'reading conflicts and late writes',
    `(select 'conflict, kept the ' || kept || ' one' as what, collection, source_id, at from migration_control.reverse_conflicts order by id desc limit 10)
     union all
     (select case when deleted then 'late delete' else 'late write' end, c.mapping, l.source_id, l.seen_at from migration_control.late_writes l
      join migration_control.collections c on c.id = l.collection_id order by seen_at desc limit 10)
     union all
     (select case when u.paths ~ '^(accepted: )?${wholeDocument} ' then 'set aside: ' else 'has no form in the old system: ' end || u.paths, c.mapping, u.source_id, u.at from migration_control.reverse_unsaid u
      join migration_control.collections c on c.id = u.collection_id order by u.at desc limit 10)`,
  );
