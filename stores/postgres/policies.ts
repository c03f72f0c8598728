// TimescaleDB's policies on the tables of this migration: whether they run, and what retention would drop. Their state is the server's own.
import type pg from 'pg';
import { name } from './connection.ts';
import { hasExtension } from './timescale.ts';

export type PolicyKind = 'refresh' | 'compression' | 'retention';

export interface Policy {
  readonly job: number;
  readonly kind: PolicyKind;
  /** The table, or the aggregate. */
  readonly of: string;
  readonly armed: boolean;
  /** Retention: how old a row may be. */
  readonly keeps: string | null;
}

const kinds: Readonly<Record<string, PolicyKind>> = {
  policy_refresh_continuous_aggregate: 'refresh',
  policy_compression: 'compression',
  policy_retention: 'retention',
};

/** Refresh first: what retention drops is in the aggregates by then. undefined: no TimescaleDB in this database. */
export async function policiesOf(on: pg.Pool | pg.ClientBase): Promise<Policy[] | undefined> {
  if (!(await hasExtension(on))) return undefined;
  const { rows } = await on.query<{
    job_id: number;
    proc_name: string;
    table: string;
    scheduled: boolean;
    keeps: string | null;
  }>(
    `select j.job_id, j.proc_name, j.hypertable_name as table, j.scheduled, j.config ->> 'drop_after' as keeps
     from timescaledb_information.jobs j
     join migration_control.created_objects o on o.store = 'postgres' and o.name = j.hypertable_name and o.kind in ('table', 'continuous aggregate')
     where j.hypertable_schema = 'public' and j.proc_name = any($1)
     order by array_position($1, j.proc_name::text), j.hypertable_name`,
    [Object.keys(kinds)],
  );
  return rows.map((row) => ({
    job: row.job_id,
    kind: kinds[row.proc_name]!,
    of: row.table,
    armed: row.scheduled,
    keeps: row.keeps,
  }));
}

/** Rows that are older than what retention keeps. */
export async function olderRows(on: pg.Pool | pg.ClientBase, { of, keeps }: Policy): Promise<number> {
  const { rows: dimensions } = await on.query<{ column: string }>(
    `select column_name as column from timescaledb_information.dimensions
     where hypertable_schema = 'public' and hypertable_name = $1 and dimension_number = 1`,
    [of],
  );
  const { rows } = await on.query<{ older: string }>(
    `select count(*) as older from ${name(of)} where ${name(dimensions[0]!.column)} < now() - $1::interval`,
    [keeps],
  );
  return Number(rows[0]!.older);
}

export const setArmed = async (on: pg.Pool | pg.ClientBase, policy: Policy, armed: boolean): Promise<void> =>
  void (await on.query('select alter_job($1, scheduled => $2)', [policy.job, armed]));

/** A policy refreshes only the last days: all that is older is computed once. Not in a transaction. */
export const refreshAll = async (on: pg.Pool | pg.ClientBase, aggregate: string): Promise<void> =>
  void (await on.query('call refresh_continuous_aggregate($1::regclass, null, null)', [name(aggregate)]));

/** The old system counts again: nothing is dropped from the new one, nor locked while changes are brought to it. */
export async function disarmPolicies(client: pg.ClientBase): Promise<string[]> {
  const armed = ((await policiesOf(client)) ?? []).filter((policy) => policy.armed);
  for (const policy of armed) await setArmed(client, policy, false);
  return armed.map(policyName);
}

export const policyName = ({ kind, of }: Policy): string => `${kind} of ${of}`;

/** For people; undefined where there is nothing to say. */
export function unarmedText(policies: readonly Policy[] | undefined): string | undefined {
  const idle = (policies ?? []).filter((policy) => !policy.armed);
  if (idle.length === 0) return undefined;
  return `TimescaleDB's policies are not armed: ${idle.map(policyName).join(', ')}. They are when the last stage of the write cutover has passed, or by \`causeway timescale arm\`, which says why one is not.`;
}
