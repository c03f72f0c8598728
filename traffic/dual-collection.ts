// A collection as the driver offers it, each write going to both systems.
import type {
  AnyBulkWriteOperation,
  BulkWriteOptions,
  BulkWriteResult,
  ClientSession,
  Collection,
  CommandOperationOptions,
  DeleteOptions,
  DeleteResult,
  Document,
  Filter,
  FindOneAndDeleteOptions,
  FindOneAndReplaceOptions,
  FindOneAndUpdateOptions,
  FindOptions,
  InsertManyResult,
  InsertOneOptions,
  InsertOneResult,
  OptionalUnlessRequiredId,
  ReplaceOptions,
  Sort,
  UpdateFilter,
  UpdateOptions,
  UpdateResult,
  WithId,
  WithoutId,
} from 'mongodb';
import type { DualWriteManager } from './dual-write.ts';

/** The driver's options without those that are refused: see `refuse`. */
type Own<O> = Omit<O, 'session' | 'includeResultMetadata'>;
type InSession<O> = O & { readonly session: ClientSession };

/** What decides, besides the filter, which documents an operation meets. */
const deciding = ['collation', 'hint', 'let', 'sort', 'maxTimeMS'] as const;
type Deciding = Partial<Record<(typeof deciding)[number], unknown>>;

interface Meeting<T> {
  readonly filter: Filter<T>;
  readonly limit?: number;
  readonly by: Deciding;
}

/** The operations return what the driver's return, from the old system. */
export class DualCollection<T extends Document> {
  readonly #manager: DualWriteManager;
  readonly #old: Collection<T>;

  constructor(manager: DualWriteManager, old: Collection<T>) {
    this.#manager = manager;
    this.#old = old;
  }

