// The strategy's validation framework: six checks per collection, each run however the others end, in the strategy's result structure.
import { checkNames, type CheckName } from '../core/checks.ts';
import { KnownFailure, type FailureType } from '../core/failures.ts';
import { performanceSchema, type PerformanceSettings, type Settings } from '../core/settings.ts';
import type { TransformSettings } from '../mappings/settings.ts';
import { openPool, query } from '../stores/postgres/connection.ts';
import { accountFor } from './accounting.ts';
import { sentenceOf, type CheckStatus } from './checks/outcome.ts';
import { checkReferences } from './checks/references.ts';
import { checkBusinessRules } from './checks/rules.ts';
import { checkDataTypes } from './checks/types.ts';
import { checkPerformance } from './performance/check.ts';
import type { Resources } from './resources.ts';
import { compareSample } from './sample.ts';

/** Checks that cannot apply to every mapping. Any other that says it was skipped is an error. */
const mayNotApply: ReadonlySet<CheckName> = new Set([
  'business_rule_validation',
  'referential_integrity',
  'performance_validation',
]);

export interface CheckResult {
  readonly status: CheckStatus;
  readonly details?: unknown;
  readonly error?: string;
  /** Of one that failed, in numbers and names: what is not as it should be. */
  readonly why?: string;
  /** Of a skipped check: why it cannot apply to this mapping. */
  readonly reason?: string;
}

export interface ValidationResult {
  /** `partial`: what was asked for passed, and not everything was asked for. */
  readonly overall_status: 'passed' | 'failed' | 'partial';
  readonly individual_results: Record<string, CheckResult>;
  readonly timestamp: string;
  readonly batch_id: string;
}

export interface ValidationOrder {
  readonly collection: string;
  readonly batchId: string;
  readonly settings: Pick<Settings, 'sampleRate' | 'sampleMinimum' | 'sampleMaximum' | 'quarantineBudget'> & {
    /** Missing in histories of earlier versions. */
    readonly performance?: PerformanceSettings;
  };
  readonly transform: TransformSettings;
  /** All of them otherwise. */
  readonly checks?: readonly CheckName[];
}

/** A store that is away or busy, or capture that is behind, says nothing about the data: the activity is tried again. */
const passing = new Set<FailureType>(['StoreUnreachable', 'StoreBusy', 'DiskFull', 'CaptureGap']);

/** How long a check waits for one lock: what holds it longer is reported, and the other checks go on. */
const lockTimeoutMs = 30_000;

const waitedForLock = (error: KnownFailure): boolean => error.message.includes('lock timeout');

export class MigrationValidationFramework {
  readonly #resources: Resources;
  readonly #order: ValidationOrder;
  readonly #heartbeat: () => void;
  readonly validationRules: Readonly<Record<CheckName, () => Promise<CheckResult>>> = {
    count_validation: () => this.validateRecordCounts(),
    sample_validation: () => this.validateSampleData(),
    business_rule_validation: () => this.validateBusinessRules(),
    referential_integrity: () => this.validateReferentialIntegrity(),
    data_type_validation: () => this.validateDataTypes(),
    performance_validation: () => this.validatePerformance(),
  };

  constructor(resources: Resources, order: ValidationOrder, heartbeat: () => void) {
    this.#resources = resources;
    this.#order = order;
    this.#heartbeat = heartbeat;
  }

  /** Throws only where a store is away or busy, or capture behind: that says nothing about the data, and the activity is tried again. */
  async comprehensiveValidation(): Promise<ValidationResult> {
    const asked = this.#order.checks ?? checkNames;
    const results: Record<string, CheckResult> = {};
    for (const check of asked) {
      this.#heartbeat();
      results[check] = await this.#run(check);
    }
    const good = Object.values(results).every(({ status }) => status === 'passed' || status === 'skipped');
    const whole = checkNames.every((check) => asked.includes(check));
    return {
      overall_status: !good || asked.length === 0 ? 'failed' : whole ? 'passed' : 'partial',
      individual_results: results,
      timestamp: new Date().toISOString(),
      batch_id: this.#order.batchId,
    };
  }

  async #run(check: CheckName): Promise<CheckResult> {
    try {
      const result = await this.validationRules[check]();
      if (result.status !== 'skipped' || mayNotApply.has(check)) return result;
      return { status: 'error', error: `${check} applies to every mapping and cannot be skipped` };
    } catch (error) {
      if (error instanceof KnownFailure && passing.has(error.type) && !waitedForLock(error)) throw error;
      return { status: 'error', error: sentenceOf(error) };
    }
  }

  /** source = loaded + quarantined + skipped, key by key (docs/decisions/0002). */
  validateRecordCounts(): Promise<CheckResult> {
    const { collection, settings } = this.#order;
    return accountFor(this.#resources, collection, settings.quarantineBudget, this.#heartbeat);
  }

  validateSampleData(): Promise<CheckResult> {
    return compareSample(this.#resources, this.#order, this.#heartbeat);
  }

  validateBusinessRules(): Promise<CheckResult> {
    return checkBusinessRules(this.#resources, this.#order, this.#heartbeat);
  }

  validateReferentialIntegrity(): Promise<CheckResult> {
    return checkReferences(this.#resources, this.#order, this.#heartbeat);
  }

  validateDataTypes(): Promise<CheckResult> {
    return checkDataTypes(this.#resources, this.#order, this.#heartbeat);
  }

  validatePerformance(): Promise<CheckResult> {
    const settings = performanceSchema.parse(this.#order.settings.performance ?? {});
    return checkPerformance(this.#resources, this.#order, settings, this.#heartbeat);
  }
}

export interface ValidationVerdict {
  readonly overall_status: ValidationResult['overall_status'];
  readonly individual_results: Record<string, Pick<CheckResult, 'status' | 'why'>>;
}

/** What history keeps: details name documents, and stand in validation_results. */
export const verdictOf = ({ overall_status, individual_results }: ValidationResult): ValidationVerdict => ({
  overall_status,
  individual_results: Object.fromEntries(
    Object.entries(individual_results).map(([check, { status, why }]) => [check, { status, ...(why && { why }) }]),
  ),
});

/** Runs the checks and stores their results. */
export async function validateCollection(
  resources: Resources,
  order: ValidationOrder,
  heartbeat: () => void,
): Promise<ValidationResult> {
  const unknown = order.checks?.filter((check) => !checkNames.includes(check)) ?? [];
  if (unknown.length > 0) throw new KnownFailure('ConfigurationInvalid', `There is no check ${unknown.join(', ')}.`);
  // Connections of its own: none of them waits for a lock for ever.
  const postgres = openPool(resources.addresses.postgres, 4, { lockTimeoutMs });
  try {
    const framework = new MigrationValidationFramework({ ...resources, postgres }, order, heartbeat);
    const result = await framework.comprehensiveValidation();
    await query(
      resources.postgres,
      'storing validation results',
      `insert into migration_control.validation_results (batch_id, collection, overall_status, individual_results, "timestamp") values ($1, $2, $3, $4, $5)`,
      [
        order.batchId,
        order.collection,
        result.overall_status,
        JSON.stringify(result.individual_results),
        result.timestamp,
      ],
    );
    return result;
  } finally {
    await postgres.end();
  }
}
