// causeway decisions: what the migration decided, and why.
import { Command } from 'commander';
import type { DecisionEntry } from '../../core/state.ts';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { hasTable } from '../../control/checkpoints.ts';
import { decisionsQuery, rootId } from '../../workflows/contract.ts';
import { OrderRefused } from '../errors.ts';
import {
  answerBy,
  checkName,
  handleOf,
  readAddresses,
  statusMs,
  withTemporal,
  type TemporalSession,
} from '../connect.ts';
import { runs, statusOfStopped } from '../ended.ts';
import { print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

export const decisions = (): Command =>
  common(
    new Command('decisions').description('what was decided, when and why; the evidence stands in the audit log'),
  ).action((options: { migration: string; json?: boolean }) =>
    withTemporal(async (session) => {
      const name = checkName(options.migration);
      const entries = (await toldBy(session, name)) ?? (await recorded(name));
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

/** undefined: nobody is there to ask, and the audit log is. */
async function toldBy(session: TemporalSession, name: string): Promise<readonly DecisionEntry[] | undefined> {
  if (!(await runs(session, name))) {
    // Throws where neither Temporal nor the database knows of it.
    await statusOfStopped(session, name);
    return undefined;
  }
  const told = await answerBy(session, Date.now() + statusMs, () => handleOf(session, name).query(decisionsQuery));
  if (told) return told;
  process.stderr.write(
    `No worker answers for the migration ${name}; this is what was last written down. Start \`causeway worker\`.\n`,
  );
  process.exitCode = 3;
  return undefined;
}

async function recorded(name: string): Promise<DecisionEntry[]> {
  const { addresses } = await readAddresses();
  const pool = openPool(addresses.postgres, 1);
  try {
    if (!(await hasTable(pool, 'audit_log')))
      throw new OrderRefused(
        `Nothing is recorded any more: what the migration ${name} decided was removed with the control schema when it was undone. Its last page in Temporal's web UI, ${rootId(name)}, tells how it ended.`,
      );
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
