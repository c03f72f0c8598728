// Extract: documents of a range, undecoded, from the source into a spool segment of this host.
import { createHash } from 'node:crypto';
import { requireKey } from '../control/sealing.ts';
import { ownVault } from '../control/vault.ts';
import { draftName, type SegmentReference } from '../spool/segment.ts';
import { shownUpTo } from '../control/capture.ts';
import { keyText, RangeRead, type KeyRange } from '../stores/mongodb/source.ts';
import type { Resources } from './resources.ts';

export interface ExtractOrder {
  readonly collection: string;
  readonly source: string;
  readonly chunk: number;
  readonly segment: number;
  /** Encrypted key text of the last document already extracted, or where the chunk begins; null is before the first. History keeps no `_id`. */
  readonly after: string | null;
  readonly upTo: string | null;
  readonly averageBytes: number;
  readonly limits: { readonly bytes: number; readonly documents: number };
  /** Most that capture may be behind before this segment waits, ms; orders of older workflows have none. */
  readonly lagMs?: number;
}

export interface Extracted {
  readonly reference: SegmentReference;
  readonly after: string | null;
  /** Encrypted key text of the last document; equals `after` when there was none. */
  readonly lastId: string | null;
  readonly endsChunk: boolean;
  /** Cluster time of the read, decimal text. */
  readonly version: string;
  readonly queues: { readonly host: string; readonly process: string };
}

/** Where a retry goes on: so many bytes of the draft are complete documents, the last of them with this key. */
export interface ExtractPosition {
  readonly draft: string;
  readonly bytes: number;
  readonly documents: number;
  readonly lastId: string;
  readonly version: string;
}

export const documentsFile = 'documents.bson';
const idleMs = 60_000;

/** Ranges being read by this process, so that the next segment goes on where the last ended without the server searching again. */
export class OpenReads {
  readonly #reads = new Map<string, { read: RangeRead; after: string | null; rest: Buffer[]; timer: NodeJS.Timeout }>();

  /** The read that stands exactly at `after`, which then belongs to the caller. */
  async take(key: string, after: string | null): Promise<{ read: RangeRead; rest: Buffer[] } | undefined> {
    const held = this.#reads.get(key);
    if (!held) return undefined;
    this.#reads.delete(key);
    clearTimeout(held.timer);
    if (held.after === after) return held;
    await held.read.close();
    return undefined;
  }

  keep(key: string, read: RangeRead, after: string | null, rest: Buffer[]): void {
    const timer = setTimeout(() => void this.take(key, '\u0000never'), idleMs);
    timer.unref();
    this.#reads.set(key, { read, after, rest, timer });
  }

  async close(): Promise<void> {
    for (const { read, timer } of this.#reads.values()) {
      clearTimeout(timer);
      await read.close();
    }
    this.#reads.clear();
  }
}

export interface ExtractProgress {
  readonly heartbeat: (position: ExtractPosition) => void;
  readonly resumeAt: ExtractPosition | undefined;
  readonly cancelled: () => boolean;
}

/** Reads up to the limits and closes the segment. The path ends in a hash of its bytes: another content is another segment. */
export async function extractSegment(
  resources: Resources,
  reads: OpenReads,
  order: ExtractOrder,
  progress: ExtractProgress,
): Promise<Extracted> {
  await requireKey(resources.postgres);
  const { spool } = resources;
  const key = `${order.collection}/${order.source}/${order.chunk}`;
  // A draft of its own for every attempt: one thought dead may still be writing.
  const draft = `${key}/${draftName(order.segment)}`;
  await spool.make(draft);
  const start = await adopt(resources, draft, progress.resumeAt);
  const vault = ownVault();
  const opened = (bound: string | null) => bound && vault.openText('bound', bound);
  let lastId = opened(start?.lastId ?? order.after);
  const held = await reads.take(key, lastId);
  const range = { after: lastId, upTo: opened(order.upTo) };
  const read = held?.read ?? (await open(resources, order, range));
  // Documents already in the draft were read no later than this read began: its lower stamp holds for all.
  const version = start ? minimum(BigInt(start.version), read.version) : read.version;

  const hash = createHash('sha1').update(start?.content ?? '');
  const file = spool.write(draft, documentsFile);
  let documents = start?.documents ?? 0;
  let bytes = start?.bytes ?? 0;
  let rest = held?.rest ?? [];
  let ended = false;
  try {
    if (start) await file.write(start.content);
    while (bytes < order.limits.bytes && documents < order.limits.documents) {
      if (progress.cancelled()) throw new DOMException('the extract was cancelled', 'AbortError');
      if (rest.length === 0) rest = await read.next(order.limits.documents - documents);
      if (rest.length === 0) {
        ended = true;
        break;
      }
      const taken = takeWithin(rest, order.limits.bytes - bytes, order.limits.documents - documents);
      rest = rest.slice(taken.length);
      const content = Buffer.concat(taken);
      hash.update(content);
      await file.write(content);
      documents += taken.length;
      bytes += content.byteLength;
      lastId = keyText(taken.at(-1)!);
      progress.heartbeat({
        draft,
        bytes,
        documents,
        lastId: vault.sealText('bound', lastId),
        version: version.toString(),
      });
    }
    await file.end();
  } catch (error) {
    await file.close().catch(() => undefined);
    await read.close();
    throw error;
  }
  if (ended) await read.close();
  else reads.keep(key, read, lastId, rest);

  const path = `${key}/${order.segment}-${hash.digest('hex').slice(0, 16)}`;
  await spool.move(draft, path);
  return {
    reference: { path, documents, bytes },
    after: order.after,
    lastId: lastId && vault.sealText('bound', lastId),
    endsChunk: ended,
    version: version.toString(),
    queues: resources.queues,
  };
}

async function open({ source, postgres }: Resources, order: ExtractOrder, range: KeyRange): Promise<RangeRead> {
  const atMost = await shownUpTo(postgres);
  return RangeRead.open(source.client, source.db, order.source, range, order.averageBytes, atMost);
}

/** What an earlier attempt on this host had already read, if the host still has it. */
async function adopt(resources: Resources, draft: string, position: ExtractPosition | undefined) {
  if (!position || position.draft === draft) return undefined;
  const content = await resources.spool.beginning(position.draft, { file: documentsFile, bytes: position.bytes });
  await resources.spool.forget(position.draft);
  return content && { ...position, content };
}

/** At least one document, then as many as fit. */
function takeWithin(documents: readonly Buffer[], bytes: number, count: number): Buffer[] {
  let size = 0;
  let taken = 0;
  while (taken < documents.length && taken < count && (taken === 0 || size + documents[taken]!.byteLength <= bytes))
    size += documents[taken++]!.byteLength;
  return documents.slice(0, taken);
}

const minimum = (a: bigint, b: bigint): bigint => (a < b ? a : b);
