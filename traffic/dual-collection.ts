// A collection as the driver offers it, each write going to both systems.
import type {
  AnyBulkWriteOperation,
  BulkWriteOptions,
  BulkWriteResult,
  Collection,
  DeleteOptions,
  DeleteResult,
  Document,
  Filter,
  FindOneAndDeleteOptions,
  FindOneAndReplaceOptions,
  FindOneAndUpdateOptions,
  InsertManyResult,
  InsertOneOptions,
  InsertOneResult,
  OptionalUnlessRequiredId,
  UpdateFilter,
  UpdateOptions,
  UpdateResult,
  WithId,
  WithoutId,
} from 'mongodb';
import type { DualWriteManager } from './dual-write.ts';

/** The operations return what the driver's return, from the old system. */
export class DualCollection<T extends Document> {
  readonly #manager: DualWriteManager;
  readonly #old: Collection<T>;

  constructor(manager: DualWriteManager, old: Collection<T>) {
    this.#manager = manager;
    this.#old = old;
  }

  insertOne(document: OptionalUnlessRequiredId<T>, options: InsertOneOptions = {}): Promise<InsertOneResult<T>> {
    return this.#write(
      (session) => this.#old.insertOne(document, { ...options, session }),
      (result) => [result.insertedId],
    );
  }

  insertMany(
    documents: readonly OptionalUnlessRequiredId<T>[],
    options: BulkWriteOptions = {},
  ): Promise<InsertManyResult<T>> {
    return this.#write(
      (session) => this.#old.insertMany([...documents], { ...options, session }),
      (result) => Object.values(result.insertedIds),
    );
  }

  async updateOne(filter: Filter<T>, update: UpdateFilter<T>, options: UpdateOptions = {}): Promise<UpdateResult<T>> {
    const ids = await this.#idsOf(filter, 1);
    return this.#write(
      (session) => this.#old.updateOne(filter, update, { ...options, session }),
      (result) => [...ids, ...(result.upsertedId === null ? [] : [result.upsertedId])],
    );
  }

  async updateMany(filter: Filter<T>, update: UpdateFilter<T>, options: UpdateOptions = {}): Promise<UpdateResult<T>> {
    const ids = await this.#idsOf(filter);
    return this.#write(
      (session) => this.#old.updateMany(filter, update, { ...options, session }),
      (result) => [...ids, ...(result.upsertedId === null ? [] : [result.upsertedId])],
    );
  }

  async replaceOne(
    filter: Filter<T>,
    replacement: WithoutId<T>,
    options: UpdateOptions = {},
  ): Promise<UpdateResult<T>> {
    const ids = await this.#idsOf(filter, 1);
    return this.#write(
      async (session) =>
        (await this.#old.replaceOne(filter, replacement, { ...options, session } as never)) as UpdateResult<T>,
      (result) => [...ids, ...(result.upsertedId === null ? [] : [result.upsertedId])],
    );
  }

  async deleteOne(filter: Filter<T>, options: DeleteOptions = {}): Promise<DeleteResult> {
    const ids = await this.#idsOf(filter, 1);
    return this.#write(
      (session) => this.#old.deleteOne(filter, { ...options, session }),
      () => ids,
    );
  }

  async deleteMany(filter: Filter<T>, options: DeleteOptions = {}): Promise<DeleteResult> {
    const ids = await this.#idsOf(filter);
    return this.#write(
      (session) => this.#old.deleteMany(filter, { ...options, session }),
      () => ids,
    );
  }

  findOneAndUpdate(
    filter: Filter<T>,
    update: UpdateFilter<T>,
    options: FindOneAndUpdateOptions = {},
  ): Promise<WithId<T> | null> {
    return this.#findOneAnd(filter, options, (session) =>
      this.#old.findOneAndUpdate(filter, update, { ...options, session, includeResultMetadata: false }),
    );
  }

  findOneAndReplace(
    filter: Filter<T>,
    replacement: WithoutId<T>,
    options: FindOneAndReplaceOptions = {},
  ): Promise<WithId<T> | null> {
    return this.#findOneAnd(filter, options, (session) =>
      this.#old.findOneAndReplace(filter, replacement, { ...options, session, includeResultMetadata: false }),
    );
  }

  findOneAndDelete(filter: Filter<T>, options: FindOneAndDeleteOptions = {}): Promise<WithId<T> | null> {
    return this.#findOneAnd(filter, options, (session) =>
      this.#old.findOneAndDelete(filter, { ...options, session, includeResultMetadata: false }),
    );
  }

  async bulkWrite(
    operations: readonly AnyBulkWriteOperation<T>[],
    options: BulkWriteOptions = {},
  ): Promise<BulkWriteResult> {
    const filters = operations.flatMap((operation) => {
      const [body] = Object.values(operation) as { filter?: Filter<T> }[];
      return body?.filter ? [body.filter] : [];
    });
    const ids: unknown[] = [];
    for (const filter of filters) ids.push(...(await this.#idsOf(filter)));
    return this.#write(
      (session) => this.#old.bulkWrite([...operations], { ...options, session }),
      (result) => [...ids, ...Object.values(result.insertedIds), ...Object.values(result.upsertedIds)],
    );
  }

  /** The document it returns may lack its `_id` (a projection), or be null although one was inserted (upsert). */
  async #findOneAnd(
    filter: Filter<T>,
    options: { sort?: unknown },
    run: (session: Parameters<Parameters<DualWriteManager['write']>[1]>[1]) => Promise<WithId<T> | null>,
  ): Promise<WithId<T> | null> {
    const ids = await this.#idsOf(filter, 1, options.sort);
    return this.#write(run, (document) => {
      const id = (document as { _id?: unknown } | null)?._id;
      return id === undefined ? ids : [id, ...ids];
    });
  }

  #write<R>(
    first: (session: Parameters<Parameters<DualWriteManager['write']>[1]>[1]) => Promise<R>,
    touched: (result: R) => readonly unknown[],
  ): Promise<R> {
    return this.#manager.write(this.#old.collectionName, (_, session) => first(session), touched);
  }

  /** Which documents an operation is about to meet. One that comes to match in between is brought by capture. */
  async #idsOf(filter: Filter<T>, limit?: number, sort?: unknown): Promise<unknown[]> {
    if (!this.#manager.isOn(this.#old.collectionName)) return [];
    const keys = Object.keys(filter);
    const id = (filter as { _id?: unknown })._id;
    if (keys.length === 1 && id !== undefined && !isOperator(id)) return [id];
    const found = this.#old.find(filter, { projection: { _id: 1 } });
    if (sort !== undefined) found.sort(sort as never);
    if (limit !== undefined) found.limit(limit);
    return (await found.toArray()).map((document) => document._id);
  }
}

const isOperator = (value: unknown): boolean =>
  value !== null && typeof value === 'object' && Object.keys(value).some((key) => key.startsWith('$'));
