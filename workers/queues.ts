// The task queues that one worker process serves, each with what it does there and how much of it at once.
import { Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import { captureActivities } from '../activities/capture/index.ts';
import { checkpointActivities } from '../activities/checkpoint/index.ts';
import type { OpenReads } from '../activities/extract.ts';
import { controlActivities, extractActivities, loadActivities, segmentActivities } from '../activities/index.ts';
import type { Resources } from '../activities/resources.ts';
import { reverseActivities } from '../activities/reverse/index.ts';
import type { Workers } from './serving.ts';
import { captureQueueOf, queuesOf, snapshotQueueOf } from '../workflows/contract.ts';

const shared = {
  shutdownGraceTime: '10s',
  shutdownForceTime: '30s',
  maxHeartbeatThrottleInterval: '1s',
  defaultHeartbeatThrottleInterval: '1s',
  // A workflow that a dead worker had cached is given to another this soon.
  stickyQueueScheduleToStartTimeout: '3s',
  // A worker that hangs still holds its polls: each takes one more attempt away, which is missed only after its heartbeat's time-out.
  maxConcurrentActivityTaskPolls: 2,
} satisfies Partial<WorkerOptions>;

export interface Serving {
  readonly connection: NativeConnection;
  readonly namespace: string;
  /** Where the migration's workflows run (`core/owner.ts`). */
  readonly control: string;
  /** Path of the workflow bundle. */
  readonly bundle: string;
  readonly resources: Resources;
  readonly reads: OpenReads;
}

/** One Temporal worker per queue, and one for workflows. */
export async function workersFor(serving: Serving): Promise<Workers> {
  const { connection, namespace, control, bundle } = serving;
  const workflows = await Worker.create({
    connection,
    namespace,
    ...shared,
    taskQueue: control,
    workflowBundle: { codePath: bundle },
    maxCachedWorkflows: 50,
    reuseV8Context: true,
  });
  return { workflows, activities: () => activityWorkers(serving) };
}

async function activityWorkers(serving: Serving): Promise<Worker[]> {
  const { connection, namespace, control, resources, reads } = serving;
  const { host, process } = resources.queues;
  const { extract: extractQueue, capture: captureQueue } = queuesOf(control);
  const extract = extractActivities(resources, reads);
  const options = { connection, namespace, ...shared };
  return Promise.all([
    Worker.create({
      ...options,
      taskQueue: control,
      activities: controlActivities(resources),
      maxConcurrentActivityTaskExecutions: 8,
    }),
    Worker.create({
      ...options,
      taskQueue: extractQueue,
      activities: extract,
      maxConcurrentActivityTaskExecutions: 4,
    }),
    Worker.create({
      ...options,
      taskQueue: process,
      activities: extract,
      maxConcurrentActivityTaskExecutions: 4,
    }),
    Worker.create({
      ...options,
      taskQueue: host,
      activities: segmentActivities(resources),
      maxConcurrentActivityTaskExecutions: 1,
      maxConcurrentActivityTaskPolls: 1,
    }),
    Worker.create({
      ...options,
      taskQueue: snapshotQueueOf(host),
      activities: checkpointActivities(resources),
      maxConcurrentActivityTaskExecutions: 2,
    }),
    ...[captureQueue, captureQueueOf(process)].map((taskQueue) =>
      Worker.create({
        ...options,
        taskQueue,
        activities: { ...captureActivities(resources), ...reverseActivities(resources) },
        maxConcurrentActivityTaskExecutions: 70,
      }),
    ),
    ...['mongodb', 'postgres', 'redis'].map((store) =>
      Worker.create({
        ...options,
        taskQueue: `${host}-${store}`,
        activities: loadActivities(resources),
        maxConcurrentActivityTaskExecutions: 3,
      }),
    ),
  ]);
}
