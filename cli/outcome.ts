// Waiting for a workflow beside the migration's own, and never without a word: that no worker has taken it up, that one is at it, or what of it fails, is said once each.
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowExecutionDescription } from '@temporalio/client';
import type { TemporalSession } from './connect.ts';
import { failingIn, failingText } from './failing-activities.ts';

const untilAskedMs = 3000;
const askEveryMs = 2000;

/** Of a workflow that no worker has taken up there is only the beginning in its history. */
export const isUntaken = ({ status, historyLength }: Pick<WorkflowExecutionDescription, 'status' | 'historyLength'>) =>
  status.name === 'RUNNING' && historyLength <= 2;

interface Awaited<R> {
  readonly workflowId: string;
  result(): Promise<R>;
}

export async function outcomeOf<R>({ client }: TemporalSession, handle: Awaited<R>): Promise<R> {
  const ended = new AbortController();
  const result = handle.result().finally(() => ended.abort());
  result.catch(() => undefined);
  const told = new Set<string>();
  const tell = (line: string | undefined) => {
    if (line === undefined || told.has(line) || ended.signal.aborted) return;
    told.add(line);
    process.stderr.write(`${line}\n`);
  };
  const look = async () => {
    if (isUntaken(await client.workflow.getHandle(handle.workflowId).describe()))
      tell('No worker has taken it up yet: start `causeway worker`, if none runs. This command waits.');
    else tell('A worker is at it. This command waits.');
    for (const one of await failingIn(client, handle.workflowId)) tell(failingText([{ ...one, attempt: 1 }]));
  };
  const pause = (ms: number) => sleep(ms, undefined, { signal: ended.signal }).catch(() => undefined);
  for (await pause(untilAskedMs); !ended.signal.aborted; await pause(askEveryMs)) await look().catch(() => undefined);
  return result;
}
