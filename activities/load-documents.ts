// A segment whose documents go in one by one, because as a whole it cannot be loaded: the one that fails alone is set aside, and the others come.
import type { ChangeSettings } from './apply.ts';
import { feedsOf, lostKey, type Change } from './apply.ts';
import { applyPatiently } from './capture/patiently.ts';
import { losersOf } from './elect.ts';
import { documentsFile } from './extract.ts';
import type { Attempt, Loaded, LoadOrder } from './load.ts';
import type { Resources } from './resources.ts';
import { lostMessage } from './lost.ts';
import { imageOf } from './shape.ts';
import { versionOfRead } from '../core/guard.ts';
import { loadOneByOne, type Around, type Batch } from '../stores/postgres/loader.ts';

const documentsAtOnce = 500;

/** In the segment's folder: a store has refused something of it. */
const oneByOneFile = 'one-by-one';

export const askOneByOne = (resources: Resources, path: string): Promise<void> =>
  resources.spool.store(path, oneByOneFile, '');

export const isAskedOneByOne = (spool: Resources['spool'], path: string): Promise<boolean> =>
  spool.has(path, oneByOneFile);

interface Segment {
  readonly batch: Batch;
  readonly around: Around;
  readonly settings: ChangeSettings;
  readonly heartbeat: Attempt['heartbeat'];
}

/** Into every store, as capture does it; who keeps a unique value stays as it was settled before the copy. */
export async function loadDocuments(
  resources: Resources,
  { source, collectionId, extracted }: LoadOrder,
  { batch, around, settings, heartbeat }: Segment,
): Promise<Loaded> {
  const raw = await resources.spool.bytes(batch.batchId, { file: documentsFile, bytes: extracted.reference.bytes });
  const feed = (await feedsOf(resources)).get(source)!;
  const version = versionOfRead(BigInt(extracted.version));
  const losers = await losersOf(resources, collectionId);
  const lost = new Map(
    [...losers].map(([id, { rule, path, winner }]) => [
      lostKey(feed, id),
      { rule, path, message: lostMessage(feed.mapping, path, winner) },
    ]),
  );
  const done = await loadOneByOne(resources.postgres, batch, around, async (client) => {
    const totals = { quarantined: 0, stale: 0 };
    for (let at = 0; at < raw.byteLength;) {
      const changes: Change[] = [];
      for (; at < raw.byteLength && changes.length < documentsAtOnce; at += raw.readInt32LE(at)) {
        const bytes = raw.subarray(at, at + raw.readInt32LE(at));
        changes.push({ feed, id: imageOf(bytes, version).id, version, bytes });
      }
      heartbeat();
      const applied = await applyPatiently(resources, client, changes, settings, { origin: 'copy', lost });
      totals.quarantined += applied.quarantined;
      totals.stale += applied.stale;
    }
    return totals;
  });
  if (!done) return { stale: 0, repeated: true };
  const { stale, quarantined } = done;
  return { stale, repeated: false, instead: { quarantined, loaded: batch.documents - batch.skipped - quarantined } };
}
