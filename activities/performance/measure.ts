// One query, asked in turn of the old and of the new system, watched for locks while it waits.
import type pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Measured } from '../../core/performance.ts';
import { blockersOf, type Blocker } from '../../stores/postgres/diagnosis.ts';
import { postgresFailure } from '../../stores/postgres/connection.ts';
import type { Side } from '../../traffic/router.ts';
import { TimedOut, type Asker } from './ask.ts';
import type { Asked, Probe } from './probes.ts';

export interface MeasuredQuery {
  readonly old: Measured;
  readonly new: Measured;
  /** Who held locks that the query waited for. */
  readonly blockers: readonly Blocker[];
  /** What was thrown besides time-outs: names and codes. */
  readonly errors: readonly string[];
  /** The question that took longest in the new system. */
  readonly slowest: Asked;
}

export interface Effort {
  /** Questions per system, at most and at least (where nothing times out). */
  readonly most: number;
  readonly fewest: number;
  /** Not counted, per system. */
  readonly warmUp: number;
  readonly budgetMs: number;
}

/** A lock that is waited for this long is looked at, ms. */
const suspicious = 200;
/** After as many time-outs a system is not asked again; after the first, where a lock explains it. */
const enough = 2;

interface Tally {
  times: number[];
  timeouts: number;
  errors: number;
}

/** The systems take turns, so that what else the machine does falls on both. `probe` has at least one question. */
export async function measureQuery(asker: Asker, probe: Probe, effort: Effort): Promise<MeasuredQuery> {
  const client = await asker.pool.connect().catch((error: unknown) => {
    throw postgresFailure(error, 'connecting');
  });
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    const watch = { client, pid: rows[0]!.pid, pool: asker.pool };
    const tally: Record<Side, Tally> = {
      old: { times: [], timeouts: 0, errors: 0 },
      new: { times: [], timeouts: 0, errors: 0 },
    };
    const blockers = new Map<number, Blocker>();
    const errors = new Set<string>();
    let slowest = { ms: -1, asked: probe.questions[0]! };
    const ends = performance.now() + effort.budgetMs;
    for (let i = 0; i < effort.most + effort.warmUp; i++) {
      if (i >= effort.fewest + effort.warmUp && performance.now() > ends) break;
      const asked = probe.questions[i % probe.questions.length]!;
      const turns: Side[] = i % 2 === 0 ? ['old', 'new'] : ['new', 'old'];
      for (const side of turns) {
        const mine = tally[side];
        if (mine.timeouts >= enough) continue;
        const started = performance.now();
        try {
          if (side === 'new') await watched(asker.ask('new', asked, client), watch, blockers);
          else await asker.ask('old', asked);
          const ms = performance.now() - started;
          if (i >= effort.warmUp) mine.times.push(ms);
          if (side === 'new' && ms > slowest.ms) slowest = { ms, asked };
        } catch (error) {
          if (error instanceof TimedOut) mine.timeouts++;
          else {
            mine.errors++;
            errors.add(`${side}: ${nameOf(error)}`);
          }
          if (side === 'new') slowest = { ms: Infinity, asked };
        }
      }
      if (tally.new.timeouts >= (blockers.size > 0 ? 1 : enough)) break;
    }
    return { ...tally, blockers: [...blockers.values()], errors: [...errors], slowest: slowest.asked };
  } finally {
    client.release();
  }
}

const nameOf = (error: unknown): string => {
  const { name, code } = error as { name?: string; code?: unknown };
  return code === undefined ? (name ?? typeof error) : `${name} ${String(code)}`;
};

/** While `work` waits, another connection looks who keeps it waiting. */
async function watched(
  work: Promise<void>,
  { pid, pool }: { client: pg.ClientBase; pid: number; pool: pg.Pool },
  found: Map<number, Blocker>,
): Promise<void> {
  const over = new AbortController();
  const watching = (async () => {
    for (;;) {
      await sleep(suspicious, undefined, { signal: over.signal });
      for (const blocker of await blockersOf(pool, pid)) found.set(blocker.pid, blocker);
    }
  })().catch(() => undefined);
  try {
    await work;
  } finally {
    over.abort();
    await watching;
  }
}
