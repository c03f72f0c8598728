// Closing a gap without starting over: one scan of keys and digests, and only what differs is written again (protocol, F4).
import { currentGap, shownUpTo, type Gap } from '../../control/capture.ts';
import { KnownFailure } from '../../core/failures.ts';
import { versionOfRead } from '../../core/guard.ts';
import { learnLongKeys } from '../../control/long-keys.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { ChangeStream, imagesOf } from '../../stores/mongodb/changes.ts';
import { StreamLost, tokenText } from '../../stores/mongodb/token.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { RangeRead } from '../../stores/mongodb/source.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import { feedsOf, type Change, type ChangeSettings, type Feed } from '../apply.ts';
import { inForce } from '../policy.ts';
import type { Resources } from '../resources.ts';
import { digestOf, imageOf } from '../shape.ts';
import { applyPatiently } from './patiently.ts';
import { readAgain } from './redo.ts';
import { SeenKeys } from './seen.ts';

export interface RepairOrder {
  readonly settings: ChangeSettings;
  /** Only counts what would be written. */
  readonly dryRun: boolean;
  /** Documents may be removed from the targets though nothing shows that somebody deleted them one by one. */
  readonly deleteMissing: boolean;
}

interface Counts {
  scanned: number;
  rewritten: number;
  deleted: number;
}

export interface Repaired extends Readonly<Counts> {
  /** By mapping. `asks`: what is to be deleted needs `deleteMissing`. */
  readonly collections: Record<string, Readonly<Counts> & { readonly asks?: boolean }>;
  /** What happened to the source during the repair, and needs another. */
  readonly opened?: string;
}

export const gapOf = (resources: Resources): Promise<Gap | undefined> => currentGap(resources.postgres);

/** A stream opened anew at the source's present, its position durable before the scan begins: what changes meanwhile is captured. */
export async function reopenCapture(resources: Resources): Promise<void> {
  const names = [...(await feedsOf(resources)).keys()];
  const images = await imagesOf(resources.source.db, names);
  const stream = await ChangeStream.open(resources.source, images, undefined, { awaitMs: 100 }).catch(
    (error: unknown) => {
      throw error instanceof StreamLost ? new KnownFailure('StoreBusy', error.message) : error;
    },
  );
  try {
    await inTransaction(resources.postgres, 'keeping the position of the new stream', async (client) => {
      await client.query(
        `update migration_control.capture_stream set epoch = epoch + 1, token = $1, version = $2, last_version = 0, last_op_index = 0, images = $3, updated_at = clock_timestamp()`,
        [tokenText(stream.position.token), stream.openedAt.toString(), images],
      );
      await client.query('update migration_control.capture_gaps set repairing = true where closed_at is null');
    });
  } finally {
    await stream.close();
  }
}

/** After these what is missing was not deleted by the application: a collection went as a whole, or the server is another one. */
const wholesale = new Set(['drop', 'rename', 'dropDatabase', 'invalidate', 'token-refused']);

/** Run again after a crash it starts the scan anew, and finds less to write. Throws ConfigurationInvalid where documents would go that nobody said may go. */
export async function repairGap(resources: Resources, order: RepairOrder, heartbeat: () => void): Promise<Repaired> {
  const gap = await currentGap(resources.postgres);
  const current = { ...order, settings: await inForce(resources.postgres, order.settings) };
  const there = new Set(await collectionNames(resources.source.db));
  const collections: Record<string, Counts & { asks?: boolean }> = {};
  const sum = (of: 'scanned' | 'rewritten' | 'deleted') =>
    Object.values(collections).reduce((total, one) => total + one[of], 0);
  for (const feed of (await feedsOf(resources)).values()) {
    const sums = (collections[feed.mapping.collection] ??= { scanned: 0, rewritten: 0, deleted: 0 });
    const one = await repairFeed({
      resources,
      feed,
      exists: there.has(feed.source),
      order: current,
      gap,
      before: { rewritten: sum('rewritten'), deleted: sum('deleted') },
      heartbeat,
    });
    sums.scanned += one.scanned;
    sums.rewritten += one.rewritten;
    sums.deleted += one.deleted;
    if (one.asks) sums.asks = true;
  }
  return { scanned: sum('scanned'), rewritten: sum('rewritten'), deleted: sum('deleted'), collections };
}

/** The gap is closed, with what was found as its certificate. Returns what stays open, because it came during the repair. */
export async function closeGap(resources: Resources, certificate: Repaired): Promise<string | undefined> {
  await query(
    resources.postgres,
    'closing the gap',
    'update migration_control.capture_gaps set closed_at = clock_timestamp(), certificate = $1 where closed_at is null and repairing',
    [JSON.stringify(certificate)],
  );
  return (await currentGap(resources.postgres))?.detail;
}

