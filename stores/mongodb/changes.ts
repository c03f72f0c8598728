// The change stream of a source database, undecoded, with every position it passes; what it cannot go on from is a gap, never skipped.
import { deserialize, Int32, onDemand, type Long, type Timestamp } from 'bson';
import { MongoServerError, type ClientSession, type Db, type MongoClient } from 'mongodb';
import { numbered, type Version } from '../../core/guard.ts';
import { sourceIdOf } from '../../core/identity.ts';
import { mongo, prompt } from './connection.ts';
import { batchFor, versionOf } from './source.ts';
import { lostOr, timeOf, type Token } from './token.ts';

/** Where the images of updates come from: written with the change, or looked up when the change is read (then later, or gone). */
export type Images = 'post-images' | 'updateLookup';

/** What the stream says of a document: the whole document, null where it was gone before it could be looked up, undefined where it was deleted. */
export interface ChangeEvent {
  readonly kind: 'document';
  readonly collection: string;
  readonly id: string;
  readonly version: Version;
  readonly wall: number;
  readonly bytes: Uint8Array | null | undefined;
}

/** Something happened to a collection or the database that no document's change tells. */
export interface OtherEvent {
  readonly kind: 'other';
  readonly operation: string;
  readonly collection: string | undefined;
  readonly to: string | undefined;
  readonly version: Version;
  readonly wall: number;
}

export interface Batch {
  readonly events: readonly (ChangeEvent | OtherEvent)[];
  /** Resuming here reads what follows the last event, and only that. */
  readonly token: Token;
  /** All changes up to this cluster time have been read. */
  readonly time: bigint;
  /** Nothing more was there to read. */
  readonly atEnd: boolean;
}

/** NoMatchingDocument: images were asked for, and a change in the database has none. */
const noImage = 47;
const undecoded = { fieldsAsRaw: { firstBatch: true, nextBatch: true } };
// Text that is no UTF-8 sets a document aside; it does not end the stream.
const decoding = { promoteValues: false, promoteLongs: false, validation: { utf8: false } } as const;

interface Cursor {
  readonly id: Long;
  readonly nextBatch?: Uint8Array[];
  readonly firstBatch?: Uint8Array[];
  readonly postBatchResumeToken: Token;
}

/** `silenceMs`: what a lost answer costs, where the one before was not lost too; then what a server may take that looks for its position. */
export const lostMs = 15_000;
export const seekingMs = 10 * 60_000;

/**
 * How long a transaction may take from its first operation to its commit on a server whose tokens do not tell how far they are. `CAUSEWAY_SETTLING_MS`
 * says so of a server that is known to be faster, or slower.
 */
const settlingMs = Number(process.env['CAUSEWAY_SETTLING_MS'] || 1000);

/** One database's stream. Watches every collection: a filter would tie the position to the mappings of the day (pitfall 11). */
export class ChangeStream {
  readonly #source: Source;
  readonly #options: StreamOptions;
  #session: ClientSession;
  readonly #batch: number;
  #cursor: Long;
  #token: Token;
  #last: Version | undefined;
  #fragments: Uint8Array[] = [];
  /** Since the stream is at its end: what the server said within the time that it takes to settle, and the last of what it said before. */
  #quiet: { passed: bigint; readonly heard: { readonly said: bigint; readonly at: number }[] } | undefined;
  readonly openedAt: bigint;

  private constructor(
    source: Source,
    session: ClientSession,
    cursor: Cursor,
    openedAt: bigint,
    last: Version | undefined,
    options: StreamOptions,
  ) {
    this.#source = source;
    this.#options = options;
    this.#session = session;
    this.#cursor = cursor.id;
    this.#token = cursor.postBatchResumeToken;
    this.#last = last;
    this.#batch = batchFor(options.averageBytes ?? 1000, 2000);
    this.openedAt = openedAt;
  }

