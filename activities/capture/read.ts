// The stream's one reader: changes into the tables of PostgreSQL, their lanes beside them, the position in the same transaction.
import { ownVault } from '../../control/vault.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { holdsStream, openGap, readStream, takeStream, type StreamRow } from '../../control/capture.ts';
import { saveLongKeys } from '../../control/long-keys.ts';
import { TroubleNote } from '../../control/troubles.ts';
import { KnownFailure } from '../../core/failures.ts';
import {
  ChangeStream,
  clockOf,
  lostMs,
  seekingMs,
  type Batch,
  type ChangeEvent,
  type OtherEvent,
} from '../../stores/mongodb/changes.ts';
import { StreamLost, tokenText } from '../../stores/mongodb/token.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import { feedsOf, type Feed } from '../apply.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { encodeChange, laneOf, capturedPlace } from './segment.ts';
import { Patience, type Slice, type SliceResult } from './slice.ts';

const awaitMs = 200;
/** Few larger batches instead of many small ones: each costs a transaction here and batches in every lane. */
const paceMs = 100;
/** Changes read and not applied may take this many bytes; then the reader waits. The oplog holds what it has not read. */
const pendingBytes = 2n * 1024n * 1024n * 1024n;

/** Reads until its slice is over. Ends at once with `gap` where the source cannot say what happened to the documents. */
export async function readChanges(resources: Resources, slice: Slice): Promise<SliceResult> {
  let position = await takeStream(resources.postgres, resources.queues.process);
  if (!position) return { ended: 'closed' };
  const feeds = await feedsOf(resources);
  const patience = new Patience(slice, new TroubleNote(resources.postgres, 'reader'));
  let silenceMs = lostMs;
  while (!slice.over()) {
    try {
      return await readFrom(resources, { ...position, silenceMs }, feeds, slice, patience);
    } catch (error) {
      await patience.after(error);
      const stands = await whereItStands(resources, slice, patience);
      if (!stands) return { ended: slice.over() ? 'slice' : 'closed' };
      // Nothing came: it may have been looking for the position, and not have fallen silent.
      silenceMs = stands.nextSegment === position.nextSegment ? seekingMs : lostMs;
      position = { ...stands, epoch: position.epoch };
    }
  }
  return { ended: 'slice' };
}

/** From an older position than the one that stands, changes would be numbered as others already are. */
async function whereItStands(resources: Resources, slice: Slice, patience: Patience): Promise<StreamRow | undefined> {
  while (!slice.over()) {
    try {
      return await readStream(resources.postgres);
    } catch (error) {
      await patience.after(error);
    }
  }
  return undefined;
}

async function readFrom(
  resources: Resources,
  position: StreamRow & { readonly silenceMs: number },
  feeds: ReadonlyMap<string, Feed>,
  slice: Slice,
  patience: Patience,
): Promise<SliceResult> {
  let stream: ChangeStream | undefined;
  try {
    stream = await mongo('resuming the change stream', () =>
      ChangeStream.open(resources.source, position.images, position, { awaitMs, silenceMs: position.silenceMs }),
    );
    // After an election what a majority has may be behind what was read before: it comes up within seconds.
    if (stream.openedAt < position.version && secondsBetween(stream.openedAt, position.version) <= electionSeconds)
      throw new KnownFailure(
        'StoreBusy',
        'MongoDB, resuming the change stream: the source has not come up to the last change read; it may be electing a primary',
      );
    if (stream.openedAt < position.version)
      throw new StreamLost(
        'token-refused',
        'the source is at an earlier time than the last change read: it is another server, or was restored from a backup',
      );
    return await follow(resources, stream, position, feeds, slice, patience);
  } catch (error) {
    if (!(error instanceof StreamLost)) throw error;
    await openGap(resources.postgres, {
      kind: error.kind,
      collection: undefined,
      detail: error.message,
      from: position.version,
    });
    return { ended: 'gap' };
  } finally {
    await stream?.close();
  }
}

