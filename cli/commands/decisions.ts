// causeway decisions: what the migration decided, and why.
import { Command } from 'commander';
import { isOver, type DecisionEntry } from '../../core/state.ts';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { decisionsQuery } from '../../workflows/contract.ts';
import { checkName, handleOf, readAddresses, readStatus, withTemporal } from '../connect.ts';
import { print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

export const decisions = (): Command =>
  common(
    new Command('decisions').description('what was decided, when and why; the evidence stands in the audit log'),
  ).action((options: { migration: string; json?: boolean }) =>
    withTemporal(async (session) => {
      const name = checkName(options.migration);
      const status = await readStatus(session, name);
      const entries = isOver(status.state) ? await recorded() : await handleOf(session, name).query(decisionsQuery);
      if (options.json) return printJson(entries);
      print(
        entries.length === 0
          ? 'Nothing has been decided yet.'
          : table(
              ['when', 'decision', 'why'],
              entries.map((one) => [one.at, one.decision, one.reason]),
            ),
      );
    }),
  );

/** Of a migration that has ended: nobody is there to ask, and the audit log is. */
async function recorded(): Promise<DecisionEntry[]> {
  const { addresses } = await readAddresses();
  const pool = openPool(addresses.postgres, 1);
  try {
    const rows = await query<{ at: Date; detail: { decision: string; reason: string; severity?: string } }>(
      pool,
      'reading the audit log',
      `select at, detail from migration_control.audit_log where action = 'decision' order by id`,
    );
    return rows.map(({ at, detail }) => ({ at: at.toISOString(), ...detail }));
  } finally {
    await pool.end();
  }
}
