// Small queries of the migration's own, the application's main read on both sides: what tells how it fares when it reports nothing itself.
import type { Db } from 'mongodb';
import pg from 'pg';
import type { SideEvidence } from '../../core/evidence.ts';
import { KnownFailure } from '../../core/failures.ts';
import { add, quantile, type Histogram } from '../../core/histogram.ts';
import { idFromSourceId, idsFrom } from '../../core/identity.ts';
import { within } from '../../core/within.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { clientConfig, name } from '../../stores/postgres/connection.ts';
import { sessionSettings } from '../../stores/postgres/session.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { Resources } from '../resources.ts';
import type { LedgerKey } from './keys.ts';

export interface ProbeOrder {
  /** The role that the application reads as: a privilege that it lacks is met. Without it, the migration's own. */
  readonly role: string | undefined;
  /** What takes longer counts as slow by so much, ms. */
  readonly timeoutMs: number;
}

/** Rows a probe asks for at most: enough to be the application's read, too few to be a burden. */
const rowsAsked = 10;

/** A busy server may take so long to let somebody in, ms. */
const connectMs = 5000;

type Probe = () => Promise<unknown>;
interface Pair {
  readonly old: Probe;
  readonly fresh: Probe;
}

/**
 * One read of each side per key, in turn, so that both meet the same moments; without a key (nothing is loaded, or nobody can say) any
 * document will do. Never throws for a store that does not answer.
 */
export async function probe(
  resources: Resources,
  mapping: Mapping,
  keys: readonly (LedgerKey | undefined)[],
  order: ProbeOrder,
): Promise<{ old: SideEvidence; new: SideEvidence }> {
  const old = new Measured(order.timeoutMs);
  const fresh = new Measured(order.timeoutMs);
  const reader = new Reader(resources, order);
  try {
    const indexed = await indexedOf(resources.source.db, mapping);
    // What opening a connection takes is no query time.
    await reader.open();
    for (const key of keys) {
      const pair = await pairOf(resources, mapping, key, indexed, reader, order);
      await old.run(pair.old, keys.length);
      await fresh.run(pair.fresh, keys.length);
    }
  } finally {
    await reader.close();
  }
  return { old: old.evidence, new: fresh.evidence };
}

/** Source collections with an index for the main read: a scan of a whole collection is no probe. */
async function indexedOf(db: Db, { mainRead, collection, aliases }: Mapping): Promise<Set<string>> {
  const indexed = new Set<string>();
  if (!mainRead) return indexed;
  for (const source of [collection, ...aliases]) {
    const indexes = await db
      .collection(source)
      .indexes()
      .catch(() => []);
    const serves = indexes.some(({ key }) => {
      const [first, second] = Object.keys(key);
      return first === mainRead.by[0] && (mainRead.newest === undefined || second === mainRead.newest[0]);
    });
    if (serves) indexed.add(source);
  }
  return indexed;
}

async function pairOf(
  resources: Resources,
  mapping: Mapping,
  key: LedgerKey | undefined,
  indexed: ReadonlySet<string>,
  reader: Reader,
  { timeoutMs }: ProbeOrder,
): Promise<Pair> {
  const source = resources.source.db.collection(key?.source ?? mapping.collection);
  const id = key && idFromSourceId(key.id);
  const read = mapping.mainRead;
  const options = { maxTimeMS: timeoutMs };
  const byField = key && indexed.has(key.source) ? await valueOf(source, id, read!.by[0], timeoutMs) : undefined;
  const old: Probe =
    byField === undefined
      ? () => source.findOne((key ? { _id: id } : {}) as never, options)
      : () => {
          const found = source.find({ [read!.by[0]]: byField }, options).limit(rowsAsked);
          return (read!.newest ? found.sort({ [read!.newest[0]]: -1 }) : found).toArray();
        };
  return { old, fresh: freshProbe(resources, mapping, key, byField, reader, timeoutMs) };
}

