// What is written down for people and for later: checkpoints, the audit log, and the rehearsal that rollback works here.
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { KnownFailure } from '../core/failures.ts';
import type { Standing } from '../core/lifecycle.ts';
import type { Owner } from '../core/owner.ts';
import type { MigrationState } from '../core/state.ts';
import { noteAudit } from '../control/audit.ts';
import { writeStanding } from '../control/lifecycle.ts';
import { controlSchemaOf, makeControlSchema, undoControlSchema } from '../control/schema.ts';
import { mongo } from '../stores/mongodb/connection.ts';
import { inTransaction, query } from '../stores/postgres/connection.ts';
import { redis } from '../stores/redis/connection.ts';
import type { KeysTarget } from '../stores/redis/target.ts';
import { claim, identify, markTargets, unmarkTargets } from './identity.ts';
import type { Resources } from './resources.ts';

export interface CheckpointOrder {
  readonly name: string;
  readonly phase: string;
  readonly state: Partial<MigrationState>;
  /** Where the migration stands from now on. */
  readonly next: Standing;
}

/** The checkpoint, and that the phase is over, in one transaction: no root begins a phase again that has its checkpoint. */
export async function recordCheckpoint(resources: Resources, order: CheckpointOrder): Promise<string> {
  const { name, phase, state, next } = order;
  return inTransaction(resources.postgres, 'recording a checkpoint', async (client) => {
    await writeStanding(client, next);
    return insertCheckpoint(client, [name, phase, JSON.stringify(state)]);
  });
}

async function insertCheckpoint(client: pg.ClientBase, values: readonly string[]): Promise<string> {
  const rows = await query<{ created_at: Date }>(
    client,
    'recording a checkpoint',
    `insert into migration_control.rollback_checkpoints (name, phase, state) values ($1, $2, $3)
     on conflict (name) do update set phase = excluded.phase, state = excluded.state, created_at = now() returning created_at`,
    [...values],
  );
  return rows[0]!.created_at.toISOString();
}

/** Where the control schema is not there (yet, or any more), there is nowhere to write, and the workflow's history has it. */
export async function recordAudit(
  resources: Resources,
  action: string,
  detail: Record<string, unknown>,
): Promise<void> {
  const [row] = await query<{ there: boolean }>(
    resources.postgres,
    'looking for the audit log',
    `select to_regclass('migration_control.audit_log') is not null as there`,
  );
  if (row!.there) await noteAudit(resources.postgres, action, detail);
}

/**
 * Claims the targets for the migration: PostgreSQL in the transaction that makes the control schema, then the marks in the others. Where the migration
 * stands is in the schema from its first moment.
 */
export async function prepareControl(resources: Resources, name: string, standing: Standing): Promise<string[]> {
  const owner = await ownerFor(resources, name);
  const made = await makeControlSchema(resources.postgres, name, async (client, isNew) => {
    await claim(resources, owner, client);
    await writeStanding(client, standing, isNew);
    await client.query('update migration_control.migration set settings = $1', [JSON.stringify(standing.settings)]);
  });
  await markTargets(resources, owner);
  return made;
}

/** The marks go first: what is left behind by a crash is then found again by the control schema. */
export async function undoPreparation(resources: Resources, name: string): Promise<void> {
  const owner = await ownerFor(resources, name);
  if ((await controlSchemaOf(resources.postgres, name)).is !== 'ours') return;
  await undoControlSchema(resources.postgres, name, () => unmarkTargets(resources, owner));
}

/** The worker's own migration: a task of another is not for it. */
async function ownerFor(resources: Resources, name: string): Promise<Owner> {
  const { owner } = resources;
  if (!owner) return (await identify(resources, name)).owner;
  if (owner.migration === name) return owner;
  throw new KnownFailure(
    'ForeignStores',
    `The task is of the migration "${name}", and this worker works for "${owner.migration}": start one with \`causeway worker --migration ${name}\`.`,
  );
}

/** Makes one thing of each kind and removes it again: compensation needs the same privileges later, when it must not fail. */
export async function rehearseRollback(resources: Resources): Promise<string[]> {
  const scratch = `causeway_rehearsal_${randomUUID().replaceAll('-', '')}`;
  await inTransaction(resources.postgres, 'rehearsing rollback', async (client) => {
    await client.query(`create table "${scratch}" (id int)`);
    await client.query(`truncate "${scratch}"`);
    await client.query(`drop table "${scratch}"`);
  });
  const { db } = resources.mongodb;
  await mongo('rehearsing rollback', async () => {
    await db.createCollection(scratch);
    await db.collection(scratch).insertOne({ rehearsal: true });
    await db.collection(scratch).deleteMany({});
    await db.collection(scratch).drop();
  });
  const keys = [...resources.mappings.values()]
    .flatMap((mapping) => mapping.targets)
    .find((target): target is KeysTarget => target.store === 'redis');
  // Under a prefix of ours: rights may go no further.
  const key = `${keys?.prefix}${scratch}`;
  if (keys)
    await redis('rehearsing rollback', async () => {
      await resources.redis.set(key, '1', 'EX', 60);
      await resources.redis.unlink(key);
    });
  return ['PostgreSQL', 'MongoDB', 'Redis'];
}
