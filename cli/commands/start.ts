// causeway start: begins a migration, or goes on where an earlier run stopped.
import { Command } from 'commander';
import { WorkflowIdConflictPolicy } from '@temporalio/client';
import { openResources } from '../../activities/resources.ts';
import { planCollections } from '../../activities/plan.ts';
import { preflight, toReach } from '../../activities/preflight/index.ts';
import { arrive, counts, nothingKnown } from '../../core/lifecycle.ts';
import { queueOf } from '../../core/owner.ts';
import type { Settings } from '../../core/settings.ts';
import { isPhase, phases, type Phase } from '../../core/story.ts';
import { migrationName, migrationPhase } from '../../workflows/lib/attributes.ts';
import { rootId, type MigrationInput } from '../../workflows/contract.ts';
import type { migration } from '../../workflows/migration.ts';
import { attributesToCome, registerAttributes, withoutAttributes } from '../../workers/temporal.ts';
import { checkName, home, readAddresses, withTemporal, type TemporalSession } from '../connect.ts';
import { knownNow, runs, unfinishedNow } from '../ended.ts';
import { OrderRefused, UsageError } from '../errors.ts';
import { settingsFrom, settingsStarted } from '../migration-settings.ts';
import { follow } from '../follow.ts';
import { Outlast } from '../outlast.ts';
import { identityHere, isServed, noWorker } from '../queue.ts';
import { print, printJson, table } from '../output.ts';
import { migrationGoesOn, waiting } from '../waiting.ts';
import { common } from './orders.ts';

interface Options {
  readonly migration: string;
  readonly config?: string;
  readonly until?: string;
  readonly dryRun?: boolean;
  readonly wait?: boolean;
  readonly json?: boolean;
}

export const start = (): Command =>
  common(new Command('start').description('begin a migration; run again after it ended, it goes on from what is there'))
    .option(
      '--config <file>',
      'JSON file with settings; see docs/settings.md. Without it those that the migration was started with before, else the defaults',
    )
    .option('--until <phase>', `last phase to run: ${phases.join(', ')}`, 'cutover')
    .option('--dry-run', 'check everything and print what would be done; write nothing')
    .option('--wait', 'follow to the end; the exit code is the outcome')
    .action((options: Options) => run(options));

async function run(options: Options): Promise<void> {
  const name = checkName(options.migration);
  const given = options.config === undefined ? undefined : await settingsFrom(options.config);
  if (!isPhase(options.until))
    throw new UsageError(`--until must be one of ${phases.join(', ')}, not "${options.until}".`);
  const until = options.until;
  // Temporal first: who cannot reach it need not wait for the checks of the stores.
  await withTemporal(async (session) => {
    if (await runs(session, name)) {
      // Whatever the migration is at: before a restore has ended nothing else leads on.
      const unfinished = await unfinishedNow(name).catch(() => undefined);
      throw unfinished === undefined ? new UsageError(runsAlready(name)) : new OrderRefused(unfinished);
    }
    const outlast = new Outlast((line) => void process.stderr.write(`${line}\n`));
    const settings = await check(session, { name, given, until }, options, outlast);
    if (options.dryRun) return;
    const { owner } = await outlast.through(() => identityHere(name));
    const missing = await registerAttributes(session.connection, session.settings);
    if (missing) process.stderr.write(`${withoutAttributes(missing)}\n`);
    const input: MigrationInput = { name, settings, until };
    const handle = await session.client.workflow
      .start<typeof migration>('migration', {
        workflowId: rootId(name),
        taskQueue: queueOf(owner),
        args: [input],
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.FAIL,
        staticSummary: `migration ${name}`,
        ...(!missing && {
          typedSearchAttributes: [
            { key: migrationName, value: name },
            { key: migrationPhase, value: 'preparation' as const },
          ],
        }),
      })
      .catch((error: Error) => {
        if (error.name === 'WorkflowExecutionAlreadyStartedError') throw new UsageError(runsAlready(name));
        throw error;
      });
    const queue = queueOf(owner);
    if (!(await isServed(session, queue))) process.stderr.write(`${noWorker(name, queue)}\n`);
    if (options.wait) {
      await waiting(migrationGoesOn(name), () => follow(session, name, { json: options.json === true }));
      return;
    }
    if (options.json) printJson({ migration: name, workflowId: rootId(name), runId: handle.firstExecutionRunId });
    else print(`Started ${rootId(name)}. Follow it with \`causeway watch\`; queue ${queue}.`);
  });
}

