// Copies one collection: chunks in parallel, each as a chain of segments through extract, transform and load.
import { condition, continueAsNew, getExternalWorkflowHandle, workflowInfo } from '@temporalio/workflow';
import type { ChunkPlan, CollectionPlan } from '../../activities/plan.ts';
import type { Settings } from '../../core/settings.ts';
import { withCounts, type CollectionProgress } from '../../core/state.ts';
import { progressSignal } from '../contract.ts';
import { copyChunk, type ChunkContext } from '../lib/copy-chunk.ts';
import { failure, isCancellation, reasonOf, type Reason } from '../lib/reason.ts';
import { introduce } from '../lib/report.ts';
import { long } from '../proxies.ts';

export interface CopyInput {
  readonly migration: string;
  readonly root: string;
  readonly plan: CollectionPlan;
  readonly settings: Settings;
  /** Unique keys are settled once, in the first run. */
  readonly elected?: boolean;
}

export async function copyCollection(input: CopyInput): Promise<CollectionProgress> {
  const { plan, settings } = input;
  introduce(input.migration, 'data', `Planning ${plan.collection}`, plan.collection);
  const { chunks, before, documents } = await long.planChunks(plan.collection, [...plan.sources], settings);
  if (input.elected !== true) {
    const ids = Object.fromEntries(chunks.map((chunk) => [chunk.source, chunk.collectionId]));
    await long.electUnique(plan.collection, ids, { zone: settings.zone, providers: settings.providers });
  }
  const tally = { ...before, chunksDone: chunks.filter((chunk) => chunk.done).length };
  const failed = new Map<ChunkPlan, Reason>();
  const tell = progressTeller(input, chunks.length, documents, tally);
  const context: ChunkContext = {
    plan,
    settings,
    renew: () => workflowInfo().continueAsNewSuggested,
    loaded: (counts) => {
      tally.documents += counts.documents;
      tally.loaded += counts.loaded;
      tally.quarantined += counts.quarantined;
      tally.skipped += counts.skipped;
      tell();
    },
  };
  tell(true);

  const waiting = chunks.filter((chunk) => !chunk.done);
  let halfway = false;
  const lane = async () => {
    for (let chunk = waiting.shift(); chunk && !context.renew(); chunk = waiting.shift()) {
      try {
        if (await copyChunk(chunk, context)) tally.chunksDone++;
        else halfway = true;
        tell();
      } catch (error) {
        if (isCancellation(error)) throw error;
        // A chunk that fails for good is reported and does not stop the others.
        failed.set(chunk, reasonOf(error));
      }
    }
  };
  await Promise.all(Array.from({ length: settings.parallelism }, lane));
  if ((halfway || waiting.length > 0) && failed.size === 0)
    await continueAsNew<typeof copyCollection>({ ...input, elected: true });
  tell(true);
  await condition(() => !tell.busy());
  if (failed.size > 0) throw failure(describe(plan.collection, chunks.length, failed));
  return progressOf(tally, chunks.length, documents);
}

type Tally = { documents: number; loaded: number; quarantined: number; skipped: number; chunksDone: number };

const progressOf = (tally: Tally, chunksTotal: number, source: number): CollectionProgress =>
  withCounts({ source, chunksDone: tally.chunksDone, chunksTotal }, tally);

/** Tells the root at every twentieth of the way and every finished chunk: never once per segment. */
function progressTeller(input: CopyInput, chunksTotal: number, source: number, tally: Tally) {
  let told = '';
  let sending = 0;
  const tell = (always = false) => {
    const twentieth = source === 0 ? 20 : Math.floor((tally.documents * 20) / source);
    const step = `${twentieth}/${tally.chunksDone}`;
    if (!always && step === told) return;
    told = step;
    const progress = progressOf(tally, chunksTotal, source);
    introduceProgress(input, progress);
    sending++;
    void getExternalWorkflowHandle(input.root)
      .signal(progressSignal, input.plan.collection, progress)
      .catch(() => undefined)
      .finally(() => sending--);
  };
  tell.busy = () => sending > 0;
  return tell;
}

function introduceProgress(input: CopyInput, progress: CollectionProgress): void {
  const done = progress.loaded + progress.quarantined + progress.skipped;
  const rows = Object.entries({ ...progress, done }).map(([what, count]) => `| ${what} | ${count} |`);
  introduce(
    input.migration,
    'data',
    [`## ${input.plan.collection}`, '', '| | |', '|---|---:|', ...rows].join('\n'),
    input.plan.collection,
  );
}

function describe(collection: string, total: number, failed: ReadonlyMap<ChunkPlan, Reason>): Reason {
  const reasons = [...failed.values()];
  const first = reasons.find((reason) => reason.type === 'PermissionDenied') ?? reasons[0]!;
  const type = reasons.every((reason) => reason.type === first.type) ? first.type : 'ChunksFailed';
  const chunks = [...failed.keys()].map((chunk) => `${chunk.source}/${chunk.chunk}`).join(', ');
  return {
    type,
    message: `${failed.size} of ${total} chunks of ${collection} failed (${chunks}); the others are done. ${first.message}`,
  };
}
