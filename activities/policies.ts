// Arms TimescaleDB's policies once the new system is the one that counts: what deletes nothing always, retention only where it would drop nothing now.
import { takeRoutes } from '../control/routing.ts';
import { inTransaction, postgresFailure } from '../stores/postgres/connection.ts';
import { olderRows, policiesOf, policyName, refreshAll, setArmed, type Policy } from '../stores/postgres/policies.ts';
import type { Resources } from './resources.ts';

export interface ArmOrder {
  /** Retention too where rows are older than it keeps: they are dropped. */
  readonly dropOlder: boolean;
}

export interface Armed {
  /** undefined: the database has no TimescaleDB, or no table of ours has policies. */
  readonly armed: readonly string[] | undefined;
  /** What is not, and why. */
  readonly left: readonly { readonly policy: string; readonly why: string }[];
}

const patienceMs = 5000;

/** Safe to repeat. */
export async function armPolicies({ postgres }: Pick<Resources, 'postgres'>, order: ArmOrder): Promise<Armed> {
  const policies = await policiesOf(postgres).catch((error: unknown) => {
    throw postgresFailure(error, "reading TimescaleDB's policies");
  });
  if (!policies || policies.length === 0) return { armed: undefined, left: [] };
  if (!(await moved(postgres))) return notMoved(policies);
  for (const { kind, of, armed } of policies)
    if (kind === 'refresh' && !armed)
      await refreshAll(postgres, of).catch((error: unknown) => {
        throw postgresFailure(error, `refreshing ${of}`);
      });
  return inTransaction(postgres, "arming TimescaleDB's policies", async (client) => {
    // Nobody takes the writes back meanwhile.
    await takeRoutes(client, { patienceMs, as: 'StoreBusy' });
    if (!(await moved(client))) return notMoved(policies);
    const armed: string[] = [];
    const left: { policy: string; why: string }[] = [];
    for (const policy of policies) {
      const older =
        policy.kind === 'retention' && !policy.armed && !order.dropOlder ? await olderRows(client, policy) : 0;
      if (older > 0) {
        left.push({ policy: policyName(policy), why: olderMessage(policy, older) });
        continue;
      }
      if (!policy.armed) await setArmed(client, policy, true);
      armed.push(policyName(policy));
    }
    await client.query(`insert into migration_control.audit_log (action, detail) values ('policies armed', $1)`, [
      JSON.stringify({ armed, left, dropOlder: order.dropOlder }),
    ]);
    return { armed, left };
  });
}

const olderMessage = ({ of, keeps }: Policy, older: number): string =>
  `${older} rows of ${of} are older than ${keeps}, which it would drop, and every comparison with the old system would miss. \`causeway timescale arm --drop-older\` lets it; or give the table a longer one: select alter_job(job_id, config => …) with another drop_after.`;

const notMoved = (policies: readonly Policy[]): Armed => ({
  armed: policies.filter((policy) => policy.armed).map(policyName),
  left: policies
    .filter((policy) => !policy.armed)
    .map((policy) => ({
      policy: policyName(policy),
      why: 'writes are not with the new system for every collection: until then nothing of it may be dropped or locked.',
    })),
});

async function moved(on: Parameters<typeof policiesOf>[0]): Promise<boolean> {
  const { rows } = await on.query<{ moved: boolean }>(
    `select coalesce(bool_and(write_mode = 'new_system'), false) as moved from migration_control.routing`,
  );
  return rows[0]!.moved;
}