/** Text alone: other types are written otherwise on the other side. */
async function valueOf(
  source: ReturnType<Db['collection']>,
  id: unknown,
  field: string,
  maxTimeMS: number,
): Promise<string | undefined> {
  const document = await source
    .findOne({ _id: id } as never, { projection: { [field]: 1 }, maxTimeMS })
    .catch(() => null);
  const value: unknown = document?.[field];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function freshProbe(
  resources: Resources,
  mapping: Mapping,
  key: LedgerKey | undefined,
  value: string | undefined,
  reader: Reader,
  timeoutMs: number,
): Probe {
  const read = mapping.mainRead;
  const redisKey = key?.keys[0];
  if (mapping.targets[0]?.store === 'redis' && redisKey !== undefined)
    return () => within(timeoutMs, resources.redis.get(redisKey), () => new TookTooLong('reading a key'));
  const target = mapping.targets.find((one) => one.store === 'postgres' || one.store === 'mongodb');
  if (target?.store === 'mongodb') {
    const collection = resources.mongodb.db.collection(target.name);
    const options = { maxTimeMS: timeoutMs };
    if (value === undefined)
      return () => collection.findOne((key ? { _id: { $in: idsFrom([key.id]) } } : {}) as never, options);
    const found = () => collection.find({ [read!.by[1]]: value }, options).limit(rowsAsked);
    return () => (read!.newest ? found().sort({ [read!.newest[1]]: -1 }) : found()).toArray();
  }
  const { name: table, time } = target as TableTarget;
  if (value !== undefined) {
    const newest = read!.newest ? ` order by ${name(read!.newest[1])} desc` : '';
    const sql = `select * from ${name(table)} where ${name(read!.by[1])} = $1${newest} limit ${rowsAsked}`;
    return () => reader.query(sql, [value]);
  }
  if (!key) return () => reader.query(`select * from ${name(table)} limit 1`, []);
  return time !== undefined && key.place !== null
    ? () =>
        reader.query(`select * from ${name(table)} where source_id = $1 and ${name(time)} = $2::timestamptz`, [
          key.id,
          key.place,
        ])
    : () => reader.query(`select * from ${name(table)} where source_id = $1`, [key.id]);
}

/** A connection of its own: a pool that others have emptied says nothing of the database. */
class Reader {
  readonly #resources: Resources;
  readonly #order: ProbeOrder;
  #client: pg.Client | undefined;

  constructor(resources: Resources, order: ProbeOrder) {
    this.#resources = resources;
    this.#order = order;
  }

  /** Where it fails, each query tries again and says why. */
  async open(): Promise<void> {
    try {
      this.#client ??= await this.#connect(connectMs);
    } catch (error) {
      if (error instanceof KnownFailure) throw error;
    }
  }

  async query(sql: string, values: unknown[]): Promise<unknown> {
    this.#client ??= await this.#connect(this.#order.timeoutMs);
    try {
      return await this.#client.query(sql, values);
    } catch (error) {
      // Only an error that the server sent leaves the connection as it was.
      if (!(error instanceof pg.DatabaseError)) await this.close();
      throw error;
    }
  }

  async #connect(connectionTimeoutMillis: number): Promise<pg.Client> {
    const { role, timeoutMs } = this.#order;
    const client = new pg.Client({
      ...clientConfig(this.#resources.addresses.postgres),
      application_name: 'causeway probe',
      connectionTimeoutMillis,
      query_timeout: timeoutMs * 2,
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(sessionSettings({ statementTimeoutMs: timeoutMs }));
      if (role !== undefined) await client.query(`set role ${name(role)}`);
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      if (role !== undefined && ['22023', '42704', '42501'].includes(String((error as pg.DatabaseError).code)))
        throw new KnownFailure('ConfigurationInvalid', `The role ${role} cannot be taken by the workers' user.`);
      throw error;
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }
}

class TookTooLong extends Error {}

/** 57014 PostgreSQL gave up a statement, 55P03 it waited for a lock; 50 MongoDB's MaxTimeMSExpired. */
const slow = (error: unknown): boolean =>
  error instanceof TookTooLong || ['57014', '55P03', '50'].includes(String((error as { code?: unknown }).code));

class Measured {
  readonly #timeoutMs: number;
  readonly #histogram: Histogram = {};
  #reads = 0;
  #errors = 0;
  #hung = 0;
  #ms = 0;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** When more than half of `all` have hung, the others are not asked: they count as hanging, and the median is known. */
  async run(read: Probe, all: number): Promise<void> {
    const since = performance.now();
    this.#reads++;
    if (this.#hung > all / 2) return this.#add(this.#timeoutMs);
    try {
      await read();
      this.#add(performance.now() - since);
    } catch (error) {
      if (error instanceof KnownFailure && error.type === 'ConfigurationInvalid') throw error;
      // One that hangs is slow; one that is refused is an error.
      if (slow(error)) {
        this.#hung++;
        this.#add(Math.max(this.#timeoutMs, performance.now() - since));
      } else this.#errors++;
    }
  }

  #add(ms: number): void {
    this.#ms += ms;
    add(this.#histogram, ms);
  }

  get evidence(): SideEvidence {
    const answered = this.#reads - this.#errors;
    return {
      reads: this.#reads,
      errors: this.#errors,
      perSecond: this.#ms === 0 ? 0 : answered / (this.#ms / 1000),
      meanMs: answered === 0 ? null : this.#ms / answered,
      p50Ms: quantile(this.#histogram, 0.5),
      p95Ms: quantile(this.#histogram, 0.95),
      p99Ms: quantile(this.#histogram, 0.99),
    };
  }
}