  /** Opens after `from`, or now. Throws StreamLost where the source cannot go on from there. */
  static async open(
    source: Source,
    images: Images,
    from: Position | undefined,
    options: StreamOptions,
  ): Promise<ChangeStream> {
    // A cursor belongs to the session it was opened in.
    const { client, db } = source;
    const session = client.startSession();
    const stream = {
      $changeStream: {
        fullDocument: images === 'post-images' ? 'required' : 'updateLookup',
        ...(from && { resumeAfter: from.token }),
      },
    };
    // Must be the last stage; servers older than 6.0.9 do not know it, and then an event beyond 16 MB ends the stream.
    for (const pipeline of [[stream, { $changeStreamSplitLargeEvent: {} }], [stream]]) {
      try {
        const reply = await db.command({ aggregate: 1, pipeline, cursor: { batchSize: 0 } }, {
          ...undecoded,
          session,
        } as never);
        const openedAt = versionOf(reply['operationTime'] as Timestamp);
        return new ChangeStream(source, session, reply['cursor'] as Cursor, openedAt, from?.last, options);
      } catch (error) {
        const unknownStage = error instanceof MongoServerError && error.code === 40324;
        if (unknownStage && pipeline.length > 1) continue;
        await session.endSession();
        throw lostOr(error, 'opening the change stream');
      }
    }
    throw new TypeError('unreachable: the last pipeline returns or throws');
  }

