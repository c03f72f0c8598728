// The fence before which writers wait: raised with a time after which anybody may end it, lowered when nothing was moved.
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { readRouters, routingChannel, takeRoutes } from '../../control/routing.ts';
import { KnownFailure } from '../../core/failures.ts';
import { beliefMs, isInDoubt, standing, type RouterRow } from '../../core/routes.ts';
import { inTransaction } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';

const pollMs = 5;
/** What is left of the fence for opening the old collections again before it passes, ms. */
const afterwardsMs = 400;

/** Nobody waits for the routes' rows for longer, should the process that is changing them hang: an order that changes percentages wants them too. */
export const briefly = `set local idle_in_transaction_session_timeout = '600ms'`;

/** Until it passes, writers wait; what is done behind it counts only while it stands. */
export interface Fence {
  readonly epochs: ReadonlyMap<string, number>;
  /** By this process's monotonic clock, ms. */
  readonly until: number;
}

/**
 * Waits for the writes of the new system that are under way: each holds its route. `end`: those that take too long are ended. Throws SwitchRefused
 * where they are not, and names them.
 */
export async function raiseFence(
  { postgres }: Pick<Resources, 'postgres'>,
  collections: readonly string[],
  ms: number,
  end = false,
): Promise<Fence> {
  return inTransaction(postgres, 'fencing writes', async (client) => {
    await takeRoutes(client, { patienceMs: end ? 1000 : 3000, as: 'SwitchRefused', end });
    await client.query(briefly);
    const { rows } = await client.query<{ collection: string; epoch: string }>(
      `update migration_control.routing set epoch = epoch + 1, fenced_until = clock_timestamp() + make_interval(secs => $2), updated_at = clock_timestamp()
       where collection = any($1) returning collection, epoch`,
      [collections, ms / 1000],
    );
    await client.query(`insert into migration_control.audit_log (action, detail) values ('fence', $1)`, [
      JSON.stringify({ collections, ms }),
    ]);
    await client.query('select pg_notify($1, $2)', [routingChannel, JSON.stringify(collections)]);
    return {
      epochs: new Map(rows.map((row) => [row.collection, Number(row.epoch)])),
      until: performance.now() + ms,
    };
  });
}

/** Only this fence: one that another switch has raised since stays. */
export const lowerFence = ({ postgres }: Pick<Resources, 'postgres'>, fence: Fence): Promise<void> =>
  inTransaction(postgres, 'lowering the fence', async (client) => {
    await takeRoutes(client, { patienceMs: 3000, as: 'StoreBusy' });
    await lowerUnderLock(client, fence);
  });

/** In the caller's transaction, which has the routes' lock. */
export async function lowerUnderLock(client: pg.ClientBase, fence: Fence): Promise<void> {
  await client.query(briefly);
  await client.query(
    `update migration_control.routing r set fenced_until = null, epoch = r.epoch + 1, updated_at = clock_timestamp()
     from unnest($1::text[], $2::bigint[]) f(collection, epoch) where r.collection = f.collection and r.epoch = f.epoch`,
    [[...fence.epochs.keys()], [...fence.epochs.values()].map(String)],
  );
  await client.query('select pg_notify($1, $2)', [routingChannel, JSON.stringify([...fence.epochs.keys()])]);
}

/**
 * Until no router is in doubt. One that has been silent for a while may be cut off, and goes by what it has read until its lease runs out: that is
 * waited for before writers wait, for the longest lease there is.
 */
export async function awaitDoubtful({ postgres }: Resources, before: Pick<Fence, 'until'>): Promise<void> {
  for (;;) {
    const doubtful = (await readRouters(postgres)).filter(isInDoubt);
    if (doubtful.length === 0) return;
    await pause(
      before,
      `${named(doubtful)} cannot be heard, and may go by what was read last for another ${Math.ceil(Math.max(...doubtful.map((one) => beliefMs(one) - one.silentMs)) / 1000)} s`,
      100,
    );
  }
}

/** Until no router that may still go by what it has read has a write under way that began before the fence. */
export async function awaitRouters({ postgres }: Resources, fence: Fence): Promise<void> {
  for (;;) {
    const behind = (await readRouters(postgres)).filter((router) => standing(router, fence.epochs) === 'awaited');
    if (behind.length === 0) return;
    await pause(fence, `${named(behind)} did not confirm that the older writes have ended`);
  }
}

/** How many are named: the message is to be read. */
const namesMost = 5;

const named = (routers: readonly RouterRow[]): string =>
  `${routers.length === 1 ? 'the router of' : `${routers.length} routers, of`} ${routers
    .slice(0, namesMost)
    .map((router) => router.process || 'an unnamed process')
    .join('; ')}${routers.length > namesMost ? '; …' : ''}`;

/** Until the fence is nearly over, or, before there is one, the time that may be waited for it. */
export async function pause({ until }: Pick<Fence, 'until'>, why: string, ms = pollMs): Promise<void> {
  if (performance.now() + afterwardsMs > until)
    throw new KnownFailure('SwitchRefused', `The writes could not be moved in time: ${why}. Nothing was moved.`);
  await sleep(ms);
}
