// Business rules and aggregate invariants of a mapping. Each is tried on its own: one that fails or breaks hides no other.
import type { BusinessRule } from '../../mappings/mapping.ts';
import { query } from '../../stores/postgres/connection.ts';
import { mappingOf, type Resources } from '../resources.ts';
import type { CheckResult, ValidationOrder } from '../validate.ts';
import { sentenceOf, worstOf } from './outcome.ts';
import { holdsInvariant } from './invariants.ts';

export async function checkBusinessRules(
  resources: Resources,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<CheckResult> {
  const mapping = mappingOf(resources, order.collection);
  if (mapping.rules.length === 0 && mapping.invariants.length === 0)
    return { status: 'skipped', reason: `the mapping ${order.collection} declares no rule and no invariant` };
  const rules = [];
  for (const rule of mapping.rules) rules.push(await countViolations(resources, rule));
  const invariants = [];
  for (const invariant of mapping.invariants)
    invariants.push(
      await holdsInvariant(resources, mapping, invariant, order, heartbeat).catch((error: unknown) => ({
        invariant: invariant.name,
        status: 'error' as const,
        error: sentenceOf(error),
      })),
    );
  return { status: worstOf([...rules, ...invariants]), details: { rules, invariants } };
}

export async function countViolations(resources: Resources, rule: BusinessRule) {
  try {
    const [row] = await query<{ count: string }>(resources.postgres, `checking rule ${rule.name}`, rule.sql);
    const violations = Number(row!.count);
    return { rule: rule.name, status: violations === 0 ? ('passed' as const) : ('failed' as const), violations };
  } catch (error) {
    return { rule: rule.name, status: 'error' as const, error: sentenceOf(error) };
  }
}
