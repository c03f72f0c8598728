// Validation of what was copied: every collection's checks run, however the others end, and the results are stored.
import { setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { CheckName } from '../../core/checks.ts';
import type { Settings } from '../../core/settings.ts';
import { failure } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { long } from '../proxies.ts';

export interface ValidationSummary {
  readonly collection: string;
  readonly overall_status: 'passed' | 'failed' | 'partial';
  readonly failed: readonly string[];
  /** As far as a check says it in a sentence. */
  readonly why: readonly string[];
}

/**
 * Throws ValidationFailed, naming collections and checks, when a check that applies did not pass. `checks`: all otherwise. The activity is
 * the one it always was; what it checks more came with its arguments.
 */
export async function validation(
  migration: string,
  collections: readonly string[],
  settings: Settings,
  checks?: readonly CheckName[],
): Promise<ValidationSummary[]> {
  introduce(migration, 'data', `Validating ${collections.join(', ')}`);
  const summaries: ValidationSummary[] = [];
  const { zone, providers, sampleRate, sampleMinimum, sampleMaximum, quarantineBudget, performance } = settings;
  for (const collection of collections) {
    const result = await long.validateCollection.executeWithOptions({ summary: collection }, [
      {
        collection,
        batchId: `${workflowInfo().workflowId}/${workflowInfo().runId}/${collection}`,
        settings: { sampleRate, sampleMinimum, sampleMaximum, quarantineBudget, performance },
        transform: { zone, providers },
        ...(checks && { checks }),
      },
    ]);
    const failed = Object.entries(result.individual_results)
      .filter(([, check]) => check.status !== 'passed' && check.status !== 'skipped')
      .map(([check]) => check);
    const why = Object.values(result.individual_results).flatMap((check) => check.why ?? []);
    summaries.push({ collection, overall_status: result.overall_status, failed, why });
    setCurrentDetails(story(summaries, collections.length));
  }
  const bad = summaries.filter((summary) => summary.overall_status === 'failed');
  if (bad.length > 0)
    throw failure({
      type: 'ValidationFailed',
      message: [`Validation failed: ${bad.map(nameOf).join('; ')}.`, ...bad.flatMap((one) => one.why)].join(' '),
    });
  return summaries;
}

const nameOf = ({ collection, failed }: ValidationSummary): string => `${collection} (${failed.join(', ')})`;

const story = (done: readonly ValidationSummary[], all: number): string =>
  [
    `## Validation: ${done.length} of ${all} collections`,
    '',
    '| collection | result | checks that did not pass |',
    '|---|---|---|',
    ...done.map((one) => `| ${one.collection} | ${one.overall_status} | ${one.failed.join(', ')} |`),
  ].join('\n');
