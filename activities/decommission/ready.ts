// Whether the old system may go: everything was moved, and everything has been brought back.
import { reverseStatus } from '../../control/reverse.ts';
import { KnownFailure } from '../../core/failures.ts';
import { collectionNames } from '../../stores/mongodb/schema.ts';
import { query } from '../../stores/postgres/connection.ts';
import { enrolledIn } from '../outside.ts';
import type { Resources } from '../resources.ts';

const refused = (message: string) => new KnownFailure('ConfigurationInvalid', `${message} Nothing was changed.`);

const behindMs = 5000;

export async function refuseUnready({ postgres }: Resources): Promise<void> {
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

/** Source collections that were migrated and are there under their names. */
export async function oldCollections({ postgres, source }: Resources): Promise<string[]> {
  const there = new Set(await collectionNames(source.db));
  return (await enrolledIn(postgres)).map((one) => one.source).filter((name) => there.has(name));
}
