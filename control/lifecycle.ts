// Where the migration stands, in SQL: written ahead, read by a root that begins, and asked by every step that removes.
import type pg from 'pg';
import { KnownFailure } from '../core/failures.ts';
import {
  afterUndone,
  refusalToRemove,
  refusalToRetire,
  type Authority,
  type Known,
  type Standing,
} from '../core/lifecycle.ts';
import { notCaptured, type CheckpointEntry } from '../core/state.ts';
import type { UndoStep } from '../core/story.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { currentGap, positionText, readStream } from './capture.ts';
import { hasTable, unfinishedMessage, unfinishedRestore } from './checkpoints.ts';
import { holdRoutes, routesOf } from './routing.ts';

type On = pg.Pool | pg.ClientBase;

const nobody: Authority = { moved: [], armed: false, closed: [] };

/** Whether the new system counts. Nothing was made: it does not. */
export async function authorityOf(on: On): Promise<Authority> {
  if (!(await hasTable(on, 'closed_collections'))) return nobody;
  const [row] = await query<{ moved: string[]; armed: boolean; closed: string[] }>(
    on,
    'asking whose data counts',
    `select array(select collection from migration_control.routing where write_mode = 'new_system' order by 1) as moved,
            exists (select 1 from migration_control.reverse_position) as armed,
            array(select collection from migration_control.closed_collections order by 1) as closed`,
  );
  return row!;
}

const keepAliveMs = 5000;

/**
 * Runs `work`, which removes something, while the new system does not count and cannot come to: in one transaction that holds the routes, so
 * that no writes move, and keeps the reverse sync from being anchored. Throws NewSystemAuthoritative where it counts.
 */
export async function whileOldCounts<T>(
  pool: pg.Pool,
  what: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return inTransaction(pool, 'asking whose data counts', async (client) => {
    if (await hasTable(client, 'closed_collections')) {
      await client.query(holdRoutes);
      await client.query(
        'lock table migration_control.reverse_position, migration_control.closed_collections in share mode',
      );
    }
    const refusal = refusalToRemove(await authorityOf(client), what);
    if (refusal !== undefined) throw new KnownFailure('NewSystemAuthoritative', refusal);
    return keptAlive(client, () => work(client));
  });
}

/**
 * Runs `work`, which takes something of the old system out of use, while nothing is read or written there and cannot come to: in one transaction that
 * holds the routes. Throws DecommissionRefused else.
 */
export async function whileNewCounts<T>(
  pool: pg.Pool,
  doing: string,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return inTransaction(pool, doing, async (client) => {
    await client.query(holdRoutes);
    await refuseToRetire(client);
    return keptAlive(client, () => work(client));
  });
}

/** To be called by who holds the routes. */
export async function refuseToRetire(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ mapping: string }>(
    'select distinct mapping from migration_control.collections order by 1',
  );
  const refusal = refusalToRetire(
    await routesOf(client),
    rows.map((row) => row.mapping),
  );
  if (refusal !== undefined) throw new KnownFailure('DecommissionRefused', refusal);
}

/** A transaction in which nothing is said would be taken for one that hangs. */
async function keptAlive<T>(client: pg.ClientBase, work: () => Promise<T>): Promise<T> {
  const alive = setInterval(() => void client.query('select 1').catch(() => undefined), keepAliveMs);
  try {
    return await work();
  } finally {
    clearInterval(alive);
  }
}

async function standingOf(on: On): Promise<Standing | null> {
  if (!(await hasTable(on, 'lifecycle'))) return null;
  const [row] = await query<{ [Key in keyof Standing]: Standing[Key] }>(
    on,
    'reading where the migration stands',
    'select phase, stage, override, undo, undoing, completed, until, collections, settings from migration_control.lifecycle',
  );
  return row ?? null;
}

