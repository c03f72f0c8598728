// Everything that a test has started, to the last child: ended, and replayed. Read from the histories, which name each child and each new run.
import { EventEmitter, on } from 'node:events';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { Worker, type ReplayResult } from '@temporalio/worker';
import { inject } from 'vitest';

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

export interface Execution {
  readonly workflowId: string;
  readonly runId: string;
}

export interface Ended extends Execution {
  readonly history: History;
}

/** Terminates what still runs of what was started, parents before their children, and reads all histories. */
export async function endAll(client: Client, started: readonly Execution[]): Promise<Ended[]> {
  const found = new Map<string, Ended>();
  const seen = new Set<string>();
  const visit = async ({ workflowId, runId }: Execution): Promise<void> => {
    if (seen.has(runId)) return;
    seen.add(runId);
    const handle = client.workflow.getHandle(workflowId, runId);
    let history = await handle.fetchHistory();
    if (!hasEnded(history)) {
      await handle.terminate('test over').catch(() => undefined);
      history = await handle.fetchHistory();
    }
    found.set(runId, { workflowId, runId, history });
    await Promise.all(following(workflowId, history).map(visit));
  };
  for (const one of started) await visit(one);
  return [...found.values()];
}

const closing = [
  'workflowExecutionCompletedEventAttributes',
  'workflowExecutionFailedEventAttributes',
  'workflowExecutionTimedOutEventAttributes',
  'workflowExecutionCanceledEventAttributes',
  'workflowExecutionTerminatedEventAttributes',
  'workflowExecutionContinuedAsNewEventAttributes',
] as const;

const hasEnded = ({ events }: History): boolean => {
  const last = events?.at(-1);
  return last !== undefined && closing.some((attributes) => last[attributes]);
};

/** Its children, and the run that goes on where it ended. */
function following(workflowId: string, { events }: History): Execution[] {
  return (events ?? []).flatMap((event) => {
    const next = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
    if (next) return [{ workflowId, runId: next }];
    const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
    return child ? [{ workflowId: child.workflowId!, runId: child.runId! }] : [];
  });
}

let replaying: { give: (ended: Ended) => void; readonly results: AsyncIterator<ReplayResult> } | undefined;

/** The code comes to the same from each history; a sentence for each that it does not. One worker does it for all tests of a process. */
export async function replayAll(all: readonly Ended[]): Promise<string[]> {
  const { give, results } = (replaying ??= startReplaying());
  const failed: string[] = [];
  for (const ended of all) {
    give(ended);
    const { error } = (await results.next()).value as ReplayResult;
    if (error) failed.push(`${ended.workflowId}: ${error.message}`);
  }
  return failed;
}

function startReplaying() {
  const given = new EventEmitter();
  const asked = on(given, 'history');
  async function* histories(): AsyncGenerator<Ended> {
    for await (const [ended] of asked) yield ended as Ended;
  }
  // In a thread of its own: it watches every promise of the thread that it is in.
  const options = { workflowBundle: { codePath: inject('workflows').bundle }, debugMode: false };
  const results = Worker.runReplayHistories(options, histories());
  return { give: (ended: Ended) => void given.emit('history', ended), results };
}
