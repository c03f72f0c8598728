// Phase 4: reads move step by step, then writes.
import {
  CancellationScope,
  condition,
  executeChild,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { retreatFrom, type StageOutcome } from '../../core/cutover.ts';
import { incidentOrder, type IncidentOrder } from '../../core/orders.ts';
import {
  advanceStageSignal,
  approveSignal,
  reportIncidentSignal,
  stageProgressSignal,
  rootId,
  type MigrationInput,
} from '../contract.ts';
import { cutoverStage } from '../children/cutover-stage.ts';
import { decommission } from '../children/decommission.ts';
import { tellUseless } from '../lib/notices.ts';
import { goBack } from '../lib/go-back.ts';
import { failure, reasonOf } from '../lib/reason.ts';
import { alone } from '../lib/alone.ts';
import { reaching } from '../lib/renewing-child.ts';
import { introduce } from '../lib/report.ts';
import { control, long, routing } from '../proxies.ts';
import { captureChanges } from '../lib/start-capture.ts';

/** `from`: the first stage that has not passed yet, and whether an operator has routed it otherwise since it began. */
export async function cutoverPhase(
  input: MigrationInput,
  collections: readonly string[],
  from: { readonly stage: number; readonly keepRouting: boolean },
): Promise<void> {
  const course: Course = { stage: from.stage, running: undefined, goes: false, incident: undefined };
  const scope = new CancellationScope();
  listen(course, input, scope);
  try {
    await scope.run(() => runStages(course, input, collections, from));
  } catch (error) {
    if (course.incident === undefined) throw error;
  }
  // What no stage could judge takes the traffic back from wherever the phase was.
  if (course.incident !== undefined) await CancellationScope.nonCancellable(() => flee(course, input));
}

/** Where the phase is, and what it has been told. */
interface Course {
  /** The stage that runs, or comes next. */
  stage: number;
  /** Id of the stage's workflow, while there is one. */
  running: string | undefined;
  /** The old system may go. */
  goes: boolean;
  /** Reported while no stage could hear it. */
  incident: IncidentOrder['kind'] | undefined;
}

/** Orders come to the root; the phase passes on what the running stage must hear. */
function listen(course: Course, input: MigrationInput, scope: CancellationScope): void {
  const stage = () => (course.running === undefined ? undefined : getExternalWorkflowHandle(course.running));
  const heard = async (sent: Promise<void> | undefined): Promise<boolean> =>
    sent?.then(
      () => true,
      () => false,
    ) ?? false;
  setHandler(approveSignal, async (payload) => {
    if (course.running === undefined && (payload as { gate?: unknown } | null)?.gate === 'decommission')
      course.goes = true;
    else if (!(await heard(stage()?.signal(approveSignal, payload)))) tellUseless('approve', noStage);
  });
  setHandler(advanceStageSignal, async () => {
    if (!(await heard(stage()?.signal(advanceStageSignal)))) tellUseless('advanceStage', noStage);
  });
  setHandler(reportIncidentSignal, async (payload) => {
    const read = incidentOrder.safeParse(payload);
    if (!read.success || (await heard(stage()?.signal(reportIncidentSignal, payload)))) return;
    if (!input.settings.policy.criticalErrors[read.data.kind]) return;
    course.incident = read.data.kind;
    scope.cancel();
  });
}

const noStage = 'No stage of the cutover runs that it could reach.';

async function runStages(
  course: Course,
  input: MigrationInput,
  collections: readonly string[],
  from: { readonly stage: number; readonly keepRouting: boolean },
): Promise<void> {
  const root = rootId(input.name);
  const { stages, approvalSeconds } = input.settings;
  await captureChanges(input);
  if (from.stage === 0 && !from.keepRouting) await bothSides(input, collections);
  let accepted = false;
  for (const [index, stage] of stages.entries()) {
    if (index < from.stage) continue;
    introduce(
      input.name,
      'cutover',
      stages
        .map(
          (one, i) =>
            `${i < index ? '✓' : i === index ? '**→**' : '·'} ${one.name}: ${one.percentage} %, writes ${one.writes}`,
        )
        .join('\n\n'),
    );
    const workflowId = `${workflowInfo().workflowId}/${stage.name}`;
    course.stage = index;
    course.running = workflowId;
    const outcome = await reaching(workflowId, () =>
      alone(workflowId, () =>
        executeChild(cutoverStage, {
          workflowId,
          args: [
            {
              migration: input.name,
              root,
              index,
              stage,
              collections,
              approvalSeconds,
              keepRouting: index === from.stage && from.keepRouting,
              accepted,
              watch: input.settings,
            },
          ],
          staticSummary: stage.name,
        }),
      ),
    );
    course.running = undefined;
    accepted = outcome.is === 'passed' && outcome.byOperator === true;
    // Begun, it is not left half done, whatever is ordered meanwhile.
    if (outcome.is === 'back') await CancellationScope.nonCancellable(() => leave(input, index, outcome));
    await control.passStage(index + 1);
    course.stage = index + 1;
    await getExternalWorkflowHandle(root).signal(stageProgressSignal, {
      stage: index + 1,
      waitingFor: null,
      routing: {},
    });
  }
  if (stages.at(-1)?.writes === 'new_system') await armPolicies();
  if (input.settings.decommission) await retireOldSystem(input, stages.length, () => course.goes);
}

/** All traffic goes back: an incident needs no evidence beside it. */
async function flee({ stage, incident }: Course, input: MigrationInput): Promise<never> {
  const reasons = [`incident reported: ${incident!}`];
  const index = Math.min(stage, input.settings.stages.length - 1);
  await control.recordAudit('decision', { decision: 'rollback, immediate', reason: reasons[0]!, severity: 'critical' });
  return leave(input, index, { is: 'back', mode: 'immediate', reasons });
}

/** What is not armed, and why, stands in the audit log; `status` says it. It holds nothing up: the data has been moved. */
async function armPolicies(): Promise<void> {
  await long.armPolicies
    .executeWithOptions({ summary: "TimescaleDB's policies" }, [{ dropOlder: false }])
    .catch((error: unknown) => {
      if (isCancellation(error)) throw error;
      log.warn(`TimescaleDB's policies are not armed: ${reasonOf(error).message}`);
    });
}

/** The old system is kept until somebody says that it may go. */
async function retireOldSystem(input: MigrationInput, stage: number, goes: () => boolean): Promise<void> {
  const { snapshotDirectory } = input.settings;
  const tell = (waitingFor: string | null) =>
    getExternalWorkflowHandle(rootId(input.name)).signal(stageProgressSignal, { stage, waitingFor, routing: {} });
  await tell('approve {"gate": "decommission"}');
  await condition(goes);
  await tell(null);
  await executeChild(decommission, {
    workflowId: `${rootId(input.name)}/decommission`,
    args: [{ migration: input.name, snapshotDirectory, removeLedger: false }],
    staticSummary: 'the end of the old system',
  });
}

/** The stage's traffic goes back; then the phase fails with the reasons, and the migration waits for somebody. */
async function leave(
  input: MigrationInput,
  index: number,
  outcome: Extract<StageOutcome, { is: 'back' }>,
): Promise<never> {
  const { stages } = input.settings;
  const { stage, standing } = retreatFrom(stages, index, outcome.mode);
  const to = { stage, ...standing, immediate: outcome.mode === 'immediate' };
  const { failed, routing: routes } = await goBack(input.name, [{ undo: 'cutover', to }], input.settings);
  if (failed) throw failure(failed.reason);
  await getExternalWorkflowHandle(rootId(input.name)).signal(stageProgressSignal, {
    stage,
    waitingFor: null,
    routing: routes ?? {},
    back: true,
  });
  throw failure({
    type: 'StageFailed',
    message: `${stages[index]!.name} went back to ${to.percentage} % of reads, writes ${to.writes} (${outcome.mode}): ${outcome.reasons.join('; ')}`,
  });
}

/** Dual write on, then a last look that nothing is under way: from here on a stage changes only where reads go. */
async function bothSides(input: MigrationInput, collections: readonly string[]): Promise<void> {
  const routes = await routing.route.executeWithOptions({ summary: 'writes go to both systems' }, [
    { collections, percentage: 0, writeMode: 'dual_write', unmoved: true, reason: 'dual write on' },
  ]);
  await getExternalWorkflowHandle(rootId(input.name)).signal(stageProgressSignal, {
    stage: 0,
    waitingFor: null,
    routing: routes,
  });
  await long.awaitCaughtUp.executeWithOptions({ summary: 'final sync' }, []);
}