/** Reads only, and decides nothing: whoever acts by it asks again where it acts. */
export async function knownOf(pool: pg.Pool): Promise<Known> {
  return inTransaction(pool, 'reading where the migration stands', async (client) => {
    const standing = await standingOf(client);
    const there = await hasTable(client, 'closed_collections');
    const restore = await unfinishedRestore(client);
    return {
      standing,
      authority: await authorityOf(client),
      retired: there && (await isRetired(client)),
      restoring: restore ? unfinishedMessage(restore) : null,
      checkpoints: there ? await checkpointsOf(client) : [],
      routing: there ? await routesOf(client) : {},
      capture: there ? await captureOf(client) : notCaptured,
      parked: there ? await parkedOf(client) : null,
    };
  });
}

async function isRetired(on: On): Promise<boolean> {
  const rows = await query(
    on,
    'looking whether the old system was taken out of use',
    `select 1 from migration_control.audit_log where action in ('decommissioned', 'decommission begun') limit 1`,
  );
  return rows.length > 0;
}

async function checkpointsOf(on: On): Promise<CheckpointEntry[]> {
  const rows = await query<{ name: string; phase: string; created_at: Date }>(
    on,
    'reading checkpoints',
    'select name, phase, created_at from migration_control.rollback_checkpoints order by created_at',
  );
  return rows.map(({ name, phase, created_at }) => ({ name, phase, at: created_at.toISOString() }));
}

/** Whoever goes on writes down where it stands before it acts, and whoever undoes writes down what is undone. */
async function parkedOf(on: On): Promise<string | null> {
  const [last] = await query<{ decision: string; reason: string }>(
    on,
    'reading the last decision',
    `select detail ->> 'decision' as decision, detail ->> 'reason' as reason from migration_control.audit_log
     where action = 'decision' and at > (select updated_at from migration_control.lifecycle) order by id desc limit 1`,
  );
  return last?.decision === 'park' ? last.reason : null;
}

async function captureOf(on: On): Promise<Known['capture']> {
  const [stream, gap] = [await readStream(on), await currentGap(on)];
  return {
    position: stream ? positionText(stream.version) : null,
    lagMs: null,
    gap: gap ? { kind: gap.kind, detail: gap.detail } : null,
  };
}

/** Written down before what it says is begun. `madeSchema` counts where the row is the first. Nothing where there is no control schema. */
export async function writeStanding(on: On, standing: Standing, madeSchema = false): Promise<void> {
  if (!(await hasTable(on, 'lifecycle'))) return;
  const { phase, stage, override, undo, undoing, completed, until, collections, settings } = standing;
  const json = [undo, collections, settings, undoing].map((value) => value && JSON.stringify(value));
  await query(
    on,
    'writing down where the migration stands',
    `insert into migration_control.lifecycle (phase, stage, override, completed, until, undo, collections, settings, undoing, made_schema)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     on conflict (one) do update set phase = excluded.phase, stage = excluded.stage, override = excluded.override, completed = excluded.completed,
       until = excluded.until, undo = excluded.undo, undoing = excluded.undoing, collections = excluded.collections, settings = excluded.settings, updated_at = clock_timestamp()`,
    [phase, stage, override, completed, until, ...json, madeSchema],
  );
}

/** What an operator set is over with the stage. */
export const passStage = (pool: pg.Pool, stage: number): Promise<unknown> =>
  query(
    pool,
    'writing down that a stage has passed',
    'update migration_control.lifecycle set stage = $1, override = false, updated_at = clock_timestamp()',
    [stage],
  );

/** Whoever undoes writes it down, root or not: before it begins, and step by step. */
export const noteUndoing = (pool: pg.Pool, steps: readonly UndoStep[]): Promise<void> =>
  change(pool, (standing) => ({ ...standing, undoing: { steps, then: standing.undoing?.then ?? 'parked' } }));
export const noteUndone = (pool: pg.Pool, step: UndoStep): Promise<void> =>
  change(pool, (standing) => afterUndone(standing, step));

async function change(pool: pg.Pool, to: (standing: Standing) => Standing): Promise<void> {
  await inTransaction(pool, 'writing down what is undone', async (client) => {
    if (!(await hasTable(client, 'lifecycle'))) return;
    await client.query('lock table migration_control.lifecycle in share row exclusive mode');
    const standing = await standingOf(client);
    if (standing) await writeStanding(client, to(standing));
  });
}
