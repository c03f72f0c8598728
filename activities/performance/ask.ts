// Putting one question to one system, bounded in time; what it answers is read and thrown away.
import { BSON } from 'mongodb';
import type pg from 'pg';
import { within } from '../../core/within.ts';
import type { Question } from '../../mappings/query.ts';
import { openPool } from '../../stores/postgres/connection.ts';
import { openMongo } from '../../stores/mongodb/connection.ts';
import type { Side } from '../../traffic/router.ts';
import type { Resources } from '../resources.ts';
import type { Asked } from './probes.ts';

export class TimedOut extends Error {
  override readonly name = 'TimedOut';
}

/** Connections of its own, so that what is measured does not wait behind the migration's work. */
export class Asker {
  readonly #old: ReturnType<typeof openMongo>;
  readonly #new: ReturnType<typeof openMongo>;
  readonly #redis: Resources['redis'];
  readonly #timeoutMs: number;
  readonly pool: pg.Pool;

  constructor(resources: Resources, connections: number, timeoutMs: number) {
    this.#old = openMongo(resources.addresses.source, 'source');
    this.#new = openMongo(resources.addresses.mongodb, 'target');
    this.#redis = resources.redis;
    this.#timeoutMs = timeoutMs;
    this.pool = openPool(resources.addresses.postgres, connections, { statementTimeoutMs: timeoutMs });
  }

  get databases() {
    return { old: this.#old.db, new: this.#new.db };
  }

  /** Throws TimedOut, or what the driver threw. `client`: the connection to ask PostgreSQL on, one of the pool otherwise. */
  async ask(side: Side, asked: Asked, client: pg.Pool | pg.ClientBase = this.pool): Promise<void> {
    await bounded(
      side === 'old' ? this.#mongo(this.#old.db, asked.old, asked.source) : this.#fresh(asked.new, client),
      this.#timeoutMs,
    );
  }

  async #fresh(question: Question, client: pg.Pool | pg.ClientBase): Promise<void> {
    if (question.store === 'postgres') {
      await client.query(question.sql, [...question.values]);
      return;
    }
    if (question.store === 'redis') {
      await this.#redis.get(question.key);
      return;
    }
    await this.#mongo(this.#new.db, question, question.collection!);
  }

  async #mongo(
    db: ReturnType<typeof openMongo>['db'],
    question: Extract<Question, { store: 'mongodb' }>,
    collection: string,
  ): Promise<void> {
    const at = db.collection(question.collection ?? collection);
    const maxTimeMS = this.#timeoutMs;
    if ('pipeline' in question) {
      decodeAll(await at.aggregate<Buffer>([...question.pipeline], { maxTimeMS, raw: true }).toArray());
      return;
    }
    const { filter, sort, skip, limit, counted } = question;
    const options = { maxTimeMS, raw: true, ...(sort && { sort }), ...(skip && { skip }), ...(limit && { limit }) };
    const [found] = await Promise.all([
      at.find(filter, options).toArray(),
      counted ? at.countDocuments(filter, { maxTimeMS }) : undefined,
    ]);
    decodeAll(found as unknown as readonly Buffer[]);
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#old.client.close(), this.#new.client.close(), this.pool.end()]);
  }
}

/** As the driver does for an application. What no driver decodes says nothing of how fast the system is: it was asked for, and has come. */
function decodeAll(documents: readonly Buffer[]): void {
  for (const bytes of documents)
    try {
      BSON.deserialize(bytes, { bsonRegExp: true });
    } catch (error) {
      if (!(error instanceof BSON.BSONError)) throw error;
    }
}

/** Not every server heeds the limit it is given. */
async function bounded(work: Promise<void>, timeoutMs: number): Promise<void> {
  const late = () => new TimedOut(`no answer in ${timeoutMs} ms`);
  try {
    await within(timeoutMs + 250, work, late);
  } catch (error) {
    // 57014 in PostgreSQL, 50 in MongoDB: ended by the limit.
    const { code } = error as { code?: unknown };
    throw code === '57014' || code === 50 ? late() : error;
  }
}
