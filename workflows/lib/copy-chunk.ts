// One chunk: its segments one after another through extract, transform and load, the next read while the last is loaded.
import type { Extracted } from '../../activities/extract.ts';
import type { ChunkPlan, CollectionPlan } from '../../activities/plan.ts';
import type { Settings } from '../../core/settings.ts';
import { extractAnywhere, extractIn, long, onHost } from '../proxies.ts';
import { isCancellation, isTimeout, reasonOf } from './reason.ts';

export interface ChunkContext {
  readonly plan: CollectionPlan;
  readonly settings: Settings;
  /** The history has grown long: stop at the next segment. */
  readonly renew: () => boolean;
  readonly loaded: (counts: { documents: number; loaded: number; quarantined: number; skipped: number }) => void;
}

/** Segments of one chunk on their way at the same time: one being read, one being transformed, one being loaded. */
const inFlight = 3;
const restarts = 5;

/** Returns whether the chunk is done; false when it stopped for renewal. A lost spool restarts it where the target's batches end. */
export async function copyChunk(chunk: ChunkPlan, context: ChunkContext): Promise<boolean> {
  let at = chunk;
  for (let attempt = 1; ; attempt++) {
    const begun = at.segment;
    try {
      return await copyFrom(at, context);
    } catch (error) {
      if (isCancellation(error) || attempt >= restarts || !(isTimeout(error) || reasonOf(error).type === 'SpoolLost'))
        throw error;
      const plan = await long.planChunks(context.plan.collection, [...context.plan.sources], context.settings);
      at = plan.chunks.find((one) => one.collectionId === chunk.collectionId && one.chunk === chunk.chunk)!;
      if (at.done) return true;
      // Hosts may be lost again and again, as long as the chunk gets on.
      if (at.segment > begun) attempt = 0;
    }
  }
}

async function copyFrom(chunk: ChunkPlan, context: ChunkContext): Promise<boolean> {
  const loading: Promise<void>[] = [];
  let failed: { error: unknown } | undefined;
  let after = chunk.after;
  let queue: string | undefined;
  for (let segment = chunk.segment, ended = false; !ended && !failed && !context.renew(); segment++) {
    const extracted = await extract(chunk, segment, after, queue, context);
    after = extracted.lastId;
    ended = extracted.endsChunk;
    queue = extracted.queues.process;
    loading.push(
      deliver(chunk, segment, extracted, context).catch((error: unknown) => {
        failed ??= { error };
      }),
    );
    if (loading.length >= inFlight) await loading.shift();
    if (ended && !failed) {
      await Promise.all(loading);
      if (!failed) return true;
    }
  }
  await Promise.all(loading);
  if (failed) throw failed.error;
  return false;
}

/** Goes on in the process that has the range open; where that is gone, anywhere. */
async function extract(
  chunk: ChunkPlan,
  segment: number,
  after: string | null,
  queue: string | undefined,
  context: ChunkContext,
): Promise<Extracted> {
  const { collection } = context.plan;
  const order = {
    collection,
    source: chunk.source,
    chunk: chunk.chunk,
    segment,
    after,
    upTo: chunk.upTo,
    averageBytes: chunk.averageBytes,
    limits: { bytes: context.settings.segmentBytes, documents: context.settings.segmentDocuments },
    lagMs: context.settings.copyLagMs,
  };
  const summary = `${chunk.source} chunk ${chunk.chunk}, segment ${segment}`;
  if (queue !== undefined) {
    try {
      return await extractIn(queue).extractSegment.executeWithOptions({ summary }, [order]);
    } catch (error) {
      if (isCancellation(error)) throw error;
    }
  }
  return extractAnywhere().extractSegment.executeWithOptions({ summary }, [order]);
}

/** Transform, then the stores that cannot share PostgreSQL's transaction, then PostgreSQL with the ledger. */
async function deliver(chunk: ChunkPlan, segment: number, extracted: Extracted, context: ChunkContext): Promise<void> {
  const { plan, settings } = context;
  const { host } = extracted.queues;
  const place = { collection: plan.collection, source: chunk.source, collectionId: chunk.collectionId };
  const summary = `${chunk.source} chunk ${chunk.chunk}, segment ${segment}: ${extracted.reference.documents} documents`;
  const counts = await onHost(host).transformSegment.executeWithOptions({ summary }, [
    { ...place, extracted, settings: { zone: settings.zone, providers: settings.providers } },
  ]);
  const order = { ...place, chunk: chunk.chunk, segment, extracted };
  for (const store of plan.outside) {
    if (store === 'mongodb') await onHost(`${host}-mongodb`).loadDocuments.executeWithOptions({ summary }, [order]);
    else await onHost(`${host}-redis`).loadKeys.executeWithOptions({ summary }, [order]);
  }
  const { repeated, instead } = await onHost(`${host}-postgres`).loadRows.executeWithOptions({ summary }, [order]);
  if (!repeated) context.loaded({ documents: extracted.reference.documents, ...counts, ...instead });
}
