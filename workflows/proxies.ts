// Activities grouped by time budget and queue. Retry policies derive from the table of failures.
import { proxyActivities, workflowInfo, type ActivityOptions } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { notRetryable } from '../core/failures.ts';
import { captureQueueOf, queuesOf, snapshotQueueOf } from './contract.ts';

// Without a queue of its own an activity goes to that of its workflow, which is the migration's (core/owner.ts).

/**
 * About two minutes of trying, longer than a server takes to come back; then the migration parks and says why, instead of retrying where nobody
 * looks. Attempts that ended with their worker count too: a step may lose two dozen.
 */
const retry = {
  initialInterval: '500ms',
  backoffCoefficient: 2,
  maximumInterval: '5s',
  maximumAttempts: 25,
  nonRetryableErrorTypes: [...notRetryable],
};

/** Workers heartbeat every second: one that is dead is noticed in ten. */
const heartbeatTimeout = '10s';

export const control = proxyActivities<Activities>({
  startToCloseTimeout: '2 minutes',
  heartbeatTimeout,
  retry,
});
/** Scans of whole collections and DDL: they heartbeat, so a dead worker is noticed long before the time-out. */
export const long = proxyActivities<Activities>({
  startToCloseTimeout: '12 hours',
  heartbeatTimeout,
  retry,
});
export const ddl = proxyActivities<Activities>({
  startToCloseTimeout: '1 hour',
  heartbeatTimeout,
  retry,
});
/** On the host that has the snapshot. */
export const onSnapshotHost = (hostQueue: string) =>
  proxyActivities<Activities>({
    taskQueue: snapshotQueueOf(hostQueue),
    scheduleToStartTimeout: '1 minute',
    startToCloseTimeout: '12 hours',
    heartbeatTimeout,
    retry,
  });
/** What an operator waits for is tried at once and often. */
export const routing = proxyActivities<Activities>({
  startToCloseTimeout: '10s',
  retry: { ...retry, initialInterval: '100ms', maximumInterval: '1s', maximumAttempts: 20 },
});
export const compensation = proxyActivities<Activities>({
  startToCloseTimeout: '1 hour',
  heartbeatTimeout,
  retry,
});

/** Watches a stage in slices; each sample survives a store that is down. */
export const monitoring = proxyActivities<Activities>({
  startToCloseTimeout: '20 minutes',
  heartbeatTimeout,
  retry,
});
const whileWritersWait = {
  startToCloseTimeout: '3 minutes',
  heartbeatTimeout: '3s',
  // Whoever cancels waits for it: it may have moved the writes.
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
} satisfies ActivityOptions;
/** Moves writes: while it is dead, writers wait; so it is missed soon, and tried again a few times before somebody is asked. */
export const switching = proxyActivities<Activities>({
  ...whileWritersWait,
  retry: { ...retry, initialInterval: '200ms', maximumInterval: '5s', maximumAttempts: 6 },
});
/** Moves them back, perhaps in an emergency and with nobody there to ask: two minutes. A fence passes between two attempts, and writers go on. */
export const switchingBack = proxyActivities<Activities>({
  ...whileWritersWait,
  retry: { ...retry, initialInterval: '200ms', maximumInterval: '2s', maximumAttempts: 60 },
});

const segment: ActivityOptions = { startToCloseTimeout: '10 minutes', heartbeatTimeout, retry };

export const extractAnywhere = () =>
  proxyActivities<Activities>({ ...segment, taskQueue: queuesOf(workflowInfo().taskQueue).extract });
/** In the process that has the range open; if that is gone, any other may open it again. */
export const extractIn = (queue: string) =>
  proxyActivities<Activities>({
    ...segment,
    taskQueue: queue,
    scheduleToStartTimeout: '5s',
    retry: { ...retry, maximumAttempts: 1 },
  });
/** On the host that has the segment; if that is gone, the segment is read again elsewhere. */
export const onHost = (queue: string) =>
  proxyActivities<Activities>({ ...segment, taskQueue: queue, scheduleToStartTimeout: '1 minute' });

/** Capture never gives up: it is what keeps the targets true. A dead worker is noticed in five seconds, and its lanes move. */
const capturing: ActivityOptions = {
  startToCloseTimeout: '30 minutes',
  heartbeatTimeout: '5s',
  retry: {
    initialInterval: '200ms',
    backoffCoefficient: 2,
    maximumInterval: '2s',
    nonRetryableErrorTypes: [...notRetryable],
  },
};
/** What is only to be shown is not waited for. */
export const showing = proxyActivities<Activities>({
  scheduleToCloseTimeout: '15s',
  retry: { ...retry, maximumAttempts: 2 },
});
/** Capture's own light steps give up as little as its long ones. */
export const captureControl = proxyActivities<Activities>({
  startToCloseTimeout: '2 minutes',
  heartbeatTimeout,
  retry: capturing.retry!,
});
export const capture = () =>
  proxyActivities<Activities>({ ...capturing, taskQueue: queuesOf(workflowInfo().taskQueue).capture });
/** In the process that is to take the lane; if it is gone, anywhere. */
export const captureIn = (queue: string) =>
  proxyActivities<Activities>({
    ...capturing,
    taskQueue: captureQueueOf(queue),
    scheduleToStartTimeout: '3s',
    retry: { maximumAttempts: 1 },
  });
