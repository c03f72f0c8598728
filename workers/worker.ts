// One worker process: workflows and light activities, reading the source, and the work on the segments of this host.
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import { controlActivities, extractActivities, loadActivities, segmentActivities } from '../activities/index.ts';
import { captureActivities } from '../activities/capture/index.ts';
import { reverseActivities } from '../activities/reverse/index.ts';
import { checkpointActivities } from '../activities/checkpoint/index.ts';
import { announce } from '../activities/capture/lane.ts';
import { OpenReads } from '../activities/extract.ts';
import { catchUpControlSchema } from '../control/schema.ts';
import { openResources } from '../activities/resources.ts';
import { tidySpool } from '../activities/tidy-spool.ts';
import { makeOwnFolder } from '../spool/private.ts';
import { captureQueue, captureQueueOf, controlQueue, extractQueue, snapshotQueueOf } from '../workflows/contract.ts';
import { workflowBundle } from './bundle.ts';
import type { Environment } from './environment.ts';
import { stayLean } from './memory.ts';

export interface RunningWorker {
  /** Ends when the worker has stopped, by `stop` or by itself. */
  readonly stopped: Promise<void>;
  readonly queues: { readonly host: string; readonly process: string };
  stop(): void;
}

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

/** A host whose workers all stay up still has segments that no copy waits for, when the copy ended on another host. */
const tidyEveryMs = 600_000;

/** Starts polling and returns. `home`: where spool and bundle live; hosts with one spool folder in common share their segments' queues. */
export async function startWorker(
  environment: Environment,
  home: string,
  log: (line: string) => void = () => undefined,
): Promise<RunningWorker> {
  stayLean();
  const spool = resolve(home, 'spool');
  await makeOwnFolder(spool);
  const bundle = await workflowBundle(join(home, 'bundle'));
  const host = `causeway-host-${hostname()}-${createHash('sha256').update(spool).digest('hex').slice(0, 8)}`;
  const queues = { host, process: `${host}-${process.pid}` };
  const resources = await openResources(environment.addresses, resolve(home), queues);
  const reads = new OpenReads();
  await catchUpControlSchema(resources.postgres).catch((error: Error) =>
    log(`the control schema is as it was: ${error.message}`),
  );
  const tidy = () =>
    tidySpool(resources.spool, resources.postgres).then(
      (removed) => void (removed > 0 && log(`removed ${removed} segments of workers that have ended from the spool`)),
      (error: Error) => log(`the spool is as it was: ${error.message}`),
    );
  await tidy();
  const tidying = setInterval(() => void tidy(), tidyEveryMs);
  tidying.unref();
  resources.sessions.watch();
  const leave = announce(resources);
  const { address, namespace } = environment.temporal;
  const connection = await NativeConnection.connect({ address });

  const extract = extractActivities(resources, reads);
  const options = { connection, namespace, ...shared };
  const workers = await Promise.all([
    Worker.create({
      ...options,
      taskQueue: controlQueue,
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
      taskQueue: queues.process,
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
    ...[captureQueue, captureQueueOf(queues.process)].map((taskQueue) =>
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
  log(`polling ${controlQueue}, ${extractQueue} and the queues of ${host}`);

  const stopped = Promise.all(workers.map((worker) => worker.run()))
    .then(() => undefined)
    .finally(async () => {
      await reads.close();
      clearInterval(tidying);
      await leave();
      await resources.close();
      await connection.close();
    });
  // Each caller awaits `stopped` when it is ready to; until then a failure must not end the process unexplained.
  stopped.catch(() => undefined);
  return {
    stopped,
    queues,
    stop: () => {
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    },
  };
}
