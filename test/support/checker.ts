// Compares the targets with the source, document by document, while the source stands still. Imports nothing of the project's code.
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { MongoClient, type Db } from 'mongodb';
import pg from 'pg';
import { analysis } from './checker-analysis.ts';
import { quotes, tokenUsage } from './checker-figures.ts';
import { liveSession, wrongKeys, type LiveSession } from './checker-keys.ts';
import { sessions, users } from './checker-people.ts';
import { metadata } from './checker-settings.ts';
import type { Expectation, Row, Rows, Targets, Users } from './checker-target.ts';
import { idText, wrongFields, type SourceDocument } from './checker-values.ts';

export interface CheckedEnvironment {
  readonly SOURCE_MONGODB_URL: string;
  readonly TARGET_POSTGRES_URL: string;
  readonly TARGET_MONGODB_URL: string;
  readonly TARGET_REDIS_URL: string;
}

export interface Difference {
  /** The mapping's name. */
  readonly collection: string;
  /** For a key of Redis that no session explains: the key. */
  readonly sourceId: string;
  readonly what: string;
}

/** `users` first: the others refer to them. */
const all: readonly Expectation[] = [users, tokenUsage, analysis, sessions, metadata, quotes];

/** Every difference found; none means that all documents arrived as they are, and nothing else did. */
export async function checkEqual(environment: CheckedEnvironment): Promise<Difference[]> {
  const source = new MongoClient(environment.SOURCE_MONGODB_URL);
  const mongo = new MongoClient(environment.TARGET_MONGODB_URL);
  const pool = new pg.Pool({ connectionString: environment.TARGET_POSTGRES_URL, max: 2 });
  const redis = new Redis(environment.TARGET_REDIS_URL);
  try {
    const targets = { pool, mongo: mongo.db() };
    const arrived = await arrivedUsers(pool);
    const checks: Check[] = [];
    for (const expectation of all) checks.push(await check(expectation, source.db(), targets, arrived));
    const keys = await wrongKeys(
      redis,
      checks.flatMap(({ live }) => live),
    );
    return [
      ...checks.flatMap(({ differences }) => differences),
      ...keys.map((wrong) => ({ collection: sessions.mapping, ...wrong })),
    ];
  } finally {
    redis.disconnect();
    await Promise.all([source.close(), mongo.close(), pool.end()]);
  }
}

async function arrivedUsers(pool: pg.Pool): Promise<Users> {
  const { rows } = await pool.query<{ id: string; source_id: string; username: string }>(
    'select id, source_id, username from users',
  );
  return {
    bySourceId: new Map(rows.map((row) => [row.source_id, row.id])),
    byName: new Map(rows.map((row) => [row.username, row.id])),
  };
}

interface Check {
  readonly differences: Difference[];
  readonly live: LiveSession[];
}

async function check(expectation: Expectation, source: Db, targets: Targets, arrived: Users): Promise<Check> {
  const states = await statesOf(targets.pool, expectation.mapping);
  const book = new Book(expectation, states, await expectation.load(targets), arrived);
  for (const name of expectation.sources)
    for await (const document of source.collection(name).find({}, { promoteValues: false, batchSize: 5000 }))
      book.enter(document as SourceDocument);
  book.close();
  return book;
}

/** The states of each id: two where two source collections hold the same `_id`. */
async function statesOf(pool: pg.Pool, mapping: string): Promise<Map<string, string[]>> {
  const { rows } = await pool.query<{ source_id: string; state: string }>(
    'select source_id, state from migration_control.accounting where collection = $1',
    [mapping],
  );
  const states = new Map<string, string[]>();
  for (const { source_id: id, state } of rows) states.set(id, [...(states.get(id) ?? []), state]);
  return states;
}

/** Crosses out, document by document, what the accounting and the target hold; what is left at the end should not be there. */
class Book implements Check {
  readonly differences: Difference[] = [];
  readonly live: LiveSession[] = [];
  readonly #expectation: Expectation;
  readonly #states: Map<string, string[]>;
  readonly #rows: Rows;
  readonly #arrived: Users;
  /** Ids that several source collections hold: which of the documents has which state cannot be told. */
  readonly #shared: ReadonlyMap<string, readonly string[]>;

  constructor(expectation: Expectation, states: Map<string, string[]>, rows: Rows, arrived: Users) {
    this.#expectation = expectation;
    this.#states = states;
    this.#rows = rows;
    this.#arrived = arrived;
    this.#shared = new Map([...states].filter(([, list]) => list.length > 1).map(([id, list]) => [id, [...list]]));
  }

  enter(document: SourceDocument): void {
    const id = idText(document._id);
    const state = this.#states.get(id)?.shift();
    if (this.#shared.has(id) && state !== undefined) return;
    const rows = this.#rows.get(id) ?? [];
    this.#rows.delete(id);
    if (state === undefined) return this.#report(id, 'the accounting has no row for it');
    if (state === 'loaded') this.#compare(document, id, rows);
    else if (rows.length > 0) this.#report(id, `is ${state}, and yet has a row in ${this.#expectation.target}`);
  }

  close(): void {
    for (const [id, states] of this.#shared) {
      if (states.includes('loaded') !== this.#rows.delete(id))
        this.#report(id, `rows in ${this.#expectation.target} do not go with the states ${states.join(', ')}`);
    }
    for (const [id, left] of this.#states)
      for (const state of left) this.#report(id, `extra: the accounting has it as ${state}, the source does not`);
    for (const id of this.#rows.keys())
      this.#report(id, `extra: a row in ${this.#expectation.target} without a document`);
  }

  #compare(document: SourceDocument, id: string, rows: readonly Row[]): void {
    const { target, spellings } = this.#expectation;
    if (rows.length !== 1) this.#report(id, `is loaded, and has ${rows.length} rows in ${target}`);
    const plain = !spellings.some((name) => name in document);
    if (this.#expectation === sessions) {
      const session = liveSession(document, id, plain);
      if (session) this.live.push(session);
    }
    if (rows.length !== 1 || !plain) return;
    const fields = this.#expectation.fields(document, this.#arrived);
    for (const wrong of wrongFields(fields, rows[0]!, target)) this.#report(id, wrong);
  }

  #report(sourceId: string, what: string): void {
    this.differences.push({ collection: this.#expectation.mapping, sourceId, what });
  }
}

async function main(): Promise<void> {
  const url = (name: keyof CheckedEnvironment): string => {
    const value = process.env[name];
    if (!value) throw new Error(`${name} is not set.`);
    return value;
  };
  const differences = await checkEqual({
    SOURCE_MONGODB_URL: url('SOURCE_MONGODB_URL'),
    TARGET_POSTGRES_URL: url('TARGET_POSTGRES_URL'),
    TARGET_MONGODB_URL: url('TARGET_MONGODB_URL'),
    TARGET_REDIS_URL: url('TARGET_REDIS_URL'),
  });
  for (const difference of differences) process.stdout.write(`${JSON.stringify(difference)}\n`);
  process.exitCode = differences.length === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
