// Workflows alone, on a real Temporal server: a worker for `workflows/` that caches nothing, so that every task replays, with stubs where the
// activities would be; and at the end each history is replayed once more.
import { Context } from '@temporalio/activity';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, makeTelemetryFilterString, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { expect, inject, vi } from 'vitest';
import { classified } from '../../activities/failing.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { begin, type MigrationState, type Status } from '../../core/state.ts';
import { queueOf } from '../../core/owner.ts';
import { phases, type Phase } from '../../core/story.ts';
import { migrationName } from '../../workflows/lib/attributes.ts';
import { captureQueueOf, queuesOf, rootId, snapshotQueueOf, statusQuery } from '../../workflows/contract.ts';
import { allGoesWell, stubQueues, type Stubs } from './stub-activities.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    workflows: { readonly address: string; readonly namespaces: readonly string[]; readonly bundle: string };
  }
}

/** Every queue that a workflow gives work to, when segments lie with `stubQueues`. */
const queuesFrom = (control: string): string[] => [
  ...Object.values(queuesOf(control)),
  stubQueues.host,
  stubQueues.process,
  captureQueueOf(stubQueues.process),
  snapshotQueueOf(stubQueues.host),
  ...['mongodb', 'postgres', 'redis'].map((store) => `${stubQueues.host}-${store}`),
];

const shared = {
  maxCachedWorkflows: 0,
  // A defect fails its workflow, and does not begin its task again for ever.
  workflowFailureErrorTypes: { '*': ['Error'] },
  maxConcurrentActivityTaskPolls: 2,
  maxConcurrentWorkflowTaskPolls: 2,
  shutdownGraceTime: 0,
  maxHeartbeatThrottleInterval: '100ms',
  defaultHeartbeatThrottleInterval: '100ms',
} satisfies Partial<WorkerOptions>;

export interface Call {
  readonly name: string;
  readonly args: readonly unknown[];
}

export interface Started {
  /** Stands at the beginning of this phase, those before it done. */
  readonly at?: Phase;
  readonly until?: Phase;
  readonly settings?: Partial<Settings> | Record<string, unknown>;
  /** With the search attribute that a command starts it with. */
  readonly attributes?: boolean;
}

export interface WorkflowTestOptions {
  /** What differs from a migration in which everything goes well. Errors thrown are classified as those of real activities are. */
  readonly stubs?: Stubs;
  /** The address of another server than the suite's, one that renews histories soon. */
  readonly address?: string;
}

let number = 0;
let installed = false;

/** Activities that outlive the workflow of a test that is over are no news. */
function quiet(): void {
  if (installed) return;
  installed = true;
  const filter = makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' });
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter } } });
}

/** What a test has: one migration of its own, in a namespace that no other test file uses at the same time. */
export class WorkflowTest {
  readonly name: string;
  readonly client: Client;
  /** Every activity that ran, in order, attempts counted one by one. */
  readonly calls: Call[] = [];
  /** May be changed while the migration runs. */
  readonly stubs: Stubs;
  readonly #environment: TestWorkflowEnvironment;

  constructor(name: string, environment: TestWorkflowEnvironment, stubs: Stubs) {
    this.name = name;
    this.client = environment.client;
    this.stubs = stubs;
    this.#environment = environment;
  }

  /** Of this migration alone. */
  get queue(): string {
    return queueOf({ migration: this.name, stores: '0'.repeat(12) });
  }

  /** The root, or one of its tree by its place: `capture`, `cutover/phase_1_reads`. */
  handle(place?: string): WorkflowHandle {
    return this.client.workflow.getHandle(place === undefined ? rootId(this.name) : `${rootId(this.name)}/${place}`);
  }

  async start({ at, until = 'cutover', settings = {}, attributes = false }: Started = {}): Promise<WorkflowHandle> {
    const read = readSettings({ sampleSeconds: 0.5, ...settings });
    if ('problems' in read) throw new Error(read.problems.join('; '));
    await this.client.workflow.start('migration', {
      workflowId: rootId(this.name),
      taskQueue: this.queue,
      ...(attributes && { typedSearchAttributes: [{ key: migrationName, value: this.name }] }),
      args: [
        { name: this.name, settings: read.settings, until },
        ...(at === undefined ? [] : [standingAt(this.name, at)]),
      ],
    });
    return this.handle();
  }

  status(): Promise<Status> {
    return this.handle().query(statusQuery);
  }

  until(check: (status: Status) => boolean, timeout = 60_000): Promise<Status> {
    return vi.waitFor(
      async () => {
        const status = await this.status();
        if (!check(status))
          throw new Error(
            `not yet: ${status.phase} ${status.state} ${status.waitingFor ?? ''} ${status.lastError?.message ?? ''}`,
          );
        return status;
      },
      { timeout, interval: 50 },
    );
  }