  /** Waits up to `awaitMs` for changes. An event split because of its size is put together again, and its position is that of its last part. */
  async next(): Promise<Batch> {
    const reply = await this.#more()
      .catch(async (error: unknown) => {
        if (!(error instanceof MongoServerError && error.code === noImage)) throw error;
        await this.#lookUp();
        return this.#more();
      })
      .catch((error: unknown) => {
        throw lostOr(error, 'reading changes');
      });
    const cursor = reply['cursor'] as Cursor;
    const events: (ChangeEvent | OtherEvent)[] = [];
    for (const raw of cursor.nextBatch ?? []) {
      const whole = this.#whole(raw);
      if (whole) events.push(this.#event(whole));
    }
    // In the middle of a split event the position stays before it: resumed there, all its parts are read again.
    if (this.#fragments.length === 0) this.#token = cursor.postBatchResumeToken;
    const atEnd = events.length === 0 && this.#fragments.length === 0;
    const reached = atEnd
      ? (timeOf(this.#token) ?? this.#quietUpTo(versionOf(reply['operationTime'] as Timestamp)))
      : // Other operations of the last cluster time may follow in the next batch.
        (this.#last?.time ?? this.openedAt) - 1n;
    if (!atEnd) this.#quiet = undefined;
    return { events, token: this.#token, time: reached, atEnd };
  }

  get #patience(): object {
    const { silenceMs = seekingMs } = this.#options;
    return { socketTimeoutMS: silenceMs + this.#options.awaitMs };
  }

  #more(): Promise<Record<string, unknown>> {
    return this.#source.db.command(
      {
        getMore: this.#cursor,
        collection: '$cmd.aggregate',
        batchSize: new Int32(this.#batch),
        maxTimeMS: new Int32(this.#options.awaitMs),
      },
      { ...undecoded, ...this.#patience, session: this.#session } as never,
    );
  }

  /** From here on documents are looked up: one of another collection, or an old one, has no image that was kept. */
  async #lookUp(): Promise<void> {
    const again = await ChangeStream.open(this.#source, 'updateLookup', this.position, this.#options);
    await this.#session.endSession();
    this.#session = again.#session;
    this.#cursor = again.#cursor;
    this.#fragments = [];
  }

  /**
   * The time that has been passed where the token does not tell: what the server said when the stream was at its end and has stayed so since.
   * What it says now may be later than an operation that a transaction under way has yet to show.
   */
  #quietUpTo(said: bigint): bigint {
    const now = performance.now();
    this.#quiet ??= { passed: (this.#last?.time ?? this.openedAt) - 1n, heard: [] };
    this.#quiet.heard.push({ said, at: now });
    while (now - this.#quiet.heard[0]!.at >= settlingMs) this.#quiet.passed = this.#quiet.heard.shift()!.said;
    return this.#quiet.passed;
  }

  #whole(raw: Uint8Array): ReadonlyMap<string, Field> | undefined {
    const fields = fieldsOf(raw);
    const split = fields.get('splitEvent');
    if (!split) return fields;
    this.#fragments.push(raw);
    const { fragment, of } = deserialize(bytesOf(split), { promoteValues: true }) as { fragment: number; of: number };
    if (fragment < of) return undefined;
    const whole = new Map(this.#fragments.flatMap((part) => [...fieldsOf(part)]));
    this.#fragments = [];
    return whole;
  }

  #event(fields: ReadonlyMap<string, Field>): ChangeEvent | OtherEvent {
    const small = ['operationType', 'clusterTime', 'wallTime', 'ns', 'to'];
    const head = deserialize(documentOf(small.flatMap((name) => fields.get(name) ?? [])), decoding) as Head;
    const operation = String(head.operationType);
    const time = versionOf(head.clusterTime);
    const version = numbered(this.#last, time);
    this.#last = version;
    const wall = head.wallTime instanceof Date ? head.wallTime.getTime() : Number(time >> 32n) * 1000;
    const collection = head.ns?.coll;
    if (!['insert', 'update', 'replace', 'delete'].includes(operation) || collection === undefined)
      return { kind: 'other', operation, collection, to: head.to?.coll, version, wall };
    const full = fields.get('fullDocument');
    const bytes = operation === 'delete' ? undefined : full?.type === objectType ? bytesOf(full) : null;
    return { kind: 'document', collection, id: sourceIdOf(bytesOf(fields.get('documentKey')!)), version, wall, bytes };
  }

  get position(): Position {
    return { token: this.#token, last: this.#last };
  }

  async close(): Promise<void> {
    await this.#source.db
      .command({ killCursors: '$cmd.aggregate', cursors: [this.#cursor] }, { session: this.#session })
      .catch(() => undefined);
    await this.#session.endSession().catch(() => undefined);
  }
}

/** Where to go on, and the version of the last event, from which operations of the same cluster time are counted on. */
export interface Position {
  readonly token: Token;
  readonly last: Version | undefined;
}

export interface Source {
  readonly client: MongoClient;
  readonly db: Db;
}

export interface StreamOptions {
  readonly awaitMs: number;
  /** How long a connection that owes changes may be silent. A server that has to look for its position in a long oplog is silent for minutes. */
  readonly silenceMs?: number;
  readonly averageBytes?: number;
}

interface Head {
  readonly operationType: string;
  readonly clusterTime: Timestamp;
  readonly wallTime?: Date;
  readonly ns?: { readonly coll?: string };
  readonly to?: { readonly coll?: string };
}

/** One field of an undecoded document: its BSON type and where it stands. */
interface Field {
  readonly type: number;
  readonly name: string;
  readonly in: Uint8Array;
  readonly offset: number;
  readonly length: number;
}
const objectType = 3;

function fieldsOf(raw: Uint8Array): Map<string, Field> {
  const fields = new Map<string, Field>();
  for (const [type, nameOffset, nameLength, offset, length] of onDemand.parseToElements(raw)) {
    const name = Buffer.from(raw.buffer, raw.byteOffset + nameOffset, nameLength).toString('utf8');
    fields.set(name, { type, name, in: raw, offset, length });
  }
  return fields;
}

const bytesOf = ({ in: raw, offset, length }: Field): Uint8Array => raw.subarray(offset, offset + length);

/** A document of just these fields, so that the rest need not be decoded. */
function documentOf(fields: readonly Field[]): Uint8Array {
  const parts = fields.flatMap((field) => [Buffer.from([field.type]), Buffer.from(`${field.name}\0`), bytesOf(field)]);
  const size = parts.reduce((sum, part) => sum + part.byteLength, 5);
  const head = Buffer.alloc(4);
  head.writeInt32LE(size);
  return Buffer.concat([head, ...parts, Buffer.from([0])], size);
}

/** Whether every collection keeps post-images; one that does not makes the whole stream look up its documents. */
export async function imagesOf(db: Db, collections: readonly string[]): Promise<Images> {
  const listed = await mongo('listing collections', () => db.listCollections().toArray());
  const ours = listed.filter((one) => collections.includes(String(one.name)));
  const keeps = (one: (typeof ours)[number]) =>
    (one as { options?: { changeStreamPreAndPostImages?: { enabled?: boolean } } }).options
      ?.changeStreamPreAndPostImages?.enabled === true;
  return ours.length > 0 && ours.every(keeps) ? 'post-images' : 'updateLookup';
}

/** The server's clock, ms. */
export const clockOf = (db: Db): Promise<number> =>
  mongo('asking for the time', async () =>
    ((await db.command({ hello: 1 }, { ...prompt }))['localTime'] as Date).getTime(),
  );
