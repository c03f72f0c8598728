// causeway quarantine: the documents that were set aside, why, and trying them again.
import { Command } from 'commander';
import { WorkflowIdConflictPolicy } from '@temporalio/client';
import type { RetryReport } from '../../activities/quarantine.ts';
import { documentsOf, fingerprintsOf, hasQuarantine, type QuarantinedDocument } from '../../control/quarantine.ts';
import { ownVault } from '../../control/vault.ts';
import { sourceIdsOf } from '../../core/identity.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { quarantineRetryId, type RetryRequest } from '../../workflows/contract.ts';
import type { quarantineRetry } from '../../workflows/children/quarantine-retry.ts';
import { namedAfter } from '../attributes.ts';
import { checkName, readAddresses, withTemporal } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
import { outcomeOf } from '../outcome.ts';
import { print, printJson, table } from '../output.ts';
import { waiting, workflowGoesOn } from '../waiting.ts';
import { common } from './orders.ts';
import { settingsFrom } from '../migration-settings.ts';

interface Options {
  readonly migration: string;
  readonly collection?: string;
  readonly rule?: string;
  readonly limit?: string;
  readonly config?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export const quarantine = (): Command =>
  new Command('quarantine')
    .description('documents that were set aside, with the rule and the place')
    .addCommand(
      common(
        new Command('list').description(
          'what documents were set aside for: rule, path and type found, how many, examples',
        ),
      )
        .option('--collection <name>', 'only this collection')
        .option('--rule <name>', 'only this rule')
        .action((options: Options) => withPool((pool) => list(pool, options))),
    )
    .addCommand(
      common(
        new Command('show').description(
          'one document, or the first of a rule; decrypted, secrets and what belongs to people redacted',
        ),
      )
        .argument('<collection>', 'name of the mapping, or of the source collection')
        .argument(
          '[id]',
          'as `list` prints it: 24 hex digits, or canonical Extended JSON; plain text is taken for either',
        )
        .option('--rule <name>', 'only documents set aside by this rule')
        .option('--limit <n>', 'how many', '5')
        .action((collection: string, id: string | undefined, options: Options) =>
          withPool((pool) => show(pool, collection, id, options)),
        ),
    )
    .addCommand(
      common(
        new Command('retry').description(
          'read them from the source again and load those that a corrected mapping or policy takes; the others stay',
        ),
      )
        .option('--rule <name>', 'only documents set aside by this rule')
        .option('--collection <name>', 'only this collection')
        .option('--config <file>', 'settings whose zone and providers are put into force first, for every writer')
        .option('--dry-run', 'only count what would load')
        .action((options: Options) => retry(options)),
    );

type Pool = ReturnType<typeof openPool>;

async function list(pool: Pool, options: Options): Promise<void> {
  const found = await fingerprintsOf(pool, options);
  if (options.json) return printJson(found);
  if (found.length === 0) return print('Nothing is quarantined.');
  print(
    table(
      ['collection', 'rule', 'path', 'type', 'documents', 'tried', 'example'],
      found.map((one) => [
        one.collection,
        one.rule,
        one.path,
        one.type ?? '',
        one.documents,
        one.attempts,
        one.example,
      ]),
    ),
  );
  print('\n`causeway quarantine show COLLECTION ID` prints one, `causeway quarantine retry` tries them again.');
}

async function show(pool: Pool, collection: string, id: string | undefined, options: Options): Promise<void> {
  const documents = await documentsOf(pool, ownVault(), collection, {
    limit: Math.max(1, Number.parseInt(options.limit ?? '5') || 5),
    rule: options.rule,
    ...(id !== undefined && { ids: sourceIdsOf(id).map((one) => one.sourceId) }),
  });
  if (documents.length === 0 || documents.some((one) => one.problem !== null)) process.exitCode = 1;
  if (options.json) return printJson(documents);
  if (documents.length === 0)
    return print(
      'No such document is quarantined. `causeway quarantine list` names the rules, `causeway explain COLLECTION ID` says where a document is.',
    );
  for (const one of documents) print(textOf(one));
}

function textOf(one: QuarantinedDocument): string {
  const end = one.resolved_at
    ? ` (resolved ${one.resolved_at.toISOString()}: ${one.resolution ?? 'by a newer version'})`
    : '';
  const tried =
    one.attempts > 0 && one.tried_at ? `\n  tried again ${one.attempts} times, last ${one.tried_at.toISOString()}` : '';
  return [
    `${one.collection} ${one.source_id} (from ${one.source_collection})`,
    `  ${one.rule} at ${one.path || 'the document'}${one.type === null ? '' : `, which is ${one.type}`}: ${one.message}${end}${tried}`,
    one.problem === null ? JSON.stringify(one.document, null, 2).replace(/^/gm, '  ') : `  ${one.problem}`,
    '',
  ].join('\n');
}

async function retry(options: Options): Promise<void> {
  const name = checkName(options.migration);
  const settings = options.config === undefined ? undefined : await settingsFrom(options.config);
  const request: RetryRequest = {
    dryRun: options.dryRun === true,
    ...(options.rule !== undefined && { rule: options.rule }),
    ...(options.collection !== undefined && { collection: options.collection }),
    ...(settings && { policy: { zone: settings.zone, providers: settings.providers } }),
  };
  const left = workflowGoesOn('retry', quarantineRetryId(name), '`causeway quarantine list` shows what is left.');
  const report = await withTemporal(async (session) => {
    const handle = await session.client.workflow
      .start<typeof quarantineRetry>('quarantineRetry', {
        workflowId: quarantineRetryId(name),
        taskQueue: await queueFor(session, name),
        ...(await namedAfter(session, name)),
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
        args: [name, request],
        staticSummary: `quarantine retry, ${options.rule ?? 'every rule'}`,
      })
      .catch((error: Error) => {
        if (error.name === 'WorkflowExecutionAlreadyStartedError')
          throw new UsageError(
            `A retry of ${name} is running already; wait for ${quarantineRetryId(name)} in the web UI, it goes on whatever becomes of its worker.`,
          );
        throw error;
      });
    return waiting(left, () => outcomeOf(session, handle));
  });
  if (options.json) return printJson(report);
  print(reportText(report));
}

function reportText(report: RetryReport): string {
  if (report.documents === 0) return 'Nothing is quarantined that this would try.';
  const verb = report.dryRun ? 'would load' : 'loaded';
  return [
    table(
      ['rule', 'tried', verb, 'still quarantined', 'skipped', 'gone from the source'],
      Object.entries(report.rules).map(([rule, its]) => [
        rule,
        its.documents,
        its.loaded,
        its.quarantined,
        its.skipped,
        its.gone,
      ]),
    ),
    report.dryRun
      ? 'Nothing was written. Without --dry-run it is; a unique value that another document holds shows only then.'
      : `${report.loaded} loaded, ${report.quarantined} still quarantined, ${report.skipped} skipped, ${report.gone} gone.`,
  ].join('\n');
}

async function withPool(work: (pool: Pool) => Promise<void>): Promise<void> {
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    if (!(await hasQuarantine(pool)))
      throw new UsageError(
        'The target database has no quarantine yet, so nothing was set aside. `causeway start` makes it.',
      );
    await work(pool);
  } finally {
    await pool.end();
  }
}
