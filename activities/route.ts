// Routing rows: one transaction per change, the epoch raised, audited, and listeners told.
import type pg from 'pg';
import type { Undoing } from '../core/lifecycle.ts';
import type { Route, WriteMode } from '../core/state.ts';
import { routesOf, routingChannel, takeRoutes } from '../control/routing.ts';
import { unfinishedMessage, unfinishedRestore } from '../control/checkpoints.ts';
import { KnownFailure } from '../core/failures.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import type { Resources } from './resources.ts';
import { briefly } from './reverse/fence.ts';

export interface RouteOrder {
  /** The collections to change; all of `collections` when an operator names none. */
  readonly collections: readonly string[];
  readonly percentage: number;
  /** undefined leaves the write mode as it is. */
  readonly writeMode?: WriteMode | undefined;
  /** Leaves collections alone whose writes the new system has. */
  readonly unmoved?: boolean;
  /** A way back: a collection of which fewer reads go to the new system, or that is not written to both, stays so. */
  readonly onlyBack?: boolean;
  readonly reason: string;
}

/**
 * Asking for what already is changes nothing, so that a retry does not raise the epoch again. Only a change of write modes waits for those who act by
 * a route: percentages are taken back at once, whatever hangs.
 */
export async function route(resources: Pick<Resources, 'postgres'>, order: RouteOrder): Promise<Record<string, Route>> {
  const unfinished = await unfinishedRestore(resources.postgres);
  if (unfinished) throw new KnownFailure('StoreBusy', unfinishedMessage(unfinished));
  const before = await routesOf(resources.postgres);
  const asked = order.collections.map((collection) => ({
    route: before[collection],
    isLeft: order.unmoved === true && before[collection]?.writeMode === 'new_system',
  }));
  const isAsItIs = ({ route: one, isLeft }: (typeof asked)[number]) =>
    isLeft || (one?.percentage === shareOf(order, one) && one.writeMode === modeOf(order, one));
  if (asked.every(isAsItIs)) return before;
  const keepsModes = asked.every(
    ({ route: one, isLeft }) =>
      isLeft || order.writeMode === undefined || (one?.writeMode ?? 'old') === modeOf(order, one),
  );
  return inTransaction(resources.postgres, 'changing the routing', async (client) => {
    if (keepsModes) await client.query(`set local lock_timeout = '900ms'`);
    else {
      await takeRoutes(client, { patienceMs: 3000, as: 'StoreBusy' });
      await refuseToMoveWrites(client, order);
    }
    await client.query(briefly);
    const { rows: changed } = await client.query<{ collection: string }>(
      `insert into migration_control.routing as r (collection, percentage, write_mode, epoch)
       select collection, $2, coalesce($3, 'old'), 1 from unnest($1::text[]) collection order by 1
       on conflict (collection) do update set percentage = ${shareSql}, write_mode = ${modeSql}, epoch = r.epoch + 1, updated_at = clock_timestamp()
       where (r.percentage, r.write_mode) is distinct from (${shareSql}, ${modeSql}) and not ($4 and r.write_mode = 'new_system')
       returning collection`,
      // Where only percentages change, the mode is the row's own: it may be changing just now.
      [
        order.collections,
        order.percentage,
        keepsModes ? null : (order.writeMode ?? null),
        order.unmoved === true,
        order.onlyBack === true,
      ],
    );
    // Going on after whatever ended the root, the stage leaves the traffic where an operator has put it.
    if (order.reason === 'operator') await noteOperator(client, order.percentage);
    if (changed.length > 0) {
      const detail = { ...order, collections: changed.map((row) => row.collection) };
      await client.query(`insert into migration_control.audit_log (action, detail) values ('route', $1)`, [
        JSON.stringify(detail),
      ]);
      await client.query('select pg_notify($1, $2)', [routingChannel, JSON.stringify(detail.collections)]);
    }
    // What was as it should be without the lock may have moved meanwhile.
    await refuseToMoveWrites(client, order);
    return routesOf(client);
  });
}

/** What a way back leaves as it is, it leaves: it never sends more there than goes there. */
const shareOf = ({ percentage, onlyBack }: RouteOrder, one: Route | undefined): number =>
  onlyBack === true ? Math.min(percentage, one?.percentage ?? percentage) : percentage;
const modeOf = ({ writeMode, onlyBack }: RouteOrder, one: Route | undefined): WriteMode | undefined =>
  onlyBack === true && one?.writeMode === 'old' ? 'old' : (writeMode ?? one?.writeMode);
const shareSql = 'case when $5 then least(r.percentage, excluded.percentage) else excluded.percentage end';
const modeSql = `case when $5 and r.write_mode = 'old' then r.write_mode else coalesce($3, r.write_mode) end`;

/** While the migration is being undone nobody sends reads to what may be removed next. Whoever writes down that it is undone waits for this. */
async function noteOperator(client: pg.ClientBase, percentage: number): Promise<void> {
  const { rows } = await client.query<{ undoing: Undoing | null }>(
    'update migration_control.lifecycle set override = true returning undoing',
  );
  if (percentage > 0 && rows[0]?.undoing?.steps.some((step) => !step.to))
    throw new KnownFailure(
      'ConfigurationInvalid',
      'The migration is being undone: traffic can only be taken back now, with 0 %.',
    );
}

/** Writes change sides only behind a fence (reverse/switch.ts). */
async function refuseToMoveWrites(client: pg.ClientBase, order: RouteOrder): Promise<void> {
  if (order.writeMode === undefined) return;
  const { rows } = await client.query<{ collection: string }>(
    `select collection from unnest($1::text[]) collection left join migration_control.routing r using (collection)
     where (coalesce(r.write_mode, 'old') = 'new_system') <> ($2 = 'new_system') and not ($3 and r.write_mode = 'new_system')`,
    [order.collections, order.writeMode, order.unmoved === true],
  );
  if (rows.length > 0)
    throw new KnownFailure(
      'SwitchRefused',
      `Writes of ${rows.map((row) => row.collection).join(', ')} can change sides only behind a fence.`,
    );
}

/** Sends everything back to the old system; where there is no routing there is nothing to undo. */
export async function undoCutover(resources: Resources): Promise<Record<string, Route>> {
  const [row] = await query<{ there: boolean }>(
    resources.postgres,
    'looking for the routing',
    `select to_regclass('migration_control.routing') is not null as there`,
  );
  if (!row!.there) return {};
  const collections = await query<{ collection: string }>(
    resources.postgres,
    'reading the routing',
    'select collection from migration_control.routing',
  );
  const routes = await route(resources, {
    collections: collections.map((one) => one.collection),
    percentage: 0,
    writeMode: 'old',
    reason: 'cutover undone',
  });
  await query(
    resources.postgres,
    'forgetting checkpoints',
    `delete from migration_control.rollback_checkpoints where phase = 'cutover'`,
  );
  return routes;
}