  parked = (): Promise<Status> => this.until((status) => status.state === 'parked');

  /** As an update: answered when obeyed, or refused with a sentence. */
  order(name: string, ...args: unknown[]): Promise<unknown> {
    return this.handle().executeUpdate(name, { args: args as [] });
  }

  signal(name: string, ...args: unknown[]): Promise<void> {
    return this.handle().signal(name, ...(args as []));
  }

  /** Arguments of each call of one activity so far. */
  callsOf(name: keyof Stubs): (readonly unknown[])[] {
    return this.calls.filter((call) => call.name === name).map((call) => call.args);
  }

  /** Runs of one workflow of the tree: more than one where histories were begun anew. */
  async runsOf(place?: string): Promise<number> {
    const { workflowId } = this.handle(place);
    return (await this.executions()).filter((one) => one.workflowId === workflowId).length;
  }

  /** `default` answers for whatever has no stub: it does nothing. */
  activities(): Record<string, (...args: never[]) => Promise<unknown>> {
    const answer = async (...args: never[]): Promise<unknown> => {
      const { activityType } = Context.current().info;
      this.calls.push({ name: activityType, args });
      const stub = this.stubs[activityType as keyof Stubs] as ((...args: never[]) => unknown) | undefined;
      return stub?.(...args);
    };
    return classified({ default: answer });
  }

  /** Every run of the tree, with how it ended. */
  async executions(): Promise<{ workflowId: string; runId: string; status: string }[]> {
    const found = [];
    for await (const { workflowId, runId, status } of this.client.workflow.list({
      query: `WorkflowId STARTS_WITH '${rootId(this.name)}'`,
    }))
      found.push({ workflowId, runId, status: status.name as string });
    return found;
  }

  async end(): Promise<void> {
    for (const one of await this.executions())
      if (one.status === 'RUNNING')
        await this.client.workflow
          .getHandle(one.workflowId)
          .terminate('test over')
          .catch(() => undefined);
  }

  /** The code comes to the same from each history of the tree. */
  async replay(bundle: string): Promise<void> {
    const executions = await this.executions();
    expect(executions.map((one) => one.workflowId)).toContain(rootId(this.name));
    const { client } = this;
    async function* histories() {
      for (const { workflowId, runId } of executions)
        yield { workflowId, history: await client.workflow.getHandle(workflowId, runId).fetchHistory() };
    }
    const failed: string[] = [];
    for await (const { workflowId, error } of Worker.runReplayHistories(
      { workflowBundle: { codePath: bundle } },
      histories(),
    ))
      if (error) failed.push(`${workflowId}: ${error.message}`);
    expect(failed).toEqual([]);
  }

  connection() {
    return this.#environment.nativeConnection;
  }
}

/** As a migration of the stubs' collections stands when the phases before this one have passed. */
function standingAt(name: string, phase: Phase): MigrationState {
  const passed = phases.slice(0, phases.indexOf(phase));
  const copied = { source: 10, loaded: 9, quarantined: 1, skipped: 0, chunksDone: 1, chunksTotal: 1 };
  return {
    ...begin(name),
    phase,
    undo: passed.map((undo) => ({ undo })),
    checkpoints: passed.map((one) => ({ name: one, phase: one, at: new Date().toISOString() })),
    collections: { token_usage: copied, sessions: copied },
  };
}

/** Starts the workers, runs `body`, stops what still runs, and replays every history of the tree. */
export async function withWorkflows(
  options: WorkflowTestOptions,
  body: (test: WorkflowTest) => Promise<void>,
): Promise<void> {
  const { address, namespaces, bundle } = inject('workflows');
  quiet();
  const pool = Number(process.env['VITEST_POOL_ID'] ?? 1);
  const namespace = options.address === undefined ? namespaces[pool % namespaces.length]! : 'default';
  const environment = await TestWorkflowEnvironment.createFromExistingServer({
    address: options.address ?? address,
    namespace,
  });
  const test = new WorkflowTest(`workflow-${process.pid}-${++number}`, environment, {
    ...allGoesWell(),
    ...options.stubs,
  });
  const activities = test.activities();
  const workers = await Promise.all(
    queuesFrom(test.queue).map((taskQueue) =>
      Worker.create({
        ...shared,
        connection: environment.nativeConnection,
        namespace,
        taskQueue,
        activities,
        ...(taskQueue === test.queue && { workflowBundle: { codePath: bundle } }),
      }),
    ),
  );
  const stopped = Promise.all(workers.map((worker) => worker.run()));
  stopped.catch(() => undefined);
  try {
    await body(test);
  } finally {
    await test.end();
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await stopped;
    // Whoever came this far with an error keeps it: a replay is of no interest then.
  }
  await test.replay(bundle);
  await environment.teardown();
}
