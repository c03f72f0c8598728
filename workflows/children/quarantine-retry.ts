// Quarantined documents tried again, after a mapping or the policy has changed: counts in, counts out, no document's key in between.
import { setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { RetryReport } from '../../activities/quarantine.ts';
import type { RetryRequest } from '../contract.ts';
import { failure, isCancellation, reasonOf } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { control, long } from '../proxies.ts';

export async function quarantineRetry(migration: string, request: RetryRequest): Promise<RetryReport> {
  const what =
    [request.rule && `rule ${request.rule}`, request.collection].filter(Boolean).join(' of ') || 'everything';
  introduce(migration, 'quarantine', `${request.dryRun ? 'Judging' : 'Trying again'}: ${what}`);
  try {
    const report = await long.retryQuarantined.executeWithOptions({ summary: what }, [
      { ...request, run: workflowInfo().runId },
    ]);
    if (!report.dryRun) await control.recordAudit('quarantine retried', { ...request, ...report });
    setCurrentDetails(describe(what, report));
    return report;
  } catch (error) {
    if (isCancellation(error)) throw error;
    throw failure(reasonOf(error));
  }
}

function describe(what: string, { dryRun, rules }: RetryReport): string {
  return [
    `## Quarantine: ${what}${dryRun ? ' (dry run)' : ''}`,
    '',
    '| rule | tried | loaded | still quarantined | skipped | gone |',
    '|---|---:|---:|---:|---:|---:|',
    ...Object.entries(rules).map(
      ([rule, its]) =>
        `| ${rule} | ${its.documents} | ${its.loaded} | ${its.quarantined} | ${its.skipped} | ${its.gone} |`,
    ),
  ].join('\n');
}
