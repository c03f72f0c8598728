// What a worker says: a line for what may be expected, whoever reports it and however it is nested; the stack only of a defect.
import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure, TimeoutFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { asFailure } from '../../activities/failing.ts';
import { KnownFailure } from '../../core/failures.ts';
import { lineOf } from '../../workers/log.ts';

const labels = {
  namespace: 'default',
  taskQueue: 'causeway/default/1',
  workflowId: 'migration/default/data',
  runId: '0-1',
  workflowType: 'dataPhase',
  sdkComponent: 'worker',
};
const activity = {
  ...labels,
  activityId: '3',
  activityType: 'validateCollection',
  attempt: 2,
  taskToken: 'x'.repeat(200),
  isLocal: false,
};
const said = (message: string, meta: Record<string, unknown>) =>
  lineOf({ level: 'WARN', message, meta, timestampNanos: 0n });

function defect(): unknown {
  try {
    (undefined as unknown as { length(): void }).length();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('expected, a line each', () => {
  const parked = ApplicationFailure.create({ type: 'ValidationFailed', message: 'Validation failed: users.' });
  const nested = new ChildWorkflowFailure(
    'default',
    { workflowId: 'migration/default/data/validation', runId: '0-2' },
    'validation',
    'NON_RETRYABLE_FAILURE',
    parked,
  );
  const timedOut = new ActivityFailure(
    'Activity task timed out',
    'loadRows',
    '4',
    'TIMEOUT',
    undefined,
    new TimeoutFailure('activity Heartbeat timeout', undefined, 'HEARTBEAT'),
  );
  // An error loses its type, and what it is called, on the way out of a workflow's thread.
  const sent = (error: Error) => structuredClone(error);

  test.each([
    [
      'a store that is away',
      'Activity failed',
      { ...activity, error: asFailure(new KnownFailure('StoreUnreachable', 'Redis cannot be reached.')) },
      'StoreUnreachable: Redis cannot be reached.',
    ],
    [
      'a message of several lines',
      'Activity failed',
      { ...activity, error: asFailure(new KnownFailure('ChunksFailed', 'one\n    at two')) },
      'ChunksFailed: one at two',
    ],
    ['a phase that parks', 'Workflow failed', { ...labels, error: parked }, 'Validation failed: users.'],
    ['the same, out of its thread', 'Workflow failed', { ...labels, error: sent(parked) }, 'Validation failed: users.'],
    ['a child that failed', 'Workflow failed', { ...labels, error: nested }, 'Validation failed: users.'],
    ['the same, out of its thread', 'Workflow failed', { ...labels, error: sent(nested) }, 'Validation failed: users.'],
    ['a step that nobody finished', 'Workflow failed', { ...labels, error: timedOut }, 'Heartbeat timeout'],
    [
      'an order that is refused',
      'order refused',
      { ...labels, order: 'retry', reason: 'Nothing is parked.' },
      'retry: Nothing is parked.',
    ],
    ['a word of the SDK', 'Worker state changed', { ...labels, state: 'RUNNING' }, 'state=RUNNING'],
  ])('%s', (_, message, meta, told) => {
    const line = said(message, meta);
    expect(line).toContain(told);
    expect(line).toContain('migration/default/data');
    expect(line.split('\n')).toHaveLength(1);
    expect(line).not.toMatch(/ at .+:\d+/);
    expect(line.length).toBeLessThan(300);
  });

  test('which activity, and which attempt', () => {
    const error = asFailure(new KnownFailure('StoreBusy', 'later'));
    expect(said('Activity failed', { ...activity, error })).toContain('validateCollection');
    expect(said('Activity failed', { ...activity, error })).toContain('attempt 2');
  });
});

describe('a defect, with the place it is at', () => {
  test.each([
    ['of an activity', 'Activity failed', { ...activity, error: asFailure(defect()) }],
    ['of what an activity did not classify', 'Activity failed', { ...activity, error: defect() }],
    ['of a workflow', 'Failed to process Workflow Activation', { ...labels, error: defect() }],
  ])('%s', (_, message, meta) => {
    const line = said(message, meta);
    expect(line).toMatch(/\n\s+at .*log-lines\.test/);
    expect(line).toContain('Cannot read properties of undefined');
  });

  test('the place says nothing of what the error was about', () => {
    const driver = Object.assign(new Error('value "secret" is\n    at odds'), { name: 'DatabaseError' });
    const failure = asFailure(driver) as Error;
    expect(failure.stack).not.toMatch(/secret|odds/);
    expect(failure.stack).toMatch(/at .*log-lines\.test/);
  });
});
