// The flip: the one transaction in which writes change sides, and what must hold in it.
import type pg from 'pg';
import { routeRows, routesOf, routingChannel, takeRoutes } from '../../control/routing.ts';
import { KnownFailure } from '../../core/failures.ts';
import { mayFlip } from '../../core/routes.ts';
import type { Route, WriteMode } from '../../core/state.ts';
import { inTransaction, ownWrites } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';
import { openedMeanwhile } from './closing.ts';
import { briefly, type Fence } from './fence.ts';

export type Steps = Readonly<Record<string, number>>;

/** The commit was sent and not answered: nobody knows which side counts before PostgreSQL can be asked. */
export class OutcomeUnknown extends KnownFailure {
  constructor(cause: unknown) {
    super(
      'StoreUnreachable',
      'PostgreSQL went out of reach while the writes were being moved: whether they have moved is unknown until it is back. Until then the old collections stay closed, and writes through the library are refused as busy.',
      { cause },
    );
  }
}

export interface Flip {
  readonly percentage: number;
  readonly writeMode: WriteMode;
  readonly steps: Steps;
  /** Those who act by a route and do not end are ended. */
  readonly immediate?: boolean;
  /** Last of all before the routes are changed. */
  readonly underLock: (client: pg.ClientBase, lockedAt: number) => Promise<void>;
  /** The last thing before the commit is sent; what it throws undoes the flip. */
  readonly beforeCommit?: () => void;
}

/** In one transaction, and only while the fence stands. What came to the old system too late is read again when that is authoritative. */
export async function flip(
  { postgres }: Resources,
  fence: Fence,
  { underLock, beforeCommit, immediate = false, ...to }: Flip,
): Promise<{ routes: Record<string, Route>; pauseMs: number }> {
  let isSent = false;
  return inTransaction(postgres, 'moving the writes', async (client) => {
    await client.query(ownWrites);
    await takeRoutes(client, { patienceMs: immediate ? 500 : 2000, as: 'SwitchRefused', end: immediate });
    const lockedAt = performance.now();
    if (to.writeMode === 'new_system') {
      const { rowCount } = await client.query('select 1 from migration_control.reverse_position for share');
      if (rowCount === 0)
        throw new KnownFailure('SwitchRefused', 'The way back was taken down meanwhile. Nothing was moved.');
    }
    await refusePassed(client, fence);
    await underLock(client, lockedAt);
    const collections = [...fence.epochs.keys()];
    await client.query(briefly);
    const { rows } = await client.query<{ collection: string; paused: number }>(
      `update migration_control.routing r set write_mode = $3, percentage = case when $3 = 'new_system' then $4 else least(r.percentage, $4) end, epoch = r.epoch + 1, fenced_until = null, updated_at = clock_timestamp()
       from unnest($1::text[], $2::bigint[]) f(collection, epoch), (select collection, updated_at from migration_control.routing) o
       where r.collection = f.collection and o.collection = r.collection and r.epoch = f.epoch and r.fenced_until > clock_timestamp()
       returning r.collection, (extract(epoch from clock_timestamp() - o.updated_at) * 1000)::float8 as paused`,
      [collections, [...fence.epochs.values()].map(String), to.writeMode, to.percentage],
    );
    if (rows.length !== collections.length) throw passed();
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
    const routes = await routesOf(client);
    beforeCommit?.();
    isSent = true;
    return { routes, pauseMs };
  }).catch((error: unknown) => {
    throw isSent ? new OutcomeUnknown(error) : error;
  });
}

const passed = (): KnownFailure =>
  new KnownFailure('SwitchRefused', 'The fence passed before the writes could be moved. Nothing was moved.');

async function refusePassed(client: pg.ClientBase, fence: Fence): Promise<void> {
  const routes = await routeRows(client, [...fence.epochs.keys()]);
  const mayAll = [...fence.epochs].every(([collection, epoch]) => {
    const row = routes.get(collection);
    return row !== undefined && mayFlip(row, epoch);
  });
  if (!mayAll) throw passed();
}

/** Somebody who was thought dead, or an administrator. */
export async function refuseOpened(resources: Resources, closed: readonly string[], token: string): Promise<void> {
  const opened = await openedMeanwhile(resources, closed, token);
  if (opened.length > 0)
    throw new KnownFailure(
      'SwitchRefused',
      `${opened.join(', ')} of the old system did not stay closed to writers. Nothing was moved.`,
    );
}
