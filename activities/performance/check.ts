// performance_validation: the queries a mapping declares are answered in time by the new system, and the indexes it declares stand.
import type { PerformanceSettings } from '../../core/settings.ts';
import { sentenceOf, worstOf, type CheckStatus } from '../checks/outcome.ts';
import { mappingOf, type Resources } from '../resources.ts';
import type { CheckResult, ValidationOrder } from '../validate.ts';
import { Asker } from './ask.ts';
import { lostIndexes } from './diagnose.ts';
import { probesOf } from './probes.ts';
import { testQuery } from './query-test.ts';

/** A look, not a load test: few questions, one after another. */
const effort = { most: 15, fewest: 5, warmUp: 1, budgetMs: 300 };
const questions = 20;

export async function checkPerformance(
  resources: Resources,
  order: ValidationOrder,
  settings: PerformanceSettings,
  heartbeat: () => void,
): Promise<CheckResult> {
  const mapping = mappingOf(resources, order.collection);
  const asker = new Asker(resources, 3, settings.timeoutMs);
  try {
    const { declared, lost } = await lostIndexes(asker, mapping);
    const parts: { status: CheckStatus }[] = [];
    for (const probe of await probesOf(resources, mapping, questions, order.transform)) {
      heartbeat();
      if (probe.questions.length === 0)
        parts.push({ query: probe.query.name, status: 'skipped', reason: 'no sampled document asks it' } as never);
      else
        parts.push(
          await testQuery(asker, probe, effort, settings).then(
            ({ result }) => result,
            (error: unknown) => ({ query: probe.query.name, status: 'error' as const, error: sentenceOf(error) }),
          ),
        );
    }
    if (declared === 0 && parts.every((part) => part.status === 'skipped'))
      return {
        status: 'skipped',
        reason: `the mapping ${order.collection} declares no index, and no query that its documents ask`,
      };
    const indexes = { status: lost.length === 0 ? ('passed' as const) : ('failed' as const), declared, missing: lost };
    const status = worstOf(declared === 0 ? parts : [indexes, ...parts]);
    return { status, details: { indexes, queries: parts } };
  } finally {
    await asker.close();
  }
}
