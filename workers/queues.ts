// The task queues that one worker process serves, each with what it does there and how much of it at once.
import { Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import { captureActivities } from '../activities/capture/index.ts';
import { checkpointActivities } from '../activities/checkpoint/index.ts';
import type { OpenReads } from '../activities/extract.ts';
import { controlActivities, extractActivities, loadActivities, segmentActivities } from '../activities/index.ts';
import type { Resources } from '../activities/resources.ts';
import { reverseActivities } from '../activities/reverse/index.ts';
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

/** One Temporal worker per queue. None polls before it is run. */
export async function workersFor(serving: Serving): Promise<Worker[]> {
  const { connection, namespace, control, bundle, resources, reads } = serving;
  const { host, process } = resources.queues;
  const { extract: extractQueue, capture: captureQueue } = queuesOf(control);
  const extract = extractActivities(resources, reads);
  const options = { connection, namespace, ...shared };
  return Promise.all([
    Worker.create({
      ...options,
      taskQueue: control,
      workflowBundle: { codePath: bundle },
      activities: controlActivities(resources),
      maxCachedWorkflows: 50,
      reuseV8Context: true,
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
