// The anchor of the way back: from here on every change the application makes to the new system is noted, before the first one is admitted.
import type pg from 'pg';
import { KnownFailure } from '../../core/failures.ts';
import type { Mapping } from '../../mappings/mapping.ts';
import { hasTable } from '../../control/checkpoints.ts';
import { refuseToRetire } from '../../control/lifecycle.ts';
import { readReverse, storesToClear } from '../../control/reverse.ts';
import { takeRoutes } from '../../control/routing.ts';
import { ChangeStream } from '../../stores/mongodb/changes.ts';
import { StreamLost, type Token, tokenText } from '../../stores/mongodb/token.ts';
import { mongo } from '../../stores/mongodb/connection.ts';
import { clusterTimeOf } from '../../stores/mongodb/source.ts';
import { dropGuards } from '../../stores/mongodb/write-back.ts';
import { inTransaction, literal, name, query, ownWrites } from '../../stores/postgres/connection.ts';
import { disarmPolicies } from '../../stores/postgres/policies.ts';
import type { TableTarget } from '../../stores/postgres/target.ts';
import type { Resources } from '../resources.ts';

const trigger = 'causeway_outbox';
const truncateTrigger = 'causeway_no_truncate';
/** An ObjectId in SQL, and no function of the control schema: the default stays when that goes. */
const newObjectId = `lpad(to_hex(extract(epoch from clock_timestamp())::bigint), 8, '0') || substr(md5(gen_random_uuid()::text), 1, 16)`;
/**
 * Many tables are locked in one transaction, and the application's may hold one and want another. Shorter than PostgreSQL waits before it looks for
 * a deadlock (1 s), so that it is never the application's that is ended; and nobody queues behind us for longer, ms.
 */
export const patienceMs = 500;

/** How documents are read; kept with the anchor, so that whoever goes back later reads them the same way. */
export interface ReverseSettings {
  readonly zone: string;
  readonly providers: readonly string[];
}

/** Safe to repeat: the first one's settings stand. Triggers wait for the locks of running transactions, and are tried again where those take long. */
export async function armReverse(resources: Resources, settings: ReverseSettings): Promise<ReverseSettings> {
  const known = await readReverse(resources.postgres);
  if (known) return known.settings;
  await clearGuards(resources);
  const position = await targetPosition(resources);
  const anchor = await clusterTimeOf(resources.source.db);
  await inTransaction(resources.postgres, 'anchoring the way back', async (client) => {
    await client.query(`set local lock_timeout = ${patienceMs}`);
    // Whoever is removing guards of an earlier anchor has come to the end.
    await client.query('lock table migration_control.guards_to_drop in exclusive mode');
    for (const { mapping, target } of await tablesOf(client, resources)) await armTable(client, mapping, target);
    await client.query(
      'insert into migration_control.reverse_position (token, stream_version, settings, anchor) values ($1, $2, $3, $4) on conflict do nothing',
      [
        position && tokenText(position.token),
        position?.version.toString() ?? '0',
        JSON.stringify({ zone: settings.zone, providers: settings.providers }),
        anchor.toString(),
      ],
    );
    await client.query(`insert into migration_control.audit_log (action, detail) values ('way back anchored', '{}')`);
  });
  return (await readReverse(resources.postgres))?.settings ?? settings;
}

/** Every change of a row that is not our own goes to the outbox, also in a hypertable's compressed chunks. */
export async function armTable(
  client: pg.ClientBase,
  mapping: Pick<Mapping, 'collection'>,
  target: TableTarget,
): Promise<void> {
  const table = name(target.name);
  const call = target.child
    ? `migration_control.child_to_outbox(${[mapping.collection, target.child.of, target.child.column].map(literal).join(', ')})`
    : `migration_control.to_outbox(${literal(mapping.collection)})`;
  await client.query(
    `create or replace trigger ${trigger} after insert or update or delete on ${table} for each row execute function ${call}`,
  );
  await client.query(
    `create or replace trigger ${truncateTrigger} before truncate on ${table} for each statement execute function migration_control.no_truncate()`,
  );
  if (!target.child) await client.query(`alter table ${table} alter column source_id set default ${newObjectId}`);
}

