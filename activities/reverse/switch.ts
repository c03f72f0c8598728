// Moving the writes: fence, drain to the fence, verify what changed last, flip. Whatever dies in between, the fence passes by itself and nothing has moved.
import { moveRoutes, routesOf, routingChannel } from '../../control/routing.ts';
import { readReverse } from '../../control/reverse.ts';
import { KnownFailure } from '../../core/failures.ts';
import type { Route, WriteMode } from '../../core/state.ts';
import { readDocuments } from '../../stores/mongodb/source.ts';
import { idsFrom } from '../../core/identity.ts';
import { inTransaction, name, query, ownWrites } from '../../stores/postgres/connection.ts';
import { feedsOf, type Feed } from '../apply.ts';
import { killPoint } from '../kill-points.ts';
import type { Resources } from '../resources.ts';
import { close, reopen, type Closed } from './closing.ts';
import { differs } from './validate.ts';
import { awaitWorkers, drainBack, drainForward, drainTargetStream, markLeftover, markUnread } from './drain.ts';
import { awaitRouters, lowerFence, raiseFence, type Fence } from './fence.ts';

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

type Steps = Readonly<Record<string, number>>;

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

/** What was written this long before the fence is compared once more, s. */
const dirtySeconds = 10;
const dirtyMost = 2000;

/** Old -> new. Throws SwitchRefused, and leaves everything as it was, where it cannot be done within the fence. */
export async function switchToNew(resources: Resources, order: SwitchOrder): Promise<Switched> {
  const { postgres } = resources;
  if (!(await readReverse(postgres)))
    throw new KnownFailure('SwitchRefused', 'The way back is not anchored; no write may go to the new system alone.');
  const due = await dueOf(resources, order.collections, (mode) => mode !== 'new_system');
  // Closing again is harmless, and a switch that died after its flip may not have come to it.
  const sources = await sourcesOf(resources, order.collections);
  if (due.length === 0) return { ...(await nothingMoved(resources)), ...(await close(resources, sources)) };
  // An attempt that died may have closed them; its fence has passed, or will, and the old system still is authoritative.
  await reopen(resources, sources);
  const near = beforeFence(60_000);
  await awaitWorkers(resources, near);
  await drainForward(resources, near);
  const fence = await raiseFence(resources, due, order.fenceMs);
  killPoint('switch.after-fence');
  const watch = new Stopwatch();
  try {
    await watch.time('routers', awaitRouters(resources, fence));
    const closed = await watch.time('closing', close(resources, sources));
    killPoint('switch.after-close');
    await watch.time('draining', drainForward(resources, fence));
    const verified = await watch.time('comparing', verifyDirty(resources, due));
    killPoint('switch.before-flip');
    const { steps } = watch;
    const { routes, pauseMs } = await flip(resources, fence, { ...order, writeMode: 'new_system', steps });
    killPoint('switch.after-flip');
    return { routes, pauseMs, steps, verified, ...closed, leftover: 0 };
  } catch (error) {
    if (!(await hasMoved(resources, due))) {
      await reopen(resources, sources);
      await lowerFence(resources, fence);
    }
    throw error;
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
  const fence = await raiseFence(resources, due, order.fenceMs);
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
    // Before the flip, which lets writers go: the first of them would be refused.
    await watch.time('opening', reopen(resources, sources));
    killPoint('back.before-flip');
    const { steps } = watch;
    const { routes, pauseMs } = await flip(resources, fence, { ...order, steps });
    killPoint('back.after-flip');
    return { routes, pauseMs, steps, verified, closed: [], notClosed: [], leftover };
  } catch (error) {
    if (!(await hasMovedBack(resources, due))) {
      // Where they cannot be closed again, what is written to them is noticed by capture.
      await close(resources, sources).catch(() => undefined);
      await lowerFence(resources, fence);
    }
    throw error;
  }
}

/** Most is drained without a fence, so that writers wait for a moment only, and not for a worker that has to be missed first. */
const beforeFence = (ms: number): Pick<Fence, 'until'> => ({ until: performance.now() + ms });

