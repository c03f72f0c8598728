// Where the collections' writes stand, and whether there is still an old system to go back to.
import { KnownFailure } from '../../core/failures.ts';
import { query } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';

export interface WritesStand {
  readonly collections: readonly string[];
  /** Those whose writes the new system has. */
  readonly moved: readonly string[];
}

/** undefined where nothing was ever routed. Throws ConfigurationInvalid after decommission: there is no way back any more. */
export async function writesStand({ postgres }: Resources): Promise<WritesStand | undefined> {
  const [there] = await query<{ there: boolean }>(
    postgres,
    'looking for the routing',
    `select to_regclass('migration_control.closed_collections') is not null as there`,
  );
  if (!there!.there) return undefined;
  const rows = await query<{ collection: string; write_mode: string }>(
    postgres,
    'reading the routing',
    'select collection, write_mode from migration_control.routing order by collection',
  );
  if (rows.length === 0) return undefined;
  const [gone] = await query<{ detail: unknown }>(
    postgres,
    'looking whether the old system was taken out of use',
    `select detail from migration_control.audit_log where action in ('decommissioned', 'decommission begun') order by id limit 1`,
  );
  if (gone)
    throw new KnownFailure(
      'PointOfNoReturn',
      'The old system was taken out of use; there is nothing to go back to. Its last snapshot is named in the audit log (action "decommission begun").',
    );
  return {
    collections: rows.map((row) => row.collection),
    moved: rows.filter((row) => row.write_mode === 'new_system').map((row) => row.collection),
  };
}