const runsAlready = (name: string): string =>
  `The migration ${name} is running already. See \`causeway status\`; \`causeway abort\` ends it, \`causeway retry\` goes on after a failure.`;

/** Whoever started it sits before the screen: what is not there is told soon, and asked for again. */
const hurried = { selectionMs: 1000 };

interface Asked {
  readonly name: string;
  /** Else those that the migration was started with, or the defaults. */
  readonly given: Settings | undefined;
  readonly until: Phase;
}

/** The settings that it is to have. The workers check again; here the answer is at once, and nothing is started that must fail. */
async function check(
  session: TemporalSession,
  { name, given, until }: Asked,
  options: Options,
  outlast: Outlast,
): Promise<Settings> {
  const resources = await openResources((await readAddresses()).addresses, home(), {
    host: '',
    process: '',
    ...hurried,
  });
  try {
    const { postgres, ...others } = toReach(resources);
    await outlast.reach([postgres]);
    // What it refuses to tell is named by the checks.
    const known = await knownNow(name).catch(() => nothingKnown);
    const { standing } = known;
    const settings = given ?? (standing ? settingsStarted(name, standing.settings) : await settingsFrom(undefined));
    const arrival = arrive(known, { until, stages: settings.stages });
    if (arrival.is === 'refused') throw new OrderRefused(arrival.message);
    const goesOn = arrival.is === 'takes-over' && counts(known.authority);
    // What the application writes to the new system is none of the migration's to judge.
    if (!goesOn) await outlast.reach(Object.values(others));
    const checks = goesOn ? [] : await outlast.through(() => preflight(resources, name, settings, until));
    if (arrival.is === 'takes-over' && !options.json)
      process.stderr.write(
        `The migration goes on in ${arrival.phase}, where it stood${given ? '' : ', with the settings that it was started with (--config gives it others)'}.\n`,
      );
    if (!options.dryRun) return settings;
    checks.unshift({
      name: 'Temporal is reachable',
      ...(await attributesToCome(session.connection, session.settings)),
    });
    const plans = await planCollections(resources, settings);
    if (options.json) {
      printJson({
        dryRun: true,
        checks,
        phases: phases.slice(0, phases.indexOf(until) + 1),
        collections: plans,
        stages: settings.stages,
      });
      return settings;
    }
    print(
      table(
        ['check', 'result', ''],
        checks.map((one) => [one.name, one.status, one.detail]),
      ),
    );
    print('\nWould be copied, in this order:');
    print(
      table(
        ['collection', 'class', 'from', 'documents', 'to'],
        plans.map((plan) => [
          plan.collection,
          plan.class,
          plan.sources.join(', '),
          plan.documents,
          resources.mappings
            .get(plan.collection)!
            .targets.map((target) => `${target.store}:${target.name}`)
            .join(', '),
        ]),
      ),
    );
    if (until === 'cutover') {
      print('\nThen, stage by stage:');
      print(
        table(
          ['stage', 'reads on new, %', 'writes', 'soak, s', 'approval'],
          settings.stages.map((stage) => [
            stage.name,
            stage.percentage,
            stage.writes,
            stage.soakSeconds,
            stage.approve ? 'waits for it' : 'none',
          ]),
        ),
      );
    }
    print('\nNothing was kept of what the checks tried. Without --dry-run it begins.');
    return settings;
  } finally {
    await resources.close();
  }
}
