// Activities that touch no store: a migration of two small collections in which everything goes well. A test replaces what it is about.
import { Context } from '@temporalio/activity';
import type { Activities } from '../../activities/index.ts';
import type { CollectionPlan } from '../../activities/plan.ts';
import type { RouteOrder } from '../../activities/route.ts';
import type { WatchOrder, Watched } from '../../activities/gates.ts';
import { nothingKnown } from '../../core/lifecycle.ts';
import type { Route, WriteMode } from '../../core/state.ts';

/** Any of the activities, by the name and with the arguments and the result that the workflows know. */
export type Stubs = {
  [Name in keyof Activities]?: (
    ...args: Parameters<Activities[Name]>
  ) => Awaited<ReturnType<Activities[Name]>> | ReturnType<Activities[Name]>;
};

/** What `extractSegment` names as the host and the process that have the segment: no other test's. */
export const stubQueues = { host: `stub-host-${process.pid}`, process: `stub-process-${process.pid}` };

const collections: readonly CollectionPlan[] = [
  {
    collection: 'token_usage',
    class: 'historical',
    after: [],
    sources: ['token_usage'],
    outside: [],
    documents: 10,
  },
  { collection: 'sessions', class: 'active', after: [], sources: ['sessions'], outside: ['redis'], documents: 10 },
];

/** Until whoever asked for it wants it no more. Its heartbeats are `classified`'s. */
export async function untilCancelled(): Promise<never> {
  return Context.current().cancelled;
}

/** A fresh table, with a routing of its own. */
export function allGoesWell(): Stubs {
  const routes: Record<string, Route> = {};
  const move = (
    names: readonly string[],
    to: { percentage?: number | undefined; writeMode?: WriteMode | undefined; onlyBack?: boolean },
  ) => {
    for (const name of names) {
      const { percentage, writeMode, epoch } = routes[name] ?? { percentage: 0, writeMode: 'old' as const, epoch: 0 };
      routes[name] = {
        percentage: to.onlyBack ? Math.min(to.percentage ?? 100, percentage) : (to.percentage ?? percentage),
        writeMode: to.writeMode ?? writeMode,
        epoch: epoch + 1,
      };
    }
    return Object.fromEntries(names.map((name) => [name, routes[name]!]));
  };
  const closed = { closed: [], notClosed: [] };
  return {
    readKnown: () => nothingKnown,
    startedWith: () => ({ settings: null, collections: [] }),
    endBackOffs: () => [],
    preflight: () => [{ name: 'source', status: 'passed', detail: 'a stub' }],
    estimateVolume: () => ({
      total_documents: 20,
      total_size_gb: 0,
      estimated_migration_hours: 0,
      parallel_workers: 4,
      recommended_window: '0.0 hours',
      documents: Object.fromEntries(collections.map((one) => [one.collection, one.documents])),
    }),
    planCollections: (settings) =>
      collections.filter((one) => settings.collections?.includes(one.collection) !== false),
    makePostgres: () => ({ made: ['api_usage'], timescale: false }),
    makeMongo: () => [],
    prepareRedis: () => ({ mode: 'single', warnings: [] }),
    recordCheckpoint: () => new Date().toISOString(),
    planChunks: (_collection, sources) => ({
      chunks: sources.map((source, i) => ({
        source,
        collectionId: i + 1,
        chunk: 0,
        upTo: null,
        after: null,
        segment: 0,
        done: false,
        averageBytes: 100,
      })),
      before: { documents: 0, loaded: 0, quarantined: 0, skipped: 0 },
      documents: 10,
    }),
    extractSegment: (order) => ({
      reference: { path: 'a-segment', documents: 10, bytes: 1000 },
      after: order.after,
      lastId: 'last',
      endsChunk: true,
      version: '1',
      queues: stubQueues,
    }),
    transformSegment: () => ({ loaded: 9, quarantined: 1, skipped: 0 }),
    loadRows: () => ({ repeated: false, stale: 0 }),
    validateCollection: () => ({ overall_status: 'passed', individual_results: {} }),
    openCapture: () => ({ lanes: 1, images: 'post-images', openedAt: '1.1' }),
    gapOf: () => undefined,
    captureStatus: () => ({ position: '1.1', lagMs: 0, gap: null, events: 0 }),
    readChanges: untilCancelled,
    applyLane: untilCancelled,
    tendTargets: untilCancelled,
    armReverse: (settings) => ({ clashSeconds: 10, configurationDirectory: 'configuration', ...settings }),
    readReverseChanges: untilCancelled,
    applyReverse: untilCancelled,
    reverseStatus: () => undefined,
    writesStand: () =>
      Object.keys(routes).length === 0
        ? undefined
        : {
            collections: Object.keys(routes),
            moved: Object.keys(routes).filter((name) => routes[name]!.writeMode === 'new_system'),
          },
    route: ({ collections: names, ...to }: RouteOrder) => move(names, to),
    routesNow: () => routes,
    shutGates: () => [],
    watchStage: quietly,
    switchToNew: (order) => ({
      routes: move(order.collections, { percentage: order.percentage, writeMode: 'new_system' }),
      pauseMs: 10,
      steps: {},
      verified: 0,
      leftover: 0,
      ...closed,
    }),
    switchBack: (order) => ({
      routes: move(order.collections, order),
      pauseMs: 10,
      steps: {},
      verified: 0,
      leftover: 0,
      ...closed,
    }),
    armPolicies: () => ({ armed: undefined, left: [] }),
    performanceGate: () => ({ passed: true, reasons: [], resultId: 1, timestamp: new Date().toISOString() }),
    runPerformanceTests: () => ({ id: 1, overall_status: 'passed', against_old: 'no_slower', regressed: [] }),
  };
}

/** Watches for as long as it is asked to, and finds nothing. */
export async function quietly(order: WatchOrder): Promise<Watched> {
  const { cancelled } = Context.current();
  await Promise.race([Context.current().sleep(order.ms), cancelled]).catch(() => undefined);
  return { before: order.state, evidence: order.recent };
}