/** An election takes less; a server that was restored from a backup is behind by more. */
const electionSeconds = 60n;
const secondsBetween = (earlier: bigint, later: bigint): bigint => (later >> 32n) - (earlier >> 32n);

async function follow(
  resources: Resources,
  stream: ChangeStream,
  position: StreamRow,
  feeds: ReadonlyMap<string, Feed>,
  slice: Slice,
  patience: Patience,
): Promise<SliceResult> {
  const clock = new SourceClock(resources);
  let segment = position.nextSegment;
  let savedAt = 0;
  let lookedAt = 0;
  while (!slice.over()) {
    await waitForRoom(resources, slice);
    await sleep(Math.max(0, lookedAt + paceMs - performance.now()));
    lookedAt = performance.now();
    const batch = await mongo('reading changes', () => stream.next());
    killPoint('reader.after-read');
    const gap = batch.events.find((event): event is OtherEvent => event.kind === 'other' && concerns(event, feeds));
    const before = gap ? batch.events.slice(0, batch.events.indexOf(gap)) : batch.events;
    const own = before.filter(
      (event): event is ChangeEvent => event.kind === 'document' && feeds.has(event.collection),
    );
    // An idle stream's position moves too, but not at every look.
    if (own.length === 0 && !gap && batch.events.length === 0 && Date.now() - savedAt < 500) continue;
    // Under steady writes the stream has no end: then what was read last tells how far it was read.
    const lastWall = batch.events.at(-1)?.wall;
    const seenAt = batch.atEnd ? new Date(await clock.now()) : lastWall === undefined ? undefined : new Date(lastWall);
    await saveLongKeys(resources.postgres);
    const kept = await keep(resources.postgres, {
      epoch: position.epoch,
      lanes: position.lanes,
      segment,
      own,
      feeds,
      seenAt,
      // Whatever follows an event that ends the stream's meaning is left for the repair: the position stays before it.
      moved: gap ? undefined : { ...batch, last: stream.position.last },
      gap: gap && describe(gap, batch),
    });
    if (!kept) return { ended: 'superseded' };
    killPoint('reader.after-commit');
    if (gap) return { ended: 'gap' };
    await patience.rewarded();
    segment++;
    savedAt = Date.now();
  }
  return { ended: 'slice' };
}

/** Renamed, dropped, replaced: documents went or came without a change of their own. */
function concerns(event: OtherEvent, feeds: ReadonlyMap<string, Feed>): boolean {
  const ours = (name: string | undefined) => name !== undefined && feeds.has(name);
  if (['drop', 'rename'].includes(event.operation)) return ours(event.collection) || ours(event.to);
  return event.operation === 'dropDatabase' || event.operation === 'invalidate';
}

const sentences: Record<string, (event: OtherEvent) => string> = {
  drop: (event) => `the source collection ${event.collection} was dropped`,
  rename: (event) => `the source collection ${event.collection} was renamed to ${event.to}`,
  dropDatabase: () => 'the source database was dropped',
  invalidate: () => 'the change stream was invalidated: the source database was dropped or renamed',
};

function describe(
  event: OtherEvent,
  batch: Batch,
): { kind: string; collection: string | undefined; detail: string; from: bigint } {
  return {
    kind: event.operation,
    collection: event.collection,
    detail: sentences[event.operation]!(event),
    from: batch.time,
  };
}

interface Keeping {
  readonly epoch: number;
  readonly lanes: number;
  readonly segment: bigint;
  readonly own: readonly ChangeEvent[];
  readonly feeds: ReadonlyMap<string, Feed>;
  readonly seenAt: Date | undefined;
  readonly moved: (Pick<Batch, 'token' | 'time'> & { readonly last: ChangeEvent['version'] | undefined }) | undefined;
  readonly gap: Parameters<typeof openGap>[1] | undefined;
}

