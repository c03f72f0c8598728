// Moving the writes: fence, drain to the fence, verify what changed last, flip. Whatever dies in between, the fence passes by itself and nothing has moved.
import { randomUUID } from 'node:crypto';
import { routesOf } from '../../control/routing.ts';
import { readReverse } from '../../control/reverse.ts';
import { KnownFailure } from '../../core/failures.ts';
import type { Route, WriteMode } from '../../core/state.ts';
import { query } from '../../stores/postgres/connection.ts';
import { feedsOf } from '../apply.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { close, closeBehind, reopen, reopenOwn, reopenUnderLock, settleClosings, type Closed } from './closing.ts';
import { verifyDirty } from './dirty.ts';
import { awaitWorkers, drainBack, drainForward, drainTargetStream, markLeftover, markUnread } from './drain.ts';
import { awaitDoubtful, awaitRouters, lowerFence, raiseFence, type Fence } from './fence.ts';
import { flip, OutcomeUnknown, refuseOpened, type Steps } from './flip.ts';
import { Lapse } from './lapse.ts';

export interface SwitchOrder {
  readonly collections: readonly string[];
  /** Share of reads afterwards, %. */
  readonly percentage: number;
  /** The longest that writers wait, ms. */
  readonly fenceMs: number;
}

export interface BackOrder extends SwitchOrder {
  readonly writeMode: Exclude<WriteMode, 'new_system'>;
  /** In an emergency writes move even if not everything could be drained; what is left is brought back afterwards. */
  readonly immediate: boolean;
}

export interface Switched extends Closed {
  readonly routes: Record<string, Route>;
  /** From the fence to the flip, by PostgreSQL's clock, ms. null: there was nothing to move. */
  readonly pauseMs: number | null;
  /** What of the pause each step took, ms. */
  readonly steps: Steps;
  readonly verified: number;
  /** Documents that were not brought back before the flip (immediate only). */
  readonly leftover: number;
}

/** Runs steps and keeps how long each took. */
class Stopwatch {
  readonly steps: Record<string, number> = {};

  async time<T>(step: string, work: Promise<T>): Promise<T> {
    const since = performance.now();
    try {
      return await work;
    } finally {
      this.steps[step] = Math.round((this.steps[step] ?? 0) + performance.now() - since);
    }
  }
}

/** Old -> new. Throws SwitchRefused, and leaves everything as it was, where it cannot be done within the fence. */
export async function switchToNew(resources: Resources, order: SwitchOrder): Promise<Switched> {
  const { postgres } = resources;
  if (!(await readReverse(postgres)))
    throw new KnownFailure('SwitchRefused', 'The way back is not anchored; no write may go to the new system alone.');
  const due = await dueOf(resources, order.collections, (mode) => mode !== 'new_system');
  // Closing again is harmless, and a switch that died after its flip may not have come to it.
  const sources = await sourcesOf(resources, order.collections);
  const token = randomUUID();
  if (due.length === 0) return { ...(await nothingMoved(resources)), ...(await close(resources, sources, token)) };
  // An attempt that died may have closed them; its fence has passed, or will, and the old system still is authoritative.
  await reopen(resources, sources);
  const near = beforeFence(60_000);
  await awaitWorkers(resources, near);
  await awaitDoubtful(resources, near);
  await drainForward(resources, near);
  const fence = await raiseFence(resources, due, order.fenceMs);
  killPoint('switch.after-fence');
  const watch = new Stopwatch();
  const lapse = new Lapse(resources, sources, token, fence);
  try {
    await watch.time('routers', awaitRouters(resources, fence));
    const closed = await watch.time('closing', closeBehind(resources, fence, sources, token));
    killPoint('switch.after-close');
    await watch.time('draining', drainForward(resources, fence));
    const verified = await watch.time('comparing', verifyDirty(resources, due));
    killPoint('switch.before-flip');
    const { steps } = watch;
    const { routes, pauseMs } = await flip(resources, fence, {
      ...order,
      writeMode: 'new_system',
      steps,
      underLock: () => refuseOpened(resources, closed.closed, token),
      beforeCommit: lapse.stop,
    });
    killPoint('switch.after-flip');
    return { routes, pauseMs, steps, verified, ...closed, leftover: 0 };
  } catch (error) {
    // What has moved meanwhile stays closed. Without PostgreSQL, and unless the flip may have been committed, this closing was for nothing.
    await reopen(resources, sources, { fence }).catch(async () => {
      if (!(error instanceof OutcomeUnknown)) await reopenOwn(resources, sources, token).catch(() => undefined);
    });
    throw error;
  } finally {
    lapse.end();
  }
}

