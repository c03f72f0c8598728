// Phase 3: static, then historical, then active data; then validation.
import { executeChild, workflowInfo } from '@temporalio/workflow';
import { rootId, type MigrationInput } from '../contract.ts';
import { copyCollection } from '../children/copy-collection.ts';
import { validation } from '../children/validation.ts';
import { captureChanges } from '../lib/start-capture.ts';
import { failure, isCancellation, reasonOf, type Reason } from '../lib/reason.ts';
import { alone } from '../lib/alone.ts';
import { reaching } from '../lib/renewing-child.ts';
import { introduce } from '../lib/report.ts';
import { control, long } from '../proxies.ts';

/** A collection that fails does not stop the others, except those that refer to it; all failures are reported together. */
export async function dataPhase(input: MigrationInput): Promise<void> {
  const root = rootId(input.name);
  const plans = await control.planCollections(input.settings);
  introduce(
    input.name,
    'data',
    [
      '| collection | class | documents |',
      '|---|---|---:|',
      ...plans.map((plan) => `| ${plan.collection} | ${plan.class} | ${plan.documents} |`),
    ].join('\n'),
  );
  // The stream is opened, and its position durable, before the first document is read (invariant I1).
  await captureChanges(input);
  const failed = new Map<string, Reason>();
  for (const plan of plans) {
    const waitsFor = plan.after.find((other) => failed.has(other));
    if (waitsFor !== undefined) {
      failed.set(plan.collection, { type: 'ChunksFailed', message: `not begun, because ${waitsFor} failed` });
      continue;
    }
    try {
      const workflowId = `${root}/copy/${plan.collection}`;
      const copy = () =>
        executeChild(copyCollection, {
          workflowId,
          args: [{ migration: input.name, root, plan, settings: input.settings }],
          staticSummary: `${plan.class}: ${plan.documents} documents`,
        });
      await reaching(workflowId, () => alone(workflowId, copy));
      await long.settleCollection(plan.collection, input.settings.configurationDirectory);
    } catch (error) {
      if (isCancellation(error)) throw error;
      failed.set(plan.collection, reasonOf(error));
    }
  }
  if (failed.size > 0) throw failure(worst(failed));
  await long.awaitCaughtUp.executeWithOptions({ summary: 'everything written so far is captured' }, []);
  const workflowId = `${workflowInfo().workflowId}/validation`;
  const args: Parameters<typeof validation> = [input.name, plans.map((plan) => plan.collection), input.settings];
  await alone(workflowId, () => executeChild(validation, { workflowId, args }));
}

/** One failure for the phase: the class of the first, the sentences of all. */
function worst(failed: ReadonlyMap<string, Reason>): Reason {
  const reasons = [...failed.entries()];
  const first = reasons.find(([, reason]) => reason.type === 'PermissionDenied') ?? reasons[0]!;
  return {
    type: first[1].type,
    message: reasons.map(([collection, reason]) => `${collection}: ${reason.message}`).join(' '),
  };
}
