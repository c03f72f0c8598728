// The steps that touch the world, as Temporal knows them. Workflows import only the types from here.
import { activityInfo, Context, heartbeat } from '@temporalio/activity';
import { routesOf } from '../control/routing.ts';
import type { Settings } from '../core/settings.ts';
import type { Phase } from '../core/story.ts';
import { versionOf, millisecondsOf } from '../stores/mongodb/source.ts';
import { decommissionActivities } from './decommission/index.ts';
import { checkpointActivities } from './checkpoint/index.ts';
import { captureControlActivities, type captureActivities } from './capture/index.ts';
import type { GateLimits } from '../core/cutover.ts';
import { gatesOf, watchStage, type WatchOrder } from './gates.ts';
import { reverseControlActivities, type reverseActivities } from './reverse/index.ts';
import { electUnique, losersOf } from './elect.ts';
import { sampleEvidence, type EvidenceOrder } from './evidence.ts';
import type { OpenReads } from './extract.ts';
import { extractSegment, type ExtractOrder, type ExtractPosition } from './extract.ts';
import { endBackOffs } from './back-off.ts';
import { classified } from './failing.ts';
import { loadOutside, loadPostgres, type LoadOrder } from './load.ts';
import { planChunks, planCollections } from './plan.ts';
import { Way } from './make-way.ts';
import { performanceGate, type GateOrder } from './performance/gate.ts';
import { runPerformanceTests, type PerformanceOrder } from './performance/tester.ts';
import { preflight } from './preflight/index.ts';
import {
  prepareControl,
  recordAudit,
  recordCheckpoint,
  rehearseRollback,
  undoPreparation,
  type CheckpointOrder,
} from './record.ts';
import { armPolicies, type ArmOrder } from './policies.ts';
import { inForce } from './policy.ts';
import { retryQuarantined, type RetryOrder } from './quarantine.ts';
import type { Resources } from './resources.ts';
import { startedWith } from './started-with.ts';
import { route, undoCutover, type RouteOrder } from './route.ts';
import { makeMongo, makePostgres, prepareRedis, settleCollection, undoData, undoSchema, mayRemove } from './targets.ts';
import { transformSegment, type TransformOrder } from './transform.ts';
import { validateCollection, verdictOf, type ValidationOrder } from './validate.ts';
import { verifyActivities } from './verify/index.ts';
import { knownOf, noteUndoing, noteUndone, passStage, writeStanding } from '../control/lifecycle.ts';
import type { Standing } from '../core/lifecycle.ts';
import type { UndoStep } from '../core/story.ts';
import { estimate } from './estimate.ts';

/** The source's own time, in ms: what "now" means to transforms that are not part of a read. */
async function sourceTime({ source }: Resources): Promise<number> {
  const answer = await source.db.command({ ping: 1 });
  return millisecondsOf(versionOf(answer['operationTime']));
}

const beat = () => heartbeat();

