// The old application at work: writes to the source at a fixed rate, for tests, and knows nothing of the migration.
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  MongoClient,
  MongoNetworkError,
  MongoServerError,
  MongoServerSelectionError,
  type ClientSession,
  type Db,
  type Document,
} from 'mongodb';
import { SeedError } from './failure.ts';
import {
  kinds,
  LegacyOperations,
  shares,
  type Kind,
  type Operation,
  type Tools,
  type Write,
} from './legacy-operations.ts';

const PARALLEL = 16;
/** `_id`s read per collection at the start, and in how many places of it. */
const SAMPLE = 2000;
const PLACES = 8;
/** The server's answer to $inc of a field that a dirty document has as text or null. */
const notANumber = 14;

export interface LegacyWriterOptions {
  /** With the database in its path. */
  readonly url: string;
  /** Writes per second; what a server that is slow or down has missed is not made up for, but for the last second. */
  readonly perSecond: number;
  readonly seed: number;
  /** Source collections to write, in their usual proportion; all that the application has by default. */
  readonly collections?: readonly string[];
  /** Told of every failed operation. Its outcome may be unknown: the source itself is the truth. */
  readonly onError?: (error: unknown) => void;
}

/** Writes that the server acknowledged; those of a transaction count once it is committed. */
export interface Totals extends Readonly<Record<Kind, number>> {
  readonly transactions: number;
  /** Acknowledged, but there was no such document, or it was not what it had been, or had no number to count up. */
  readonly missed: number;
  /** Failed operations. */
  readonly errors: number;
  readonly collections: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** Writes per second, missed ones included. */
  readonly rate: number;
}

export interface LegacyWriter {
  /** Ends after the operations under way. */
  stop(): Promise<Totals>;
  totals(): Totals;
}

/** Starts at once; throws SeedError for options that make no sense. A server that is not there is waited for. */
export function startLegacyWriter(options: LegacyWriterOptions): LegacyWriter {
  const collections = options.collections ?? Object.keys(shares);
  const unknown = collections.find((name) => shares[name] === undefined);
  if (unknown !== undefined)
    throw new SeedError(`The writer has no collection ${unknown}; it has ${Object.keys(shares).join(', ')}.`);
  if (!(options.perSecond > 0)) throw new SeedError('The rate must be a positive number of writes per second.');
  const writer = new Writer(options, collections);
  const running = writer.run();
  return {
    totals: () => writer.totals(),
    stop: async () => {
      writer.stopping = true;
      await running;
      return writer.totals();
    },
  };
}

class Writer {
  stopping = false;
  readonly #options: LegacyWriterOptions;
  readonly #collections: readonly string[];
  readonly #client: MongoClient;
  readonly #db: Db;
  readonly #counts = { insert: 0, update: 0, replace: 0, delete: 0, transactions: 0, missed: 0, errors: 0 };
  readonly #written: Record<string, number> = {};
  #started = performance.now();
  #ended: number | undefined;

