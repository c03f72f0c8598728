// What a migration's running activities fail with at the moment: Temporal knows it of each, whatever the activity itself could say.
import type { Client } from '@temporalio/client';
import { failures, type FailureType } from '../core/failures.ts';
import { captureId, quarantineRetryId, restoreId, reverseId, rootId, verificationId } from '../workflows/contract.ts';

export interface FailingActivity {
  /** Of the workflow that waits for it, by its id. */
  readonly workflow: string;
  readonly activity: string;
  /** The one under way or next. */
  readonly attempt: number;
  readonly type: string;
  readonly message: string;
  readonly advice: string;
}

/** Workflows that the root's tree does not hold: they stand by themselves. */
const standing = [captureId, reverseId, verificationId, restoreId, quarantineRetryId];
/** Of a tree that is larger the rest is not asked for. */
const mostAsked = 200;

/** Every activity under way that has failed before, those with the most attempts first. */
export const failingActivities = (client: Client, migration: string): Promise<FailingActivity[]> =>
  failingIn(client, rootId(migration), ...standing.map((idOf) => idOf(migration)));

/** The same of these workflows and of what they wait for. */
export async function failingIn(client: Client, ...workflows: readonly string[]): Promise<FailingActivity[]> {
  const found: FailingActivity[] = [];
  let waiting: readonly string[] = workflows;
  for (let asked = new Set<string>(); waiting.length > 0 && asked.size < mostAsked;) {
    asked = new Set([...asked, ...waiting]);
    const answers = await Promise.all(waiting.map((workflow) => pendingOf(client, workflow)));
    found.push(...answers.flatMap((one) => one.failing));
    waiting = [...new Set(answers.flatMap((one) => one.children))].filter((child) => !asked.has(child));
  }
  return found.sort((a, b) => b.attempt - a.attempt);
}

async function pendingOf(
  client: Client,
  workflow: string,
): Promise<{ failing: FailingActivity[]; children: string[] }> {
  const described = await client.workflow
    .getHandle(workflow)
    .describe()
    .catch(() => undefined);
  if (described?.status.name !== 'RUNNING') return { failing: [], children: [] };
  const { pendingActivities, pendingChildren } = described.raw;
  return {
    failing: (pendingActivities ?? []).flatMap(({ activityType, attempt, lastFailure }) => {
      if (!lastFailure) return [];
      const type =
        lastFailure.applicationFailureInfo?.type ?? (lastFailure.timeoutFailureInfo ? 'Timeout' : 'Unclassified');
      const advice = failures[type as FailureType]?.advice ?? unclassified;
      const message = lastFailure.message ?? '';
      return [{ workflow, activity: activityType?.name ?? '', attempt: attempt ?? 1, type, message, advice }];
    }),
    children: (pendingChildren ?? []).flatMap(({ workflowId }) => (workflowId ? [workflowId] : [])),
  };
}

const unclassified =
  'It is tried again by itself. If it goes on, look at the log of the worker, and whether `causeway worker` runs.';

const mostShown = 5;

/** What is said next begins a new sentence. */
const whole = (message: string): string => (/[.!?]$/.test(message) ? message : `${message}.`);

export function failingText(all: readonly FailingActivity[]): string | undefined {
  if (all.length === 0) return undefined;
  const lines = all
    .slice(0, mostShown)
    .map(
      ({ workflow, activity, attempt, type, message, advice }) =>
        `  ${activity} of ${workflow}, attempt ${attempt} (${type}): ${whole(message)} ${advice}`,
    );
  const more = all.length > mostShown ? [`  … and ${all.length - mostShown} more`] : [];
  return ['Failing now, and tried again:', ...lines, ...more].join('\n');
}
