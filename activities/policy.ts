// The policy in force: what transforms may know besides the document, the same for every writer, whenever it was started.
import type pg from 'pg';
import { noteAudit } from '../control/audit.ts';
import type { Settings } from '../core/settings.ts';
import { query } from '../stores/postgres/connection.ts';
import type { ChangeSettings } from './apply.ts';

export type Policy = ChangeSettings & Pick<Settings, 'configurationDirectory'>;

interface Row {
  readonly zone: string;
  readonly providers: string[];
  readonly configuration_directory: string;
}

/** undefined until change capture is opened. */
export async function readPolicy(on: pg.Pool | pg.ClientBase): Promise<Policy | undefined> {
  const [row] = await query<Row>(
    on,
    'reading the policy',
    'select zone, providers, configuration_directory from migration_control.policy',
  );
  return row && { zone: row.zone, providers: row.providers, configurationDirectory: row.configuration_directory };
}

/** `settings` with zone and providers as they are in force now. */
export async function inForce<T extends ChangeSettings>(on: pg.Pool | pg.ClientBase, settings: T): Promise<T> {
  const policy = await readPolicy(on);
  return policy ? { ...settings, zone: policy.zone, providers: policy.providers } : settings;
}

/** The first word stands until `changePolicy`, or until the data phase is undone. */
export async function keepPolicy(on: pg.Pool | pg.ClientBase, policy: Policy): Promise<void> {
  await query(
    on,
    'keeping the policy',
    'insert into migration_control.policy (zone, providers, configuration_directory) values ($1, $2, $3) on conflict do nothing',
    [policy.zone, policy.providers, policy.configurationDirectory],
  );
}

/** Lanes, second writes and repairs take it up within seconds. Audited where it differs from what was. */
export async function changePolicy(client: pg.ClientBase, { zone, providers }: ChangeSettings): Promise<void> {
  const before = await readPolicy(client);
  const same = before?.zone === zone && JSON.stringify(before.providers) === JSON.stringify(providers);
  if (!before || same) return;
  await query(
    client,
    'changing the policy',
    'update migration_control.policy set zone = $1, providers = $2, changed_at = clock_timestamp()',
    [zone, providers],
  );
  const from = { zone: before.zone, providers: before.providers };
  await noteAudit(client, 'policy changed', { from, to: { zone, providers } });
}
