// Steps that failed and wait to be tried again by themselves: an order to retry ends their waiting, wherever in the tree they are.
import { Context } from '@temporalio/activity';

/** Temporal's pending activity: nobody has taken it. */
const scheduled = 1;

/** Of these workflows and all below them. Names of the steps that are tried at once now; their attempts are counted anew. */
export async function endBackOffs(workflowIds: readonly string[]): Promise<string[]> {
  const { client, info } = Context.current();
  const { namespace } = client.options;
  const ended: string[] = [];
  const due = [...workflowIds];
  for (let i = 0; i < due.length; i++) {
    const workflowId = due[i]!;
    const description = await client.workflow
      .getHandle(workflowId)
      .describe()
      .catch(() => undefined);
    if (description?.status.name !== 'RUNNING') continue;
    const { pendingActivities, pendingChildren } = description.raw;
    for (const child of pendingChildren ?? []) if (!due.includes(child.workflowId!)) due.push(child.workflowId!);
    for (const { activityId, activityType, state, attempt } of pendingActivities ?? []) {
      if (state !== scheduled || (attempt ?? 1) < 2 || activityId === info.activityId) continue;
      const execution = { workflowId, runId: description.runId };
      await client.workflowService.resetActivity({
        namespace,
        execution,
        id: activityId!,
        identity: client.options.identity,
      });
      ended.push(activityType?.name ?? activityId!);
    }
  }
  return ended;
}
