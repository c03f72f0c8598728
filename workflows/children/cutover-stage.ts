// One stage of the cutover: wait for its approval, move the traffic, let it soak.
import { condition, getExternalWorkflowHandle, setHandler } from '@temporalio/workflow';
import type { Stage } from '../../core/settings.ts';
import { advanceStageSignal, approveSignal, stageProgressSignal } from '../contract.ts';
import { failure } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { routing } from '../proxies.ts';

export interface StageInput {
  readonly migration: string;
  readonly root: string;
  readonly index: number;
  readonly stage: Stage;
  readonly collections: readonly string[];
  readonly approvalSeconds: number;
  /** The stage goes on after a pause, and an operator has moved its traffic: it is not moved back. */
  readonly keepRouting: boolean;
}

export async function cutoverStage({
  migration,
  root,
  index,
  stage,
  collections,
  approvalSeconds,
  keepRouting,
}: StageInput): Promise<void> {
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