/** The documents written last, each compared with the ledger once more. Throws SwitchRefused where one differs. Returns how many were compared. */
async function verifyDirty(resources: Resources, collections: readonly string[]): Promise<number> {
  const feeds = [...(await feedsOf(resources)).values()].filter((feed) =>
    collections.includes(feed.mapping.collection),
  );
  // At once: writers wait.
  const compared = await Promise.all(feeds.map((feed) => verifyDirtyOf(resources, feed)));
  return compared.reduce((sum, count) => sum + count, 0);
}

async function verifyDirtyOf({ postgres, source }: Resources, feed: Feed): Promise<number> {
  const rows = await query<{ source_id: string; source_digest: string; deleted: boolean }>(
    postgres,
    'reading what was written last',
    `select source_id, source_digest, deleted from migration_control.${name(`ledger_${feed.collectionId}`)}
     where version >= (extract(epoch from clock_timestamp())::bigint - ${dirtySeconds}) << 32 and version > 0 and origin is not null
     order by version desc limit ${dirtyMost}`,
  );
  if (rows.length === 0) return 0;
  const ids = idsFrom(rows.map((row) => row.source_id));
  const { documents } = await readDocuments(source.client, source.db, feed.source, ids);
  const differing = rows.filter((row) => differs(row, documents.get(row.source_id)));
  if (differing.length > 0)
    throw new KnownFailure(
      'SwitchRefused',
      `${differing.length} of the documents of ${feed.source} written last differ between the two systems. Nothing was moved.`,
    );
  return rows.length;
}

/** In one transaction, and only while the fence stands. What came to the old system too late is read again when that is authoritative. */
async function flip(
  { postgres }: Resources,
  fence: Fence,
  to: { readonly percentage: number; readonly writeMode: WriteMode; readonly steps: Steps },
): Promise<{ routes: Record<string, Route>; pauseMs: number }> {
  return inTransaction(postgres, 'moving the writes', async (client) => {
    await client.query(`set local lock_timeout = '2s'; ${ownWrites}`);
    await client.query(moveRoutes);
    if (to.writeMode === 'new_system') {
      const { rowCount } = await client.query('select 1 from migration_control.reverse_position for share');
      if (rowCount === 0)
        throw new KnownFailure('SwitchRefused', 'The way back was taken down meanwhile. Nothing was moved.');
    }
    const collections = [...fence.epochs.keys()];
    const { rows } = await client.query<{ collection: string; paused: number }>(
      `update migration_control.routing r set write_mode = $3, percentage = $4, epoch = r.epoch + 1, fenced_until = null, updated_at = clock_timestamp()
       from unnest($1::text[], $2::bigint[]) f(collection, epoch), (select collection, updated_at from migration_control.routing) o
       where r.collection = f.collection and o.collection = r.collection and r.epoch = f.epoch and r.fenced_until > clock_timestamp()
       returning r.collection, (extract(epoch from clock_timestamp() - o.updated_at) * 1000)::float8 as paused`,
      [collections, [...fence.epochs.values()].map(String), to.writeMode, to.percentage],
    );
    if (rows.length !== collections.length)
      throw new KnownFailure('SwitchRefused', 'The fence passed before the writes could be moved. Nothing was moved.');
    if (to.writeMode !== 'new_system') {
      await client.query(
        `insert into migration_control.redo (collection_id, source_id, reason)
         select l.collection_id, l.source_id, 'late write' from migration_control.late_writes l
         join migration_control.collections c on c.id = l.collection_id where c.mapping = any($1)
         on conflict (collection_id, source_id) do update set due_at = clock_timestamp()`,
        [collections],
      );
      await client.query(
        `delete from migration_control.late_writes l using migration_control.collections c where c.id = l.collection_id and c.mapping = any($1)`,
        [collections],
      );
    }
    const pauseMs = Math.round(Math.max(...rows.map((row) => row.paused)));
    await client.query(`insert into migration_control.audit_log (action, detail) values ('writes moved', $1)`, [
      JSON.stringify({ collections, ...to, pauseMs }),
    ]);
    await client.query('select pg_notify($1, $2)', [routingChannel, JSON.stringify(collections)]);
    return { routes: await routesOf(client), pauseMs };
  });
}

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

const hasMoved = async (resources: Resources, collections: readonly string[]): Promise<boolean> =>
  (await dueOf(resources, collections, (mode) => mode === 'new_system')).length > 0;
const hasMovedBack = async (resources: Resources, collections: readonly string[]): Promise<boolean> =>
  !(await hasMoved(resources, collections));

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
