// What was sent to a workflow of the tree and has no effect there: the root is told, so that it stands in `status` and on the root's page.
import { getExternalWorkflowHandle, log, workflowInfo } from '@temporalio/workflow';
import { noticeSignal, rootId } from '../contract.ts';

/** `order`: what somebody sent; never its payload. */
export function tellUseless(order: string, reason: string): void {
  const { workflowId } = workflowInfo();
  log.warn('order without effect', { order, reason });
  const [first, name] = workflowId.split('/');
  if (first !== 'migration' || !name || workflowId === rootId(name)) return;
  void getExternalWorkflowHandle(rootId(name))
    .signal(noticeSignal, { order: `${order} to ${workflowId}`, reason })
    .catch(() => undefined);
}
