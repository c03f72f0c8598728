// Phase 1: refuse early, estimate, make the control schema, and rehearse that rollback works here.
import type { Standing } from '../../core/lifecycle.ts';
import type { MigrationInput } from '../contract.ts';
import { introduce } from '../lib/report.ts';
import { control } from '../proxies.ts';

export interface Prepared {
  readonly documents: Record<string, number>;
  readonly estimate: string;
}

export async function preparationPhase(input: MigrationInput, standing: Standing): Promise<Prepared> {
  introduce(input.name, 'preparation', 'Checking sources and targets');
  const checks = await control.preflight(input.name, input.settings, input.until);
  introduce(
    input.name,
    'preparation',
    [
      '| check | | |',
      '|---|---|---|',
      ...checks.map((check) => `| ${check.name} | ${check.status} | ${check.detail} |`),
    ].join('\n'),
  );
  const estimate = await control.estimateVolume(input.settings);
  await control.prepareControl(input.name, standing);
  await control.rehearseRollback();
  const { total_documents, recommended_window } = estimate;
  return {
    documents: estimate.documents,
    estimate: `${total_documents} documents, at the strategy's speed a window of ${recommended_window}`,
  };
}
