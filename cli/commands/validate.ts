// causeway validate: runs the validation again, now.
import { Command } from 'commander';
import { checkNames, type CheckName } from '../../core/checks.ts';
import { openPool, query } from '../../stores/postgres/connection.ts';
import { rootId } from '../../workflows/contract.ts';
import type { validation } from '../../workflows/children/validation.ts';
import { namedAfter } from '../attributes.ts';
import { whatChecksWaitFor } from '../capture-state.ts';
import { checkName, readAddresses, readStatus, withTemporal } from '../connect.ts';
import { queueFor } from '../queue.ts';
import { UsageError } from '../errors.ts';
import { configOption, settingsFor } from '../migration-settings.ts';
import { outcomeOf } from '../outcome.ts';
import { print, printJson, table } from '../output.ts';
import { waiting, workflowGoesOn } from '../waiting.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly collection?: string;
  readonly check?: string[];
  readonly config?: string;
}

interface Stored {
  readonly collection: string;
  readonly overall_status: string;
  readonly individual_results: Record<string, { status: string; details?: unknown; error?: string; reason?: string }>;
  readonly timestamp: Date;
  readonly batch_id: string;
}

export const validate = (): Command =>
  common(
    new Command('validate').description(
      'the six checks of every collection, or those asked for; results are stored in validation_results',
    ),
  )
    .option('--collection <name>', 'only this collection')
    .option('--check <name>', `only this check, and may be given again: ${checkNames.join(', ')}`, collect)
    .option(...configOption)
    .action((options: Options) => run(options));

const collect = (name: string, names: string[] = []): string[] => [...names, name];

async function run(options: Options): Promise<void> {
  const name = checkName(options.migration);
  const wrong = options.check?.find((check) => !checkNames.includes(check as CheckName));
  if (wrong !== undefined) throw new UsageError(`There is no check ${wrong}. There are: ${checkNames.join(', ')}.`);
  const results = await withTemporal(async (session) => {
    const settings = await settingsFor(session, name, options.config);
    const known = Object.keys((await readStatus(session, name)).collections);
    if (options.collection !== undefined && !known.includes(options.collection))
      throw new UsageError(
        `The migration ${name} has no collection ${options.collection}. It has: ${known.join(', ') || 'none yet'}.`,
      );
    const collections = options.collection === undefined ? known : [options.collection];
    const checks = options.check as CheckName[] | undefined;
    const args: Parameters<typeof validation> = checks
      ? [name, collections, settings, checks]
      : [name, collections, settings];
    const handle = await session.client.workflow.start<typeof validation>('validation', {
      workflowId: `${rootId(name)}/validation`,
      taskQueue: await queueFor(session, name),
      ...(await namedAfter(session, name)),
      staticSummary: `validation of ${name}`,
      args,
    });
    const left = workflowGoesOn(
      'validation',
      handle.workflowId,
      'its results stand in migration_control.validation_results, and in `causeway report`.',
    );
    for (const line of await whatChecksWaitFor(session, name)) process.stderr.write(`${line}\n`);
    await waiting(left, () => outcomeOf(session, handle).catch(() => undefined));
    return stored(`${handle.workflowId}/${handle.firstExecutionRunId}/`);
  });
  const failed = results.filter((result) => result.overall_status === 'failed');
  const empty = results.length > 0 && results.every(comparedNothing);
  if (results.length === 0 || failed.length > 0 || empty) process.exitCode = 1;
  if (options.json) return printJson(results);
  const asked = checkNames.filter((check) => results.some((result) => result.individual_results[check]));
  print(
    table(
      ['collection', 'result', ...asked.map((check) => check.replace('_validation', ''))],
      results.map((result) => [
        result.collection,
        result.overall_status,
        ...asked.map((check) => result.individual_results[check]?.status ?? ''),
      ]),
    ),
  );
  for (const one of failed)
    print(
      `\n${one.collection}: ${JSON.stringify(Object.fromEntries(Object.entries(one.individual_results).filter(([, its]) => its.status === 'failed' || its.status === 'error')), null, 2)}`,
    );
  if (empty)
    print(
      'Nothing was compared: neither the source nor the ledger has a document of these collections, so nothing is validated. See `causeway assess`: the database in SOURCE_MONGODB_URL may be another one.',
    );
  if (results.length === 0) print('No result was stored; look at the validation workflow in the web UI.');
}

/** The count of keys is the check that meets every document. */
export function comparedNothing({ individual_results: results }: Pick<Stored, 'individual_results'>): boolean {
  const counts = results['count_validation']?.details as Record<string, unknown> | undefined;
  return counts !== undefined && ['source', 'loaded', 'quarantined', 'skipped'].every((one) => counts[one] === 0);
}

async function stored(prefix: string): Promise<Stored[]> {
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    return await query<Stored>(
      pool,
      'reading results',
      `select collection, overall_status, individual_results, "timestamp", batch_id from migration_control.validation_results where starts_with(batch_id, $1) order by id`,
      [prefix],
    );
  } finally {
    await pool.end();
  }
}
