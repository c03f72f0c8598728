// What all tests of a process share, because it takes half a second of processor time to begin: workers for `workflows/`, whose activities are those of
// the test that is running. They end with the process.
import { ApplicationFailure, Context } from '@temporalio/activity';
import { Connection } from '@temporalio/client';
import {
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import { inject } from 'vitest';
import { classified } from '../../activities/failing.ts';
import { queueOf } from '../../core/owner.ts';
import { captureQueueOf, queuesOf, snapshotQueueOf } from '../../workflows/contract.ts';
import { stubQueues } from './stub-activities.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    workflows: {
      readonly address: string;
      /** Of a server that asks for a new history after 60 events. */
      readonly renewing: string;
      readonly bundle: string;
    };
  }
}

export interface Wanted {
  /** No workflow stays in memory: each task, update and query replays the whole history. */
  readonly uncached?: boolean;
  /** On the server that asks for a new history after 60 events. */
  readonly renewing?: boolean;
}

/** Those of one migration: one test at a time has them. */
export interface WorkflowWorkers {
  readonly migration: string;
  readonly queue: string;
  readonly connection: Connection;
}

/** What runs in place of every activity. */
type Answer = (activity: string, args: readonly unknown[]) => unknown;

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
  // A defect fails its workflow, and does not begin its task again for ever.
  workflowFailureErrorTypes: { '*': ['Error'] },
  maxConcurrentActivityTaskPolls: 2,
  maxConcurrentWorkflowTaskPolls: 2,
  shutdownGraceTime: 0,
  maxHeartbeatThrottleInterval: '100ms',
  defaultHeartbeatThrottleInterval: '100ms',
} satisfies Partial<WorkerOptions>;

/** An activity learns from its heartbeats that it is cancelled; each is work for the server. */
const beatEveryMs = 200;

/** By migration. */
const answers = new Map<string, Answer>();
const over = new Set<string>();
const free = new Map<string, WorkflowWorkers[]>();
let started = 0;

/** None is the beginning of another. */
const nameOf = (number: number): string => `workflow-${process.pid}-${String(number).padStart(3, '0')}`;

/** What these runs still ask for is of a test that is over. */
export function forget(runIds: readonly string[]): void {
  for (const runId of runIds) over.add(runId);
}

export const isForgotten = (runId: string): boolean => over.has(runId);

async function answered(...args: never[]): Promise<unknown> {
  const context = Context.current();
  const { activityType, workflowExecution, taskQueue } = context.info;
  const { workflowId, runId } = workflowExecution!;
  // The queues of hosts and processes are those of all migrations.
  const answer = answers.get((taskQueue.startsWith('causeway/') ? taskQueue : workflowId).split('/')[1]!);
  if (!answer || isForgotten(runId)) throw ApplicationFailure.nonRetryable('Its test is over.');
  const beat = setInterval(() => context.heartbeat(), beatEveryMs);
  try {
    return await answer(activityType, args);
  } finally {
    clearInterval(beat);
  }
}

/** Has workers for as long as `body` takes: those that an earlier test has left, or new ones. */
export async function withWorkers<T>(
  { uncached = false, renewing = false }: Wanted,
  body: (workers: WorkflowWorkers, answerWith: (answer: Answer) => void) => Promise<T>,
): Promise<T> {
  const kind = `${renewing ? 'renewing' : 'usual'}-${uncached ? 'uncached' : 'cached'}`;
  const left = free.get(kind) ?? [];
  free.set(kind, left);
  const workers = left.pop() ?? (await start(nameOf(++started), uncached, renewing));
  try {
    return await body(workers, (answer) => answers.set(workers.migration, answer));
  } finally {
    answers.delete(workers.migration);
    left.push(workers);
  }
}

async function start(migration: string, uncached: boolean, renewing: boolean): Promise<WorkflowWorkers> {
  const { bundle, ...addresses } = inject('workflows');
  if (started === 1) quiet();
  const address = renewing ? addresses.renewing : addresses.address;
  const [connection, native] = await Promise.all([
    Connection.connect({ address }),
    NativeConnection.connect({ address }),
  ]);
  const queue = queueOf({ migration, stores: '0'.repeat(12) });
  const workers = await Promise.all(
    queuesFrom(queue).map((taskQueue) =>
      Worker.create({
        ...shared,
        connection: native,
        taskQueue,
        activities: classified({ default: answered }),
        maxCachedWorkflows: uncached ? 0 : 200,
        ...(taskQueue === queue && { workflowBundle: { codePath: bundle } }),
      }),
    ),
  );
  // A worker that breaks is noticed by the test that waits for it.
  for (const worker of workers)
    worker.run().catch((error: unknown) => process.stderr.write(`a worker ended: ${String(error)}\n`));
  return { migration, queue, connection };
}

/** Activities that outlive the workflow of a test that is over are no news. */
function quiet(): void {
  const filter = makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' });
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter } },
    // The process is ended when its files are done.
    shutdownSignals: [],
  });
}