/** Where the new system stays (`ofNewSystem`), its application goes on inserting rows that name no document. */
export async function disarmTable(client: pg.ClientBase, target: TableTarget, ofNewSystem = false): Promise<void> {
  const table = name(target.name);
  await client.query(`drop trigger if exists ${trigger} on ${table}`);
  await client.query(`drop trigger if exists ${truncateTrigger} on ${table}`);
  if (!target.child && !ofNewSystem) await client.query(`alter table ${table} alter column source_id drop default`);
}

/** Where the target MongoDB's changes are read from; undefined where no mapping writes documents there. */
export async function targetPosition({
  mongodb,
  mappings,
}: Pick<Resources, 'mongodb' | 'mappings'>): Promise<{ token: Token; version: bigint } | undefined> {
  if (![...mappings.values()].some((mapping) => mapping.targets.some((target) => target.store === 'mongodb')))
    return undefined;
  const stream = await mongo('opening the change stream of the target', () =>
    ChangeStream.open(mongodb, 'updateLookup', undefined, { awaitMs: 100 }),
  ).catch((error: unknown) => {
    throw error instanceof StreamLost ? new KnownFailure('StoreBusy', error.message) : error;
  });
  try {
    return { token: stream.position.token, version: stream.openedAt };
  } finally {
    await stream.close();
  }
}

/**
 * Takes the way back down: what is in the outbox is no longer wanted. Safe to repeat, also where there is nothing. Refused while the new system
 * has writes that would have no other way back, unless it is to keep them (`ofNewSystem`).
 */
export async function disarmReverse(resources: Resources, { ofNewSystem = false } = {}): Promise<void> {
  if (await readReverse(resources.postgres)) await takeDown(resources, ofNewSystem);
  await clearGuards(resources);
}

async function takeDown(resources: Resources, ofNewSystem: boolean): Promise<void> {
  await inTransaction(resources.postgres, 'taking down the way back', async (client) => {
    await client.query(ownWrites);
    await takeRoutes(client, { patienceMs, as: 'StoreBusy' });
    // A switch that was thought dead may have gone on, in either direction.
    if (ofNewSystem) await refuseToRetire(client);
    else await refuseMoved(client);
    for (const { target } of await tablesOf(client, resources)) await disarmTable(client, target, ofNewSystem);
    if (!ofNewSystem) await disarmPolicies(client);
    await client.query('delete from migration_control.outbox');
    await client.query('delete from migration_control.reverse_position');
    await client.query(
      `insert into migration_control.guards_to_drop (store) values ('source'), ('target') on conflict do nothing`,
    );
    await client.query(`insert into migration_control.audit_log (action, detail) values ('way back taken down', '{}')`);
  });
}

async function refuseMoved(client: pg.ClientBase): Promise<void> {
  const { rowCount } = await client.query(
    `select 1 from migration_control.routing where write_mode = 'new_system' limit 1`,
  );
  if (rowCount !== 0)
    throw new KnownFailure('SwitchRefused', 'Writes have moved to the new system meanwhile: the way back stays.');
}

/** What was left of an anchor that was taken down, however often that failed. Nothing where one stands, or where there is no control schema. */
export async function clearGuards(resources: Pick<Resources, 'postgres' | 'source' | 'mongodb'>): Promise<void> {
  if (!(await hasTable(resources.postgres, 'guards_to_drop'))) return;
  await inTransaction(resources.postgres, 'removing what guarded the reverse replication', async (client) => {
    for (const store of await storesToClear(client)) {
      await dropGuards(store === 'source' ? resources.source.db : resources.mongodb.db);
      await client.query('delete from migration_control.guards_to_drop where store = $1', [store]);
    }
  });
}

async function tablesOf(
  client: pg.ClientBase,
  { mappings }: Pick<Resources, 'mappings'>,
): Promise<{ mapping: Mapping; target: TableTarget }[]> {
  const declared = [...mappings.values()].flatMap((mapping) =>
    mapping.targets
      .filter((target): target is TableTarget => target.store === 'postgres')
      .map((target) => ({ mapping, target })),
  );
  const there = await query<{ name: string }>(
    client,
    'listing our tables',
    `select name from migration_control.created_objects where store = 'postgres' and kind = 'table'`,
  );
  const ours = new Set(there.map((row) => row.name));
  return declared.filter(({ target }) => ours.has(target.name));
}