/** Light work: any worker. */
export function controlActivities(resources: Resources) {
  const own = classified({
    preflight: (name: string, settings: Settings, until?: Phase) => preflight(resources, name, settings, until),
    searchAttributesKnown: () => Promise.resolve(resources.attributes),
    startedWith: () => startedWith(resources),
    estimateVolume: (settings: Settings) => estimate(resources, settings),
    prepareControl: (name: string, standing: Standing) => prepareControl(resources, name, standing),
    rehearseRollback: () => rehearseRollback(resources),
    recordCheckpoint: (order: CheckpointOrder) => recordCheckpoint(resources, order),
    endBackOffs: (workflowIds: readonly string[]) => endBackOffs(workflowIds),
    mayRemove: (what: string) => mayRemove(resources, what),
    readKnown: () => knownOf(resources.postgres),
    writeStanding: (standing: Standing) => writeStanding(resources.postgres, standing),
    passStage: async (stage: number) => void (await passStage(resources.postgres, stage)),
    noteUndoing: (steps: readonly UndoStep[]) => noteUndoing(resources.postgres, steps),
    noteUndone: (step: UndoStep) => noteUndone(resources.postgres, step),
    recordAudit: (action: string, detail: Record<string, unknown>) => recordAudit(resources, action, detail),
    makePostgres: (collections: string[]) => makePostgres(resources, collections),
    makeMongo: (collections: string[]) => makeMongo(resources, collections),
    prepareRedis: () => prepareRedis(resources),
    planCollections: (settings: Settings) => planCollections(resources, settings),
    planChunks: (collection: string, sources: string[], settings: Settings) =>
      planChunks(resources, collection, sources, settings, beat),
    electUnique: async (
      collection: string,
      ids: Record<string, number>,
      settings: Pick<Settings, 'zone' | 'providers'>,
    ) =>
      electUnique(
        resources,
        collection,
        new Map(Object.entries(ids)),
        { ...(await inForce(resources.postgres, settings)), asOf: await sourceTime(resources) },
        beat,
      ),
    settleCollection: (collection: string, configurationDirectory: string) =>
      settleCollection(resources, collection, configurationDirectory),
    validateCollection: async (
      order: Omit<ValidationOrder, 'transform'> & { transform: Pick<Settings, 'zone' | 'providers'> },
    ) => {
      const transform = { ...(await inForce(resources.postgres, order.transform)), asOf: await sourceTime(resources) };
      return verdictOf(await validateCollection(resources, { ...order, transform }, beat));
    },
    sampleEvidence: (order: EvidenceOrder) => sampleEvidence(resources, order, beat),
    retryQuarantined: (order: RetryOrder) =>
      retryQuarantined(resources, order, () => Context.current().cancellationSignal.aborted),
    runPerformanceTests: async (
      order: Omit<PerformanceOrder, 'transform'> & { transform: Pick<Settings, 'zone' | 'providers'> },
    ) => {
      const transform = { ...(await inForce(resources.postgres, order.transform)), asOf: await sourceTime(resources) };
      const report = await runPerformanceTests(resources, { ...order, transform }, beat);
      // Plans and figures stand in performance_results; history keeps the verdict.
      const { id, overall_status, against_old, regressions } = report;
      return { id, overall_status, against_old, regressed: regressions.map((one) => one.what) };
    },
    performanceGate: (order: GateOrder) => performanceGate(resources, order),
    route: (order: RouteOrder) => route(resources, order),
    shutGates: (limits: GateLimits) => gatesOf(resources, limits),
    watchStage: (order: WatchOrder) => watchStage(resources, order),
    routesNow: () => routesOf(resources.postgres),
    armPolicies: (order: ArmOrder) => armPolicies(resources, order),
    undoPreparation: (name: string) => undoPreparation(resources, name),
    undoSchema: () => undoSchema(resources),
    undoData: () => undoData(resources, beat),
    undoCutover: () => undoCutover(resources),
  });
  return {
    ...own,
    ...captureControlActivities(resources),
    ...reverseControlActivities(resources),
    ...checkpointActivities(resources),
    ...decommissionActivities(resources),
    ...verifyActivities(resources),
  };
}

/** Reading the source: opens ranges, and keeps them open for the process that serves them. */
export function extractActivities(resources: Resources, reads: OpenReads) {
  const way = new Way(resources);
  return classified(
    {
      extractSegment: async (order: ExtractOrder) => {
        const resumeAt = activityInfo().heartbeatDetails as ExtractPosition | undefined;
        const cancelled = () => Context.current().cancellationSignal.aborted;
        await way.make(order.lagMs, { heartbeat: () => heartbeat(resumeAt), cancelled });
        return extractSegment(resources, reads, order, {
          heartbeat: (position) => heartbeat(position),
          resumeAt,
          cancelled,
        });
      },
    },
    { beats: false },
  );
}

/** Work on the segments of one host. */
export function segmentActivities(resources: Resources) {
  return classified({
    transformSegment: async (order: TransformOrder) =>
      transformSegment(
        resources,
        { ...order, settings: await inForce(resources.postgres, order.settings) },
        await losersOf(resources, order.collectionId),
      ),
  });
}

/** Loading into one store, from the segments of one host. */
export function loadActivities(resources: Resources) {
  return classified({
    loadDocuments: (order: LoadOrder) => loadOutside(resources, order, 'mongodb', beat),
    loadKeys: (order: LoadOrder) => loadOutside(resources, order, 'redis', beat),
    loadRows: (order: LoadOrder) => {
      const { attempt, workflowExecution, startedTimestampMs } = {
        ...activityInfo(),
        startedTimestampMs: activityInfo().currentAttemptScheduledTimestampMs,
      };
      return loadPostgres(resources, order, {
        attempt,
        runId: workflowExecution?.runId ?? '',
        startedAt: new Date(startedTimestampMs),
        heartbeat: beat,
      });
    },
  });
}

export type Activities = ReturnType<typeof controlActivities> &
  ReturnType<typeof extractActivities> &
  ReturnType<typeof segmentActivities> &
  ReturnType<typeof loadActivities> &
  ReturnType<typeof captureActivities> &
  ReturnType<typeof reverseActivities>;