  constructor(options: LegacyWriterOptions, collections: readonly string[]) {
    this.#options = options;
    this.#collections = collections;
    // Retryable writes cost the embedded server two thirds of its speed.
    this.#client = new MongoClient(options.url, {
      retryWrites: false,
      serverSelectionTimeoutMS: 2000,
      connectTimeoutMS: 2000,
      socketTimeoutMS: 10_000,
      maxPoolSize: PARALLEL,
      ignoreUndefined: true,
    });
    this.#db = this.#client.db();
  }

  totals(): Totals {
    const seconds = ((this.#ended ?? performance.now()) - this.#started) / 1000;
    const writes = kinds.reduce((sum, kind) => sum + this.#counts[kind], this.#counts.missed);
    return { ...this.#counts, collections: { ...this.#written }, seconds, rate: seconds > 0 ? writes / seconds : 0 };
  }

  async run(): Promise<void> {
    const before = await this.#before();
    this.#started = performance.now();
    if (before) {
      const operations = new LegacyOperations(this.#collections, before, this.#options.seed);
      const pace = new Pace(this.#options.perSecond);
      await Promise.all(Array.from({ length: PARALLEL }, () => this.#work(operations, pace)));
    }
    this.#ended = performance.now();
    await this.#client.close().catch((error: unknown) => this.#failed(error));
  }

  /** `_id`s of documents that are there, from places all over each collection. undefined when stopped before the server answered. */
  async #before(): Promise<Map<string, unknown[]> | undefined> {
    while (!this.stopping) {
      try {
        // A driver that could not connect does not try again by itself.
        await this.#client.connect();
        const found = new Map<string, unknown[]>();
        for (const name of new Set([...this.#collections, 'users'])) found.set(name, await sample(this.#db, name));
        return found;
      } catch (error) {
        await this.#failed(error);
      }
    }
    return undefined;
  }

  async #work(operations: LegacyOperations, pace: Pace): Promise<void> {
    while (!this.stopping) {
      const operation = operations.next();
      await pace.take(operation.writes);
      if (this.stopping) return;
      try {
        await (operation.transaction ? this.#transaction(operation, operations) : this.#plain(operation, operations));
      } catch (error) {
        await this.#failed(error);
      }
    }
  }

  async #plain(operation: Operation, operations: LegacyOperations): Promise<void> {
    await operation.run(this.#tools(operations, (write, found) => this.#count(write, found)));
  }

  async #transaction(operation: Operation, operations: LegacyOperations): Promise<void> {
    const done: [Write, boolean][] = [];
    await this.#client.withSession(async (session) => {
      session.startTransaction();
      try {
        await operation.run(this.#tools(operations, (write, found) => done.push([write, found]), session));
        await session.commitTransaction();
      } finally {
        if (session.inTransaction()) await session.abortTransaction().catch(() => undefined);
      }
    });
    if (done.length > 0) this.#counts.transactions++;
    for (const [write, found] of done) this.#count(write, found);
  }

  #tools(operations: LegacyOperations, done: (write: Write, found: boolean) => void, session?: ClientSession): Tools {
    return {
      read: (collection, id) =>
        this.#db.collection(collection).findOne({ _id: { $eq: id } } as Document, session ? { session } : {}),
      write: async (write) => {
        try {
          const found = await send(this.#db, write, session);
          done(write, found);
          return found;
        } finally {
          operations.sent(write);
        }
      },
    };
  }

  #count(write: Write, found: boolean): void {
    this.#counts[found ? write.kind : 'missed']++;
    if (found) this.#written[write.collection] = (this.#written[write.collection] ?? 0) + 1;
  }

  /** While the server is away every operation fails at once or after two seconds: a pause keeps the count of errors sensible. */
  async #failed(error: unknown): Promise<void> {
    if (error instanceof MongoServerError && error.code === notANumber) {
      this.#counts.missed++;
      return;
    }
    this.#counts.errors++;
    this.#options.onError?.(error);
    if (error instanceof MongoNetworkError || error instanceof MongoServerSelectionError) await sleep(250);
  }
}

/** A token bucket that holds a second's worth. */
class Pace {
  readonly #interval: number;
  #next = performance.now();

  constructor(perSecond: number) {
    this.#interval = 1000 / perSecond;
  }

  async take(tokens: number): Promise<void> {
    const now = performance.now();
    const at = Math.max(this.#next, now - 1000);
    this.#next = at + tokens * this.#interval;
    if (at > now) await sleep(at - now);
  }
}

/** The administrator is left alone, as the application leaves him: documents refer to him by name. */
async function sample(db: Db, name: string): Promise<unknown[]> {
  const collection = db.collection(name);
  const count = await collection.estimatedDocumentCount();
  const places = count > SAMPLE ? PLACES : 1;
  const ids: unknown[] = [];
  for (let place = 0; place < places; place++) {
    const found = collection
      .find({ username: { $ne: 'admin' } }, { projection: { _id: 1 } })
      .skip(Math.floor((place * count) / places))
      .limit(SAMPLE / places);
    for (const { _id } of await found.toArray()) ids.push(_id);
  }
  return ids;
}

/** Whether there was a document to write to. `$eq`, because an `_id` may be a document itself. */
async function send(db: Db, write: Write, session: ClientSession | undefined): Promise<boolean> {
  const collection = db.collection(write.collection);
  const options = session ? { session } : {};
  const filter = { _id: { $eq: write.id } } as Document;
  switch (write.kind) {
    case 'insert':
      return (await collection.insertOne(write.document, options)).acknowledged;
    case 'update':
      return (await collection.updateOne(write.by ?? filter, write.change, options)).matchedCount > 0;
    case 'replace':
      return (await collection.replaceOne(filter, write.document, options)).matchedCount > 0;
    case 'delete':
      return (await collection.deleteOne(write.by ?? filter, options)).deletedCount > 0;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rate: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      collections: { type: 'string' },
    },
  });
  const url = process.env['SOURCE_MONGODB_URL'];
  if (!url) throw new SeedError('SOURCE_MONGODB_URL is not set.');
  let last = '';
  const writer = startLegacyWriter({
    url,
    perSecond: Number(values.rate),
    seed: Number(values.seed),
    ...(values.collections !== undefined && { collections: values.collections.split(',') }),
    onError: (error) => {
      const message = String(error);
      if (message !== last) process.stderr.write(`${message}\n`);
      last = message;
    },
  });
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  await sleep(Number(values.seconds) * 1000, undefined, { signal: stop.signal }).catch(() => undefined);
  process.stdout.write(`${JSON.stringify(await writer.stop())}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
