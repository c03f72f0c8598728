// Why a query is slow, or will be: a declared index that is gone, a lock, a plan that reads everything.
import type { Cause } from '../../core/performance.ts';
import type { ApplicationQuery, Sort } from '../../mappings/query.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { explainMongo, mongoIndexes, servesMongo } from '../../stores/mongodb/diagnosis.ts';
import type { CollectionTarget } from '../../stores/mongodb/target.ts';
import { KnownFailure } from '../../core/failures.ts';
import { explain, indexesOf, serves, type Blocker, type Plan } from '../../stores/postgres/diagnosis.ts';
import { name } from '../../stores/postgres/connection.ts';
import { uniqueSets, type TableTarget } from '../../stores/postgres/target.ts';
import type { Asker } from './ask.ts';
import type { MeasuredQuery } from './measure.ts';
import type { Probe } from './probes.ts';

export interface KeptPlan {
  readonly query: string;
  readonly side: 'old' | 'new';
  readonly store: string;
  readonly plan: unknown;
}

export interface Diagnosis {
  readonly causes: readonly Cause[];
  readonly plans: readonly KeptPlan[];
}

/** A sequential scan over fewer rows is what a good planner chooses. */
const manyRows = 10_000;

/** `slow`: also asks both systems for their plans. */
export async function diagnose(asker: Asker, probe: Probe, measured: MeasuredQuery, slow: boolean): Promise<Diagnosis> {
  const causes: Cause[] = measured.blockers.map(lockCause);
  const lost = await lostIndex(asker, probe.mapping, probe.query);
  const plans: KeptPlan[] = [];
  if (slow || lost) {
    const { plan, kept } = await planOf(asker, probe, measured);
    plans.push(...kept);
    if (lost) causes.push({ ...lost, sentence: `${lost.sentence}${readsAll(plan)}`, evidence: plan });
    else if (plan && 'scans' in plan) {
      const scan = plan.scans.find((one) => one.node === 'Seq Scan' && one.rows >= manyRows);
      if (scan)
        causes.push({
          kind: 'sequential_scan',
          sentence: `the plan reads ${scan.relation} sequentially, ${scan.rows} rows, although the index stands; run ANALYZE ${scan.relation}`,
          evidence: plan.scans,
        });
    }
  }
  if (measured.new.timeouts > 0 && measured.blockers.length === 0)
    causes.push({ kind: 'timeout', sentence: `no answer in time, and nobody held a lock` });
  for (const error of measured.errors.filter((one) => one.startsWith('new')))
    causes.push({ kind: 'error', sentence: error.replace('new: ', '') });
  return { causes, plans };
}

function lockCause({ pid, relation, holds, wanted, application, state, since }: Blocker): Cause {
  const who = `process ${pid}${application ? ` (${application}${state ? `, ${state}` : ''})` : ''}`;
  const what = `${holds.join(', ') || 'a lock'}${relation ? ` on ${relation}` : ''}`;
  return {
    kind: 'lock',
    sentence: `waits for ${wanted ?? 'a lock'}${relation ? ` on ${relation}` : ''}, because ${who} holds ${what}${since ? ` since ${since}` : ''}; \`select pg_terminate_backend(${pid})\` ends it`,
    evidence: { pid, relation, holds, wanted, application, state, since },
  };
}

/** undefined: the query declares no index, or it stands. */
async function lostIndex(asker: Asker, mapping: Mapping, query: ApplicationQuery): Promise<Cause | undefined> {
  if (!query.index) return undefined;
  const { target, keys } = query.index;
  const store = mapping.targets.find((one) => one.name === target)?.store;
  if (store === 'postgres') return lostTableIndex(asker, target, keys as readonly string[]);
  const standing = await mongoIndexes(asker.databases.new, target);
  if (standing.some((index) => servesMongo(index, keys as Sort))) return undefined;
  return {
    kind: 'missing_index',
    sentence: `${target} has no index ${JSON.stringify(keys)}, which the mapping ${mapping.collection} declares; \`db.${target}.createIndex(${JSON.stringify(keys)})\` makes it`,
  };
}