  insertOne(document: OptionalUnlessRequiredId<T>, options: Own<InsertOneOptions> = {}): Promise<InsertOneResult<T>> {
    return this.#write(
      options,
      [],
      (own) => this.#old.insertOne(document, own),
      (result) => [result.insertedId],
    );
  }

  insertMany(
    documents: readonly OptionalUnlessRequiredId<T>[],
    options: Own<BulkWriteOptions> = {},
  ): Promise<InsertManyResult<T>> {
    return this.#write(
      options,
      [],
      (own) => this.#old.insertMany([...documents], own),
      (result) => Object.values(result.insertedIds),
    );
  }

  updateOne(
    filter: Filter<T>,
    update: UpdateFilter<T>,
    options: Own<UpdateOptions> & { sort?: Sort } = {},
  ): Promise<UpdateResult<T>> {
    return this.#write(
      options,
      [{ filter, limit: 1, by: options }],
      (own) => this.#old.updateOne(filter, update, own),
      upserted,
    );
  }

  updateMany(filter: Filter<T>, update: UpdateFilter<T>, options: Own<UpdateOptions> = {}): Promise<UpdateResult<T>> {
    return this.#write(
      options,
      [{ filter, by: options }],
      (own) => this.#old.updateMany(filter, update, own),
      upserted,
    );
  }

  replaceOne(
    filter: Filter<T>,
    replacement: WithoutId<T>,
    options: Own<ReplaceOptions> = {},
  ): Promise<UpdateResult<T>> {
    return this.#write(
      options,
      [{ filter, limit: 1, by: options }],
      (own) => this.#old.replaceOne(filter, replacement, own),
      upserted,
    );
  }

  deleteOne(filter: Filter<T>, options: Own<DeleteOptions> = {}): Promise<DeleteResult> {
    return this.#write(options, [{ filter, limit: 1, by: options }], (own) => this.#old.deleteOne(filter, own));
  }

  deleteMany(filter: Filter<T>, options: Own<DeleteOptions> = {}): Promise<DeleteResult> {
    return this.#write(options, [{ filter, by: options }], (own) => this.#old.deleteMany(filter, own));
  }

  findOneAndUpdate(
    filter: Filter<T>,
    update: UpdateFilter<T>,
    options: Own<FindOneAndUpdateOptions> = {},
  ): Promise<WithId<T> | null> {
    return this.#findOneAnd(filter, options, (own) =>
      this.#old.findOneAndUpdate(filter, update, { ...own, includeResultMetadata: false }),
    );
  }

  findOneAndReplace(
    filter: Filter<T>,
    replacement: WithoutId<T>,
    options: Own<FindOneAndReplaceOptions> = {},
  ): Promise<WithId<T> | null> {
    return this.#findOneAnd(filter, options, (own) =>
      this.#old.findOneAndReplace(filter, replacement, { ...own, includeResultMetadata: false }),
    );
  }

  findOneAndDelete(filter: Filter<T>, options: Own<FindOneAndDeleteOptions> = {}): Promise<WithId<T> | null> {
    return this.#findOneAnd(filter, options, (own) =>
      this.#old.findOneAndDelete(filter, { ...own, includeResultMetadata: false }),
    );
  }

  bulkWrite(
    operations: readonly AnyBulkWriteOperation<T>[],
    options: Own<BulkWriteOptions> = {},
  ): Promise<BulkWriteResult> {
    const meetings = operations.flatMap((operation) => {
      const [body] = Object.values(operation) as ({ filter?: Filter<T> } & Deciding)[];
      return body?.filter ? [{ filter: body.filter, by: { ...body, let: options.let } }] : [];
    });
    return this.#write(
      options,
      meetings,
      (own) => this.#old.bulkWrite([...operations], own),
      (result) => [...Object.values(result.insertedIds), ...Object.values(result.upsertedIds)],
    );
  }

  /** The document it returns may lack its `_id` (a projection), or be null although one was inserted (upsert). */
  #findOneAnd<O extends CommandOperationOptions & { sort?: Sort }>(
    filter: Filter<T>,
    options: O,
    run: (own: InSession<O>) => Promise<WithId<T> | null>,
  ): Promise<WithId<T> | null> {
    return this.#write(options, [{ filter, limit: 1, by: options }], run, (document) => {
      const id = (document as { _id?: unknown } | null)?._id;
      return id === undefined ? [] : [id];
    });
  }

  /** `made`: the ids that only the result tells. */
  async #write<O extends CommandOperationOptions, R>(
    options: O,
    meetings: readonly Meeting<T>[],
    run: (own: InSession<O>) => Promise<R>,
    made: (result: R) => readonly unknown[] = () => [],
  ): Promise<R> {
    refuse(options);
    const ids: unknown[] = [];
    for (const meeting of meetings) ids.push(...(await this.#idsOf(meeting)));
    return this.#manager.write(
      this.#old.collectionName,
      (_, session) => run({ ...options, session }),
      (result) => [...ids, ...made(result)],
    );
  }

  /** Which documents an operation is about to meet. One that comes to match in between is brought by capture. */
  async #idsOf({ filter, limit, by }: Meeting<T>): Promise<unknown[]> {
    if (!this.#manager.isOn(this.#old.collectionName)) return [];
    const keys = Object.keys(filter);
    const id = (filter as { _id?: unknown })._id;
    if (keys.length === 1 && id !== undefined && !isOperator(id) && by.collation === undefined) return [id];
    const given = deciding.flatMap((name) => (by[name] === undefined ? [] : [[name, by[name]] as const]));
    const found = this.#old.find(filter, { projection: { _id: 1 }, ...(Object.fromEntries(given) as FindOptions) });
    if (limit !== undefined) found.limit(limit);
    return (await found.toArray()).map((document) => document._id);
  }
}

const upserted = ({ upsertedId }: UpdateResult): readonly unknown[] => (upsertedId === null ? [] : [upsertedId]);

const isOperator = (value: unknown): boolean =>
  value !== null && typeof value === 'object' && Object.keys(value).some((key) => key.startsWith('$'));

/** Options that could not be honoured, and would be lost without a word. */
function refuse(options: { readonly session?: unknown; readonly includeResultMetadata?: unknown }): void {
  if (options.session !== undefined && options.session !== null)
    throw new TypeError(
      'The option `session` is refused, nothing was written: an operation that is written to both systems runs in a session of its own, and would not be part of your transaction. Run the transaction within `DualWriteManager.write`, in the session it hands out (docs/routing.md).',
    );
  if (options.includeResultMetadata === true)
    throw new TypeError(
      'The option `includeResultMetadata` is refused, nothing was written: the operation returns the document. Leave it out.',
    );
}
