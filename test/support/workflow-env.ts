// Workflows alone, on a real Temporal server: workers for `workflows/` with stubs where the activities would be; and at the end each history is
// replayed from its beginning.
import { Client, type WorkflowHandle } from '@temporalio/client';
import { expect, vi } from 'vitest';
import { untilTaken } from '../../cli/connect.ts';
import { readSettings, type Settings } from '../../core/settings.ts';
import { begin, type MigrationState, type Status } from '../../core/state.ts';
import { phases, type Phase } from '../../core/story.ts';
import { migrationName } from '../../workflows/lib/attributes.ts';
import { rootId, statusQuery } from '../../workflows/contract.ts';
import { allGoesWell, type Stubs } from './stub-activities.ts';
import { endAll, replayAll, type Ended, type Execution } from './workflow-tree.ts';
import { forget, isForgotten, withWorkers, type Wanted, type WorkflowWorkers } from './workflow-workers.ts';

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

export interface WorkflowTestOptions extends Wanted {
  /** What differs from a migration in which everything goes well. Errors thrown are classified as those of real activities are. */
  readonly stubs?: Stubs;
}

/** What a test has: one migration, which no other test has at the same time. */
export class WorkflowTest {
  readonly name: string;
  /** Of this migration alone. */
  readonly queue: string;
  readonly client: Client;
  /** Every activity that ran, in order, attempts counted one by one. */
  readonly calls: Call[] = [];
  /** May be changed while the migration runs. */
  readonly stubs: Stubs;
  /** By this test; their children are not among them. */
  readonly #started: Execution[] = [];

  constructor({ migration, queue, connection }: WorkflowWorkers, stubs: Stubs) {
    this.name = migration;
    this.queue = queue;
    this.stubs = stubs;
    this.client = new Client({
      connection,
      interceptors: {
        workflow: [
          {
            startWithDetails: async (input, next) => {
              const output = await next(input);
              this.#started.push({ workflowId: input.options.workflowId, runId: output.runId });
              return output;
            },
          },
        ],
      },
    });
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
      { timeout, interval: 100 },
    );
  }

  parked = (): Promise<Status> => this.until((status) => status.state === 'parked');

  /** As an update: answered when obeyed, or refused with a sentence. */
  order(name: string, ...args: unknown[]): Promise<unknown> {
    return untilTaken(() => this.handle().executeUpdate(name, { args: args as [] }));
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

  /** Whatever has no stub does nothing. */
  answer(activity: string, args: readonly unknown[]): unknown {
    this.calls.push({ name: activity, args });
    const stub = this.stubs[activity as keyof Stubs] as ((...args: readonly unknown[]) => unknown) | undefined;
    return stub?.(...args);
  }

  /** Every run of the tree, with how it ended. */
  async executions(): Promise<(Execution & { status: string })[]> {
    const found = [];
    for await (const { workflowId, runId, status } of this.client.workflow.list({
      query: `WorkflowId STARTS_WITH '${rootId(this.name)}'`,
    }))
      if (!isForgotten(runId)) found.push({ workflowId, runId, status: status.name as string });
    return found;
  }

  /** Nothing of it runs on into the next test. */
  async end(): Promise<Ended[]> {
    const ended = await endAll(this.client, this.#started);
    forget(ended.map((one) => one.runId));
    return ended;
  }

  /** The code comes to the same from each history of the tree. */
  async replay(ended: readonly Ended[]): Promise<void> {
    const root = rootId(this.name);
    const tree = ended.filter((one) => one.workflowId.startsWith(root));
    expect(tree.map((one) => one.workflowId)).toContain(root);
    expect(await replayAll(tree)).toEqual([]);
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

/** Runs `body`, ends what still runs, and replays every history of the tree. */
export async function withWorkflows(
  { stubs, ...wanted }: WorkflowTestOptions,
  body: (test: WorkflowTest) => Promise<void>,
): Promise<void> {
  await withWorkers(wanted, async (workers, answerWith) => {
    const test = new WorkflowTest(workers, { ...allGoesWell(), ...stubs });
    answerWith((activity, args) => test.answer(activity, args));
    let ended: Ended[];
    try {
      await body(test);
    } finally {
      // Whoever came this far with an error keeps it: a replay is of no interest then.
      ended = await test.end();
    }
    await test.replay(ended);
  });
}