async function lostTableIndex(asker: Asker, table: string, keys: readonly string[]): Promise<Cause | undefined> {
  const standing = (await indexesOf(asker.pool, [table])).filter((index) => serves(index, keys));
  if (standing.some((index) => index.valid)) return undefined;
  const columns = keys.map((key) => key.replace(/^[^ ]+/, name)).join(', ');
  if (standing.length > 0)
    return {
      kind: 'invalid_index',
      sentence: `the index on ${table} (${keys.join(', ')}) is not valid; REINDEX it`,
    };
  return {
    kind: 'missing_index',
    sentence: `${table} has no index on (${keys.join(', ')}), which its mapping declares; \`create index on ${name(table)} (${columns})\` makes it`,
  };
}

const readsAll = (plan: Plan | { stages: readonly string[]; documentsExamined: number | null } | undefined): string => {
  if (!plan) return '';
  if ('stages' in plan)
    return plan.stages.includes('COLLSCAN')
      ? `; the plan is a COLLSCAN${plan.documentsExamined === null ? '' : ` of ${plan.documentsExamined} documents`}`
      : '';
  const scans = plan.scans.filter((scan) => scan.node === 'Seq Scan');
  if (scans.length === 0) return '';
  return `; the plan reads ${scans[0]!.relation} sequentially, ${scans.reduce((sum, scan) => sum + scan.rows, 0)} rows`;
};

/** A plan that cannot be had in time is none: the cause stands without it. */
async function planOf(asker: Asker, { query }: Probe, { slowest }: MeasuredQuery) {
  const kept: KeptPlan[] = [];
  let plan: Plan | Awaited<ReturnType<typeof explainMongo>> | undefined;
  const keep = (side: 'old' | 'new', store: string, its: unknown) =>
    kept.push({ query: query.name, side, store, plan: its });
  if (slowest.new.store === 'postgres') {
    const client = await asker.pool.connect();
    try {
      plan = await explain(client, slowest.new.sql, slowest.new.values).catch(unlessUnreachable);
    } finally {
      client.release();
    }
  } else if (slowest.new.store === 'mongodb')
    plan = await explainMongo(asker.databases.new, slowest.new.collection!, slowest.new).catch(unlessUnreachable);
  if (plan) keep('new', slowest.new.store, plan);
  const old = await explainMongo(asker.databases.old, slowest.old.collection ?? slowest.source, slowest.old).catch(
    unlessUnreachable,
  );
  if (old) keep('old', 'mongodb', old);
  return { plan, kept };
}

function unlessUnreachable(error: unknown): undefined {
  if (error instanceof KnownFailure && error.type === 'StoreUnreachable') throw error;
  return undefined;
}

/** Indexes the mapping declares and its targets do not have, whether a query of it is known or not. */
export async function lostIndexes(asker: Asker, mapping: Mapping): Promise<{ declared: number; lost: string[] }> {
  const lost: string[] = [];
  let declared = 0;
  for (const target of mapping.targets) {
    if (target.store === 'postgres') {
      const declares = target as TableTarget;
      const standing = await indexesOf(asker.pool, [target.name]);
      for (const keys of [...(declares.indexes ?? []), ...uniqueSets(declares)]) {
        declared++;
        if (!standing.some((index) => index.valid && serves(index, keys)))
          lost.push(`${target.name} (${keys.join(', ')})`);
      }
    } else if (target.store === 'mongodb') {
      const standing = await mongoIndexes(asker.databases.new, target.name);
      for (const keys of (target as CollectionTarget).indexes) {
        declared++;
        if (!standing.some((index) => servesMongo(index, keys))) lost.push(`${target.name} ${JSON.stringify(keys)}`);
      }
    }
  }
  return { declared, lost };
}
