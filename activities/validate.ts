// Validation after the copy: accounting by key, sample comparison and business rules, in the strategy's result structure.
import { KnownFailure, type FailureType } from '../core/failures.ts';
import type { Settings } from '../core/settings.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { query } from '../stores/postgres/connection.ts';
import { accountFor } from './accounting.ts';
import { mappingOf, type Resources } from './resources.ts';
import { compareSample } from './sample.ts';

export interface CheckResult {
  readonly status: 'passed' | 'failed' | 'error';
  readonly details?: unknown;
  readonly error?: string;
}

export interface ValidationResult {
  readonly overall_status: 'passed' | 'failed';
  readonly individual_results: Record<string, CheckResult>;
  readonly timestamp: string;
  readonly batch_id: string;
}

export interface ValidationOrder {
  readonly collection: string;
  readonly batchId: string;
  readonly settings: Pick<Settings, 'sampleRate' | 'sampleMinimum' | 'sampleMaximum' | 'quarantineBudget'>;
  readonly transform: TransformSettings;
}

const passing = new Set<FailureType>(['StoreUnreachable', 'StoreBusy', 'DiskFull', 'CaptureGap']);

/** Runs every check, however the others end, and stores the result. */
export async function validateCollection(
  resources: Resources,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<ValidationResult> {
  const checks: Record<string, () => Promise<CheckResult>> = {
    count_validation: () => accountFor(resources, order.collection, order.settings.quarantineBudget, heartbeat),
    sample_validation: () => compareSample(resources, order, heartbeat),
    business_rule_validation: () => checkRules(resources, order.collection),
  };
  const results: Record<string, CheckResult> = {};
  for (const [check, run] of Object.entries(checks)) {
    heartbeat();
    results[check] = await run().catch((error: unknown) => {
      // A store that is away or busy, or capture that is behind, says nothing about the data: the activity is tried again.
      if (error instanceof KnownFailure && passing.has(error.type)) throw error;
      return {
        status: 'error' as const,
        error: error instanceof KnownFailure ? error.message : `the check itself failed (${(error as Error).name})`,
      };
    });
  }
  const passed = Object.values(results).every((result) => result.status === 'passed');
  const result: ValidationResult = {
    overall_status: passed ? 'passed' : 'failed',
    individual_results: results,
    timestamp: new Date().toISOString(),
    batch_id: order.batchId,
  };
  await query(
    resources.postgres,
    'storing validation results',
    `insert into migration_control.validation_results (batch_id, collection, overall_status, individual_results, "timestamp") values ($1, $2, $3, $4, $5)`,
    [order.batchId, order.collection, result.overall_status, JSON.stringify(results), result.timestamp],
  );
  return result;
}

async function checkRules(resources: Resources, collection: string): Promise<CheckResult> {
  const details = [];
  for (const rule of mappingOf(resources, collection).rules) {
    const [row] = await query<{ count: string }>(resources.postgres, `checking rule ${rule.name}`, rule.sql);
    details.push({ rule: rule.name, violations: Number(row!.count) });
  }
  return { status: details.every((one) => one.violations === 0) ? 'passed' : 'failed', details };
}