/** New -> old. Nothing that the new system has committed is left behind, unless it is an emergency; then it follows. */
export async function switchBack(resources: Resources, order: BackOrder): Promise<Switched> {
  const due = await dueOf(resources, order.collections, (mode) => mode === 'new_system');
  const sources = await sourcesOf(resources, order.collections);
  if (due.length === 0) {
    await reopen(resources, sources);
    return nothingMoved(resources);
  }
  const near = beforeFence(order.immediate ? 5000 : 60_000);
  await drainTargetStream(resources, near)
    .then(() => drainBack(resources, due, near.until, 50))
    .catch((error: unknown) => {
      if (!order.immediate) throw error;
    });
  const fence = await raiseFence(resources, due, order.fenceMs, order.immediate);
  killPoint('back.after-fence');
  const watch = new Stopwatch();
  try {
    let leftover = 0;
    await watch.time('routers', awaitRouters(resources, fence)).catch((error: unknown) => {
      if (!order.immediate) throw error;
    });
    await watch.time('reading', drainTargetStream(resources, fence)).catch(async (error: unknown) => {
      if (!order.immediate) throw error;
      await markUnread(resources);
    });
    await watch.time('draining', drainBack(resources, due, fence.until - 100, 0)).catch(async (error: unknown) => {
      if (!order.immediate) throw error;
      leftover = await markLeftover(resources, due);
    });
    const verified = order.immediate ? 0 : await watch.time('comparing', verifyDirty(resources, due));
    killPoint('back.before-flip');
    const { steps } = watch;
    const { routes, pauseMs } = await flip(resources, fence, {
      ...order,
      steps,
      // Before the flip, which lets writers go: the first of them would be refused. Where it is not committed, housekeeping closes them again.
      underLock: (client, lockedAt) => watch.time('opening', reopenUnderLock(client, resources, sources, lockedAt)),
    });
    killPoint('back.after-flip');
    return { routes, pauseMs, steps, verified, closed: [], notClosed: [], leftover };
  } catch (error) {
    // What is not done here the fence's own end and housekeeping do.
    await lowerFence(resources, fence).catch(() => undefined);
    // Where they cannot be closed again, what is written to them is noticed by capture.
    await settleClosings(resources).catch(() => undefined);
    throw error;
  }
}

/** Most is drained without a fence, so that writers wait for a moment only, and not for a worker that has to be missed first. */
const beforeFence = (ms: number): Pick<Fence, 'until'> => ({ until: performance.now() + ms });

async function dueOf(
  { postgres }: Resources,
  collections: readonly string[],
  is: (mode: WriteMode) => boolean,
): Promise<string[]> {
  const rows = await query<{ collection: string; write_mode: WriteMode }>(
    postgres,
    'reading the routing',
    'select collection, write_mode from migration_control.routing where collection = any($1)',
    [collections],
  );
  return rows.filter((row) => is(row.write_mode)).map((row) => row.collection);
}

async function nothingMoved({ postgres }: Resources): Promise<Switched> {
  return {
    routes: await routesOf(postgres),
    pauseMs: null,
    steps: {},
    verified: 0,
    closed: [],
    notClosed: [],
    leftover: 0,
  };
}

async function sourcesOf(resources: Resources, collections: readonly string[]): Promise<string[]> {
  return [...(await feedsOf(resources)).values()]
    .filter((feed) => collections.includes(feed.mapping.collection))
    .map((feed) => feed.source);
}
