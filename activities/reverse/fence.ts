// The fence before which writers wait: raised with a time after which it passes by itself, lowered when nothing was moved.
import { setTimeout as sleep } from 'node:timers/promises';
import { moveRoutes, routingChannel } from '../../control/routing.ts';
import { KnownFailure } from '../../core/failures.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';

/** A router that has not been heard of for this long has fallen back by itself, ms. */
const leaseMs = 5000;
const pollMs = 5;
/** What is left of the fence for opening the old collections again before it passes, ms. */
const afterwardsMs = 400;

/** Until it passes, writers wait; what is done behind it counts only while it stands. */
export interface Fence {
  readonly epochs: ReadonlyMap<string, number>;
  /** By this process's monotonic clock, ms. */
  readonly until: number;
}

/** Waits for the writes of the new system that are under way: each holds its route. */
export async function raiseFence({ postgres }: Resources, collections: readonly string[], ms: number): Promise<Fence> {
  return inTransaction(postgres, 'fencing writes', async (client) => {
    await client.query(`set local lock_timeout = '3s'`);
    await client.query(moveRoutes);
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
export async function lowerFence({ postgres }: Resources, fence: Fence): Promise<void> {
  await inTransaction(postgres, 'lowering the fence', async (client) => {
    await client.query(moveRoutes);
    await client.query(
      `update migration_control.routing r set fenced_until = null, epoch = r.epoch + 1, updated_at = clock_timestamp()
       from unnest($1::text[], $2::bigint[]) f(collection, epoch) where r.collection = f.collection and r.epoch = f.epoch`,
      [[...fence.epochs.keys()], [...fence.epochs.values()].map(String)],
    );
    await client.query('select pg_notify($1, $2)', [routingChannel, JSON.stringify([...fence.epochs.keys()])]);
  });
}

/** Until no router that is alive has a write under way that began before the fence. */
export async function awaitRouters({ postgres }: Resources, fence: Fence): Promise<void> {
  for (;;) {
    const [row] = await query<{ behind: string }>(
      postgres,
      'waiting for the routers',
      `select count(*) as behind from migration_control.routers r
       where r.seen_at > clock_timestamp() - interval '${leaseMs} milliseconds'
         and exists (select 1 from unnest($1::text[], $2::bigint[]) f(collection, epoch) where coalesce((r.epochs ->> f.collection)::bigint, -1) < f.epoch)`,
      [[...fence.epochs.keys()], [...fence.epochs.values()].map(String)],
    );
    if (row!.behind === '0') return;
    await pause(fence, `${row!.behind} application processes have not confirmed that their older writes have ended`);
  }
}

/** Until the fence is nearly over, or, before there is one, the time that may be waited for it. */
export async function pause({ until }: Pick<Fence, 'until'>, why: string, ms = pollMs): Promise<void> {
  if (performance.now() + afterwardsMs > until)
    throw new KnownFailure('SwitchRefused', `The writes could not be moved in time: ${why}. Nothing was moved.`);
  await sleep(ms);
}
