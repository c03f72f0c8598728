// Whether the old system may go: everything was moved, and everything has been brought back.
import type pg from 'pg';
import { reverseStatus } from '../../control/reverse.ts';
import { KnownFailure } from '../../core/failures.ts';
import { isHeldName, validationsOf } from '../../stores/mongodb/close.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { query } from '../../stores/postgres/connection.ts';
import { enrolledIn } from '../outside.ts';
import type { Resources } from '../resources.ts';

type On = pg.Pool | pg.ClientBase;

const refused = (message: string) => new KnownFailure('ConfigurationInvalid', `${message} Nothing was changed.`);

const behindMs = 5000;

export async function refuseUnready(resources: Resources): Promise<void> {
  const { postgres } = resources;
  await refuseTakenNames(resources);
  const rows = await query<{ collection: string }>(
    postgres,
    'reading the routing',
    `select collection from migration_control.routing where write_mode <> 'new_system' or percentage < 100`,
  );
  if (rows.length > 0)
    throw refused(
      `The old system is still used: reads or writes of ${rows.map((row) => row.collection).join(', ')} go there.`,
    );
  const status = await reverseStatus(postgres);
  // While the application writes, something always is on its way.
  if (status && status.lagMs > behindMs)
    throw new KnownFailure('StoreBusy', `${status.waiting} changes are still on their way to the old system.`);
  if (status && status.lateWrites > 0)
    throw refused(
      `${status.lateWrites} documents of the old system were written after its writes had moved: see \`causeway reverse status\`, and settle them first.`,
    );
}

/** Nothing that the application calls so is taken for ours. */
async function refuseTakenNames(resources: Resources): Promise<void> {
  if (await begun(resources.postgres, 'decommission begun')) return;
  const there = new Set(await collectionNames(resources.source.db));
  const taken = (await oldCollections(resources)).map(retiredName).filter((name) => there.has(name));
  if (taken.length > 0)
    throw refused(
      `${taken.join(', ')} exists in the old MongoDB already, and the old collections would be renamed so. Rename or drop it.`,
    );
}

const begun = async (pool: On, action: string): Promise<boolean> =>
  (
    await query(pool, 'reading the audit log', 'select 1 from migration_control.audit_log where action = $1 limit 1', [
      action,
    ])
  ).length > 0;

/** Whether a decommission has come to its end before. */
export const wasRetired = (pool: On): Promise<boolean> => begun(pool, 'decommissioned');

export const retiredName = (collection: string): string => `${collection}_retired`;

/** Source collections that were migrated and are there under their names: not the closed ones that only hold the name of a retired one. */
export async function oldCollections({ postgres, source }: Resources): Promise<string[]> {
  const migrated = (await enrolledIn(postgres)).map((one) => one.source);
  const there = await validationsOf(source.db, migrated);
  return migrated.filter((name) => there.has(name) && !isHeldName(there.get(name)));
}
