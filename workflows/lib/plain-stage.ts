// A stage as it was before stages had gates: histories recorded then replay by it.
import { condition, getExternalWorkflowHandle, setHandler } from '@temporalio/workflow';
import type { StageInput } from '../children/cutover-stage.ts';
import { advanceStageSignal, approveSignal, stageProgressSignal } from '../contract.ts';
import { failure } from './reason.ts';
import { introduce } from './report.ts';
import { routing } from '../proxies.ts';

/** Waits for its approval, moves the traffic, soaks. */
export async function plainStage({
  migration,
  root,
  index,
  stage,
  collections,
  approvalSeconds,
  keepRouting,
}: Omit<StageInput, 'watch'>): Promise<void> {
  let approved = !stage.approve;
  let advanced = false;
  setHandler(
    approveSignal,
    (payload) => {
      if ((payload as { gate?: string } | null)?.gate === stage.name) approved = true;
    },
    { description: `Open the gate of ${stage.name}` },
  );
  setHandler(advanceStageSignal, () => void (advanced = true), { description: 'End the soak now' });
  const tell = (waitingFor: string | null, routes = {}) =>
    getExternalWorkflowHandle(root).signal(stageProgressSignal, { stage: index, waitingFor, routing: routes });

  if (!approved) {
    const gate = `approve {"gate": "${stage.name}"}`;
    introduce(migration, stage.name, `## ${stage.name}\n\nWaits for \`${gate}\` for at most ${approvalSeconds} s.`);
    await tell(gate);
    if (!(await condition(() => approved, approvalSeconds * 1000))) {
      throw failure({
        type: 'ApprovalTimedOut',
        message: `Nobody approved ${stage.name} within ${approvalSeconds} s.`,
      });
    }
  }
  const routes = keepRouting
    ? {}
    : await routing.route.executeWithOptions({ summary: `${stage.percentage} %, writes ${stage.writes}` }, [
        { collections, percentage: stage.percentage, writeMode: stage.writes, reason: stage.name },
      ]);
  introduce(
    migration,
    stage.name,
    `## ${stage.name}\n\n${stage.percentage} % of reads on the new system, writes: ${stage.writes}. Soaks for ${stage.soakSeconds} s; \`advanceStage\` ends it.`,
  );
  await tell(null, routes);
  await condition(() => advanced, stage.soakSeconds * 1000);
}
