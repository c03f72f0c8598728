// The report at the end of a migration: what arrived, what was checked, where traffic goes, where to look.
import { progressOf } from '../control/progress.ts';
import { fingerprintsOf } from '../control/quarantine.ts';
import type { Status } from '../core/state.ts';
import { environment } from '../stack/index.ts';
import { openPool, query } from '../stores/postgres/connection.ts';
import { readAddresses } from './connect.ts';
import { table } from './output.ts';
import { figuresOfTheCopy } from './status-text.ts';

const mostShown = 12;

interface Validated {
  readonly collection: string;
  readonly individual_results: Record<
    string,
    { status: string; details?: { total_samples?: number; successful_validations?: number } }
  >;
}

export async function finalReport(status: Status, elapsedMs: number): Promise<string> {
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    const rows = new Map((await progressOf(pool)).map((row) => [row.collection, row]));
    const copied = Object.entries(status.collections).map(([name, its]) => {
      const seconds = rows.get(name)?.seconds ?? 0;
      return [
        name,
        its.source,
        its.loaded,
        its.quarantined,
        its.skipped,
        seconds > 0 ? Math.round((its.loaded + its.quarantined + its.skipped) / seconds) : null,
      ];
    });
    const validated = await query<Validated>(
      pool,
      'reading results',
      `select distinct on (collection) collection, individual_results from migration_control.validation_results where overall_status <> 'partial' order by collection, id desc`,
    );
    const checks = validated.map(({ collection, individual_results: results }) => {
      const sample = results['sample_validation']?.details;
      return [
        collection,
        results['count_validation']?.status,
        `${results['sample_validation']?.status} (${sample?.successful_validations ?? 0} of ${sample?.total_samples ?? 0})`,
        results['business_rule_validation']?.status,
        results['referential_integrity']?.status,
        results['data_type_validation']?.status,
        results['performance_validation']?.status,
      ];
    });
    const all = (await fingerprintsOf(pool)).sort((a, b) => b.documents - a.documents);
    const quarantined = all
      .slice(0, mostShown)
      .map((one) => [one.collection, one.rule, one.path, one.type, one.documents]);
    const stages = await query<{
      at: Date;
      detail: { reason?: string; percentage: number; writeMode?: string; pauseMs?: number };
    }>(
      pool,
      'reading the audit log',
      `select at, detail from migration_control.audit_log where action in ('route', 'writes moved') order by id`,
    );
    const ui = (await environment()).TEMPORAL_UI_URL;
    return [
      `\n=== Report: migration ${status.migration} ${status.state} in ${(elapsedMs / 1000).toFixed(1)} s ===`,
      table(['collection', 'source', 'loaded', 'quarantined', 'skipped', 'documents/s'], copied),
      figuresOfTheCopy,
      table(['checks', 'accounting by key', 'sample', 'rules', 'references', 'types', 'performance'], checks),
      quarantined.length === 0
        ? 'Nothing was quarantined.'
        : table(['quarantined', 'rule', 'path', 'type', 'documents'], quarantined),
      ...(all.length > mostShown
        ? [`... and ${all.length - mostShown} more, of fewer documents each: \`causeway quarantine list\` shows all.`]
        : []),
      table(
        ['stage', 'reads on new, %', 'writes', 'at'],
        stages.map(({ at, detail }) => [
          detail.reason ?? `writes moved, writers waited ${detail.pauseMs} ms`,
          detail.percentage,
          detail.writeMode ?? '',
          at.toISOString(),
        ]),
      ),
      `Checkpoints: ${status.checkpoints.map((one) => one.name).join(', ')}`,
      `Web UI: ${ui ?? 'not known'}/namespaces/default/workflows/migration%2F${status.migration}`,
    ].join('\n\n');
  } finally {
    await pool.end();
  }
}
