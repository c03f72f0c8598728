// Results of the every-row verification and of the performance tests, where their tables are there. The only place that knows these tables;
// rows are read as JSON, so that a column that is not there is an absent value.
import type { KindCount, Reader } from './collect.ts';

type Json = Record<string, unknown>;

export interface VerificationRow {
  readonly run: Json;
  readonly findings: readonly KindCount[];
}

export interface Proofs {
  /** Newest first. */
  readonly verifications: readonly VerificationRow[];
  readonly performance: Json | undefined;
}

export async function readProofs({ rows }: Reader): Promise<Proofs> {
  const runs = await rows<{ run: Json }>(
    ['verification_runs'],
    'reading verifications',
    'select to_jsonb(r) as run from migration_control.verification_runs r order by id desc limit 20',
  );
  const findings = await rows<KindCount & { run: string }>(
    ['verification_runs', 'verification_keys'],
    'reading findings of verifications',
    `select run_id::text as run, mapping as collection, concat_ws(', ', kind, state, finding) as kind, count(*)::float8 as documents
     from migration_control.verification_keys where run_id in (select id from migration_control.verification_runs order by id desc limit 20)
     group by 1, 2, 3 order by 1, 2, 3`,
  );
  const [performance] = await rows<{ run: Json }>(
    ['performance_results'],
    'reading performance results',
    `select to_jsonb(p) - 'plans' as run from migration_control.performance_results p order by id desc limit 1`,
  );
  return {
    verifications: runs.map(({ run }) => ({
      run,
      findings: findings.filter((one) => one.run === String(run['id'])),
    })),
    performance: performance?.run,
  };
}