/** Changes and position in one transaction. Returns false when another reader has taken over. */
async function keep(
  pool: pg.Pool,
  { epoch, lanes, segment, own, feeds, seenAt, moved, gap }: Keeping,
): Promise<boolean> {
  return inTransaction(pool, 'keeping changes', async (client) => {
    if (!(await holdsStream(client, epoch, segment))) return false;
    for (const [lane, events] of byLane(own, feeds, lanes)) {
      // A document that was gone before it could be looked up is deleted by an event that follows.
      const there = events.filter((event) => event.bytes !== null);
      if (there.length === 0) continue;
      const content = Buffer.concat(
        there.map(({ collection, id, version, bytes }) =>
          encodeChange({ feed: feeds.get(collection)!, id, version, bytes: bytes ?? undefined }),
        ),
      );
      await client.query(
        `insert into migration_control.captured (lane, segment, first_version, last_version, events, first_wall, last_wall, content)
         values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [
          lane,
          segment.toString(),
          there[0]!.version.time.toString(),
          there.at(-1)!.version.time.toString(),
          there.length,
          new Date(there[0]!.wall),
          new Date(there.at(-1)!.wall),
          ownVault().sealBytes(capturedPlace(lane, segment), content),
        ],
      );
    }
    if (moved)
      await client.query(
        `update migration_control.capture_stream set token = $1, version = greatest(version, $2), last_version = $3, last_op_index = $4,
           next_segment = $5, seen_at = greatest(seen_at, $6), updated_at = clock_timestamp()`,
        [
          tokenText(moved.token),
          moved.time.toString(),
          moved.last?.time.toString() ?? '0',
          moved.last?.op ?? 0,
          (segment + 1n).toString(),
          seenAt ?? null,
        ],
      );
    else
      await client.query('update migration_control.capture_stream set next_segment = $1', [(segment + 1n).toString()]);
    if (gap) await openGap(client, gap);
    killPoint('reader.before-commit');
    return true;
  });
}

function byLane(
  events: readonly ChangeEvent[],
  feeds: ReadonlyMap<string, Feed>,
  lanes: number,
): Map<number, ChangeEvent[]> {
  const result = new Map<number, ChangeEvent[]>();
  for (const event of events) {
    const lane = laneOf(feeds.get(event.collection)!, event.id, lanes);
    const known = result.get(lane);
    if (known) known.push(event);
    else result.set(lane, [event]);
  }
  return result;
}

async function waitForRoom(resources: Resources, slice: Slice): Promise<void> {
  if (!slice.every('room', 2000)) return;
  while (!slice.over()) {
    const [row] = await query<{ bytes: string }>(
      resources.postgres,
      'measuring what is pending',
      'select coalesce(sum(octet_length(content)), 0) as bytes from migration_control.captured',
    );
    if (BigInt(row!.bytes) < pendingBytes) return;
    slice.say('the lanes are behind by 2 GB of changes; reading waits for them');
    await sleep(500);
  }
}

/** The source's clock, asked now and then: the worker's own may be wrong (pitfall 27). */
export class SourceClock {
  readonly #resources: Pick<Resources, 'source'>;
  #offset: number | undefined;
  #asked = 0;

  constructor(resources: Pick<Resources, 'source'>) {
    this.#resources = resources;
  }

  async now(): Promise<number> {
    if (this.#offset === undefined || Date.now() - this.#asked > 10_000) {
      const before = Date.now();
      const theirs = await clockOf(this.#resources.source.db).catch((error: unknown) => {
        // Without an answer the last offset still holds; without any, there is nothing to measure by.
        if (this.#offset === undefined) throw error instanceof KnownFailure ? error : (error as Error);
        return before + this.#offset;
      });
      this.#asked = Date.now();
      this.#offset = theirs - (before + this.#asked) / 2;
    }
    return Date.now() + this.#offset;
  }
}
