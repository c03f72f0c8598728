// Closing a gap without starting over: one scan of keys and digests, and only what differs is written again (protocol, F4).
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type pg from 'pg';
import { currentGap, shownUpTo, type Gap } from '../../control/capture.ts';
import { KnownFailure } from '../../core/failures.ts';
import { versionOfRead } from '../../core/guard.ts';
import { ChangeStream, imagesOf } from '../../stores/mongodb/changes.ts';
import { StreamLost, tokenText } from '../../stores/mongodb/token.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { weigh } from '../../stores/mongodb/ranges.ts';
import { RangeRead } from '../../stores/mongodb/source.ts';
import { inTransaction, postgresFailure, query } from '../../stores/postgres/connection.ts';
import { escape } from '../../stores/postgres/copy.ts';
import { feedsOf, type Change, type ChangeSettings, type Feed } from '../apply.ts';
import { inForce } from '../policy.ts';
import type { Resources } from '../resources.ts';
import { digestOf, imageOf } from '../shape.ts';
import { applyPatiently } from './patiently.ts';

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
  for (const feed of (await feedsOf(resources)).values()) {
    const sums = (collections[feed.mapping.collection] ??= { scanned: 0, rewritten: 0, deleted: 0 });
    const one = await repairFeed(resources, feed, there.has(feed.source), current, gap, heartbeat);
    sums.scanned += one.scanned;
    sums.rewritten += one.rewritten;
    sums.deleted += one.deleted;
    if (one.asks) sums.asks = true;
  }
  const sum = (of: 'scanned' | 'rewritten' | 'deleted') =>
    Object.values(collections).reduce((total, one) => total + one[of], 0);
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

async function repairFeed(
  resources: Resources,
  feed: Feed,
  exists: boolean,
  order: RepairOrder,
  gap: Gap | undefined,
  heartbeat: () => void,
) {
  // One connection for the whole scan: the keys seen stand in a table that only it has.
  const client = await resources.postgres.connect().catch((error: unknown) => {
    throw postgresFailure(error, 'connecting');
  });
  let broken: Error | undefined;
  try {
    await client.query('create temporary table seen (source_id text collate "C" primary key)');
    const counts: Counts = { scanned: 0, rewritten: 0, deleted: 0 };
    const weight = exists ? await weigh(resources.source.db, feed.source) : { averageBytes: 1000 };
    const range = { after: null, upTo: null };
    const read = await RangeRead.open(
      resources.source.client,
      resources.source.db,
      feed.source,
      range,
      weight.averageBytes,
      await shownUpTo(resources.postgres),
    );
    let asks: boolean;
    try {
      for (let raws = await read.next(documentsAtOnce); raws.length > 0; raws = await read.next(documentsAtOnce)) {
        heartbeat();
        const images = raws.map((raw) => imageOf(raw, versionOfRead(read.version)));
        await pipeline(
          Readable.from([images.map((image) => `${escape(image.id)}\n`).join('')]),
          client.query(copyFrom('copy seen from stdin')),
        );
        const differing = await differingFrom(client, feed, images);
        counts.scanned += images.length;
        counts.rewritten += differing.length;
        await write(resources, differing, order);
      }
      const gone = await missing(client, feed, read.version);
      // A drop may also have come while nobody listened: then more is missing than is there.
      asks = gone.length > 0 && (wholesale.has(gap?.kind ?? '') || gone.length > counts.scanned);
      if (asks && !order.deleteMissing && !order.dryRun)
        throw new KnownFailure(
          'ConfigurationInvalid',
          `${gone.length} documents of ${feed.source} are no longer in the source, and ${counts.scanned} are${gap ? `: ${gap.detail}` : ''}. Put them back, or send \`causeway repair --delete-missing\` to remove them from the targets.`,
        );
      for (let i = 0; i < gone.length; i += documentsAtOnce) {
        heartbeat();
        const version = versionOfRead(read.version);
        const deletes = gone.slice(i, i + documentsAtOnce).map((id) => ({ feed, id, version, bytes: undefined }));
        counts.deleted += deletes.length;
        await write(resources, deletes, order);
      }
    } finally {
      await read.close();
    }
    await client.query('drop table seen');
    return { ...counts, asks };
  } catch (error) {
    broken = error as Error;
    throw postgresFailure(error, `repairing ${feed.source}`);
  } finally {
    // With the connection its temporary table goes.
    client.release(broken);
  }
}

async function differingFrom(
  client: pg.ClientBase,
  feed: Feed,
  images: readonly ReturnType<typeof imageOf>[],
): Promise<Change[]> {
  const { rows } = await client.query<{ source_id: string; source_digest: string }>(
    'select source_id, source_digest from migration_control.ledger where collection_id = $1 and source_id = any($2) and not deleted',
    [feed.collectionId, images.map((image) => image.id)],
  );
  const known = new Map(rows.map((row) => [row.source_id, BigInt(row.source_digest)]));
  return images
    .filter((image) => known.get(image.id) !== digestOf(image.bytes))
    .map(({ id, version, bytes }) => ({ feed, id, version, bytes }));
}

/** What the ledger has as old as the scan or older, and the scan has not met: deleted while nobody listened. */
async function missing(client: pg.ClientBase, feed: Feed, before: bigint): Promise<string[]> {
  const { rows } = await client.query<{ source_id: string }>(
    `select source_id from migration_control.ledger l where collection_id = $1 and not deleted and version <= $2
       and not exists (select 1 from seen where seen.source_id = l.source_id)`,
    [feed.collectionId, before.toString()],
  );
  return rows.map((row) => row.source_id);
}

async function write(resources: Resources, changes: readonly Change[], order: RepairOrder): Promise<void> {
  if (changes.length === 0 || order.dryRun) return;
  await inTransaction(resources.postgres, 'writing what differs', (client) =>
    applyPatiently(resources, client, changes, order.settings, { origin: 'gap repair' }),
  );
}
