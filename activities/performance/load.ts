// An open load: requests begin at fixed times whether or not earlier ones were answered, and each one's latency counts from its intended start.
import { setTimeout as sleep } from 'node:timers/promises';
import { summarise, type Latencies } from '../../core/performance.ts';
import { TimedOut } from './ask.ts';

export interface Load {
  /** Requests per second. */
  readonly rate: number;
  readonly seconds: number;
  /** Requests begun before this are not counted, s. */
  readonly warmUpSeconds: number;
  /** More requests than this are not open at once; what would be more is given up, and counts as not answered. */
  readonly mostOpen: number;
  /** What a request that was not answered counts as at least, ms. */
  readonly timeoutMs: number;
}

export interface LoadResult {
  readonly rate: number;
  readonly seconds: number;
  readonly offered: number;
  readonly answered: number;
  readonly timeouts: number;
  readonly errors: number;
  readonly given_up: number;
  /** Answers per second while load was offered; the offered rate where the system kept up. */
  readonly throughput: number;
  /** From the intended start; those not answered count as the time-out. */
  readonly latency: Latencies | null;
  /** How late requests were begun because this process was busy, ms: part of every latency above. */
  readonly begun_late: Latencies | null;
}

/** `request` is called when one is due, whether or not earlier ones were answered. */
export async function offer(load: Load, request: () => Promise<void>): Promise<LoadResult> {
  const gap = 1000 / load.rate;
  const warm = Math.round(load.rate * load.warmUpSeconds);
  const total = warm + Math.round(load.rate * load.seconds);
  const begin = performance.now() + 20;
  const ends = begin + total * gap;
  const counted = { answered: 0, timeouts: 0, errors: 0, given_up: 0, inTime: 0 };
  const latencies: number[] = [];
  const late: number[] = [];
  const open = new Set<Promise<void>>();
  const start = (i: number): void => {
    const intended = begin + i * gap;
    const counts = i >= warm;
    if (counts) late.push(Math.max(0, performance.now() - intended));
    if (open.size >= load.mostOpen) {
      if (counts) {
        counted.given_up++;
        latencies.push(load.timeoutMs);
      }
      return;
    }
    const running = request()
      .then(
        () => {
          const now = performance.now();
          if (!counts) return;
          counted.answered++;
          if (now <= ends) counted.inTime++;
          latencies.push(now - intended);
        },
        (error: unknown) => {
          if (!counts) return;
          if (error instanceof TimedOut) counted.timeouts++;
          else counted.errors++;
          latencies.push(Math.max(load.timeoutMs, performance.now() - intended));
        },
      )
      .finally(() => open.delete(running));
    open.add(running);
  };
  for (let next = 0; next < total;) {
    for (const now = performance.now(); next < total && begin + next * gap <= now;) start(next++);
    if (next < total) await sleep(Math.max(0, Math.min(50, begin + next * gap - performance.now())));
  }
  await sleep(Math.max(0, ends - performance.now()));
  const backlog = open.size;
  await Promise.all(open);
  const offered = total - warm;
  const unanswered = counted.timeouts + counted.errors + counted.given_up;
  // Requests still open at the end are a queue only where there are more than a moment's worth.
  const keptUp = unanswered === 0 && backlog <= Math.max(5, offered * 0.01);
  return {
    rate: load.rate,
    seconds: load.seconds,
    offered,
    answered: counted.answered,
    timeouts: counted.timeouts,
    errors: counted.errors,
    given_up: counted.given_up,
    throughput: Math.round((keptUp ? offered : counted.inTime) / load.seconds),
    latency: summarise(latencies) ?? null,
    begun_late: summarise(late) ?? null,
  };
}
