// Why a question to MongoDB is slow: the indexes that stand, and whether the plan reads the whole collection.
import type { Db } from 'mongodb';
import { mongo } from './connection.ts';
import { collectionNames } from './schema.ts';

export interface MongoPlan {
  /** From the top: LIMIT, SORT, FETCH, IXSCAN, COLLSCAN... */
  readonly stages: readonly string[];
  readonly indexes: readonly string[];
  readonly documentsExamined: number | null;
  readonly keysExamined: number | null;
}

interface MongoQuestion {
  readonly filter?: Record<string, unknown>;
  readonly sort?: Readonly<Record<string, 1 | -1>>;
  readonly skip?: number;
  readonly limit?: number;
  readonly pipeline?: readonly Record<string, unknown>[];
}

/** Names of stages and indexes only: the server's own answer repeats the filter, which holds values. */
export async function explainMongo(db: Db, collection: string, question: MongoQuestion): Promise<MongoPlan> {
  const answer = await mongo(`explaining a question to ${collection}`, () => {
    const at = db.collection(collection);
    if (question.pipeline) return at.aggregate([...question.pipeline]).explain('executionStats');
    const cursor = at.find((question.filter ?? {}) as never);
    if (question.sort) cursor.sort(question.sort as never);
    if (question.skip) cursor.skip(question.skip);
    if (question.limit) cursor.limit(question.limit);
    return cursor.explain('executionStats');
  });
  const root = answer as Record<string, unknown>;
  const stages: string[] = [];
  const indexes: string[] = [];
  const planner = (root['queryPlanner'] ?? firstCursor(root)?.['queryPlanner']) as Record<string, unknown> | undefined;
  walk(planner?.['winningPlan'], stages, indexes);
  const stats = (root['executionStats'] ?? firstCursor(root)?.['executionStats']) as
    Record<string, unknown> | undefined;
  const figure = (field: string) => (stats?.[field] === undefined ? null : Number(stats[field]));
  return { stages, indexes, documentsExamined: figure('totalDocsExamined'), keysExamined: figure('totalKeysExamined') };
}

const firstCursor = (root: Record<string, unknown>) =>
  (root['stages'] as { $cursor?: Record<string, unknown> }[] | undefined)?.[0]?.$cursor;

function walk(plan: unknown, stages: string[], indexes: string[]): void {
  if (plan === null || typeof plan !== 'object') return;
  const node = plan as Record<string, unknown>;
  // The slot-based engine puts the plan one level deeper.
  if (node['queryPlan'] !== undefined) return walk(node['queryPlan'], stages, indexes);
  if (typeof node['stage'] === 'string') stages.push(node['stage']);
  if (typeof node['indexName'] === 'string') indexes.push(node['indexName']);
  walk(node['inputStage'], stages, indexes);
  for (const inner of (node['inputStages'] as unknown[] | undefined) ?? []) walk(inner, stages, indexes);
}

/** Keys of every index, in order; none where the collection is not there. */
export async function mongoIndexes(db: Db, collection: string): Promise<Readonly<Record<string, unknown>>[]> {
  if (!(await collectionNames(db)).includes(collection)) return [];
  const found = await mongo(`listing the indexes of ${collection}`, () =>
    db.collection(collection).listIndexes().toArray(),
  );
  return found.map((index) => index['key'] as Record<string, unknown>);
}

/** An index serves where its first keys are the ones asked for, in the same directions or all in the opposite ones. */
export function servesMongo(index: Readonly<Record<string, unknown>>, keys: Readonly<Record<string, 1 | -1>>): boolean {
  const standing = Object.entries(index);
  const wanted = Object.entries(keys);
  return [1, -1].some((sign) =>
    wanted.every(([key, direction], i) => standing[i]?.[0] === key && Number(standing[i][1]) === direction * sign),
  );
}
