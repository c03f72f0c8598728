// causeway timescale: whether TimescaleDB's policies (compression, retention, refresh of aggregates) run, and making them run.
import { Command } from 'commander';
import { armPolicies } from '../../activities/policies.ts';
import { hasTable } from '../../control/checkpoints.ts';
import { claimOf } from '../../control/owner.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { policiesOf, policyName } from '../../stores/postgres/policies.ts';
import { checkName, readAddresses } from '../connect.ts';
import { UsageError } from '../errors.ts';
import { print, printJson, table } from '../output.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly json?: boolean;
  readonly dropOlder?: boolean;
}

type Pool = ReturnType<typeof openPool>;

export const timescale = (): Command =>
  new Command('timescale')
    .description("TimescaleDB's policies: compression, retention, refresh of aggregates")
    .addCommand(
      common(new Command('status').description('which policies there are, and which are armed')).action(
        (options: Options) => withPool(options, status),
      ),
    )
    .addCommand(
      common(new Command('arm').description('arm them, once all writes are with the new system'))
        .option('--drop-older', 'retention also where rows are older than it keeps: they are dropped')
        .action((options: Options) => withPool(options, arm)),
    );

async function withPool(options: Options, work: (pool: Pool, options: Options) => Promise<void>): Promise<void> {
  const name = checkName(options.migration);
  const pool = openPool((await readAddresses()).addresses.postgres, 1);
  try {
    if (!(await hasTable(pool, 'created_objects')))
      throw new UsageError('This database holds no tables of a migration yet.');
    const owner = (await claimOf(pool))?.migration;
    if (owner !== undefined && owner !== name)
      throw new UsageError(`This database belongs to the migration ${owner}: give --migration ${owner}.`);
    await work(pool, options);
  } finally {
    await pool.end();
  }
}

const none =
  'There are no policies: the target database has no TimescaleDB, or had none when its tables were made. Partitions by month are kept until somebody drops them.';

async function status(pool: Pool, { json }: Options): Promise<void> {
  const policies = await policiesOf(pool);
  if (!policies || policies.length === 0) throw new UsageError(none);
  if (json) return printJson({ policies });
  print(
    table(
      ['policy', 'armed', 'keeps'],
      policies.map((one) => [policyName(one), one.armed ? 'yes' : 'no', one.keeps ?? '']),
    ),
  );
}

async function arm(pool: Pool, { json, dropOlder = false }: Options): Promise<void> {
  const { armed, left } = await armPolicies({ postgres: pool }, { dropOlder });
  if (!armed) throw new UsageError(none);
  if (left.length > 0) process.exitCode = 1;
  if (json) return printJson({ armed, left });
  if (armed.length > 0) print(`Armed: ${armed.join(', ')}.`);
  for (const { policy, why } of left) print(`Not armed: ${policy}: ${why}`);
}