const documentsAtOnce = 1000;

interface FeedRepair {
  readonly resources: Resources;
  readonly feed: Feed;
  readonly exists: boolean;
  readonly order: RepairOrder;
  readonly gap: Gap | undefined;
  /** What this repair has done in other collections. */
  readonly before: Pick<Counts, 'rewritten' | 'deleted'>;
  readonly heartbeat: () => void;
}

async function repairFeed({ resources, feed, exists, order, gap, before, heartbeat }: FeedRepair) {
  const { source, postgres } = resources;
  const counts: Counts = { scanned: 0, rewritten: 0, deleted: 0 };
  const seen = await SeenKeys.begin(postgres, feed);
  const weight = exists ? await weigh(source.db, feed.source) : { averageBytes: 1000 };
  const range = { after: null, upTo: null };
  const read = await RangeRead.open(
    source.client,
    source.db,
    feed.source,
    range,
    weight.averageBytes,
    await shownUpTo(postgres),
  );
  try {
    for (let raws = await read.next(documentsAtOnce); raws.length > 0; raws = await read.next(documentsAtOnce)) {
      heartbeat();
      const images = raws.map((raw) => imageOf(raw, versionOfRead(read.version)));
      await seen.add(images.map((image) => image.id));
      const differing = await differingFrom(postgres, feed, images);
      counts.scanned += images.length;
      counts.rewritten += differing.length;
      await write(resources, differing, order);
    }
  } finally {
    await read.close();
  }
  const gone = await seen.missing(read.version);
  if (gone.length > 0 && counts.scanned === 0) await requireEmpty(resources, feed);
  // A drop may also have come while nobody listened: then more is missing than is there.
  const asks = gone.length > 0 && (wholesale.has(gap?.kind ?? '') || gone.length > counts.scanned);
  if (asks && !order.deleteMissing && !order.dryRun) {
    const rewritten = before.rewritten + counts.rewritten;
    const already = [
      ...(rewritten > 0 ? [`${rewritten} that differed were written again`] : []),
      ...(before.deleted > 0 ? [`${before.deleted} that are gone were removed`] : []),
    ];
    throw new KnownFailure(
      'ConfigurationInvalid',
      `${gone.length} documents of ${feed.source} are no longer in the source, and ${counts.scanned} are${gap ? `: ${gap.detail}` : ''}. ${already.length > 0 ? `Of what was compared before, ${already.join(' and ')}; that stays, and these were left` : 'Nothing was written'}. Put them back, or send \`causeway repair --delete-missing\` to remove them from the targets.`,
    );
  }
  for (let i = 0; i < gone.length; i += documentsAtOnce) {
    heartbeat();
    const some = gone.slice(i, i + documentsAtOnce);
    await learnLongKeys(postgres, some);
    // Asked for by name once more: no list decides alone that a document is to go.
    const now = order.dryRun ? [] : await readAgain(resources, feed, some, await shownUpTo(postgres));
    const there = now.filter(({ bytes }) => bytes).length;
    counts.deleted += some.length - there;
    counts.rewritten += there;
    await write(resources, now, order);
  }
  await seen.forget();
  return { ...counts, asks };
}

/** A scan that met nothing says that everything is to go: the source is asked in another way, too. */
async function requireEmpty({ source }: Resources, { source: collection }: Feed): Promise<void> {
  const found = await mongo(`looking for a document of ${collection}`, () =>
    source.db.collection(collection).findOne({}, { projection: { _id: 1 }, readConcern: { level: 'majority' } }),
  );
  if (found)
    throw new KnownFailure(
      'StoreBusy',
      `The scan of ${collection} met no document, and there are some; nothing is deleted by it, and the scan begins anew.`,
    );
}

async function differingFrom(
  postgres: Resources['postgres'],
  feed: Feed,
  images: readonly ReturnType<typeof imageOf>[],
): Promise<Change[]> {
  const rows = await query<{ source_id: string; source_digest: string }>(
    postgres,
    'comparing with the ledger',
    'select source_id, source_digest from migration_control.ledger where collection_id = $1 and source_id = any($2) and not deleted',
    [feed.collectionId, images.map((image) => image.id)],
  );
  const known = new Map(rows.map((row) => [row.source_id, BigInt(row.source_digest)]));
  return images
    .filter((image) => known.get(image.id) !== digestOf(image.bytes))
    .map(({ id, version, bytes }) => ({ feed, id, version, bytes }));
}

async function write(resources: Resources, changes: readonly Change[], order: RepairOrder): Promise<void> {
  if (changes.length === 0 || order.dryRun) return;
  await inTransaction(resources.postgres, 'writing what differs', (client) =>
    applyPatiently(resources, client, changes, order.settings, { origin: 'gap repair' }),
  );
}
