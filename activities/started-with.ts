// What a migration was started with: the defaults of everything that is started beside it or after it.
import { claimOf } from '../control/owner.ts';
import type { Settings } from '../core/settings.ts';
import { query } from '../stores/postgres/connection.ts';
import type { Resources } from './resources.ts';

export interface StartedWith {
  /** null: nothing was begun here, or all of it was undone. */
  readonly settings: Settings | null;
  /** Mappings that have been copied, or are being. */
  readonly collections: readonly string[];
}

export async function startedWith({ postgres }: Resources): Promise<StartedWith> {
  if (!(await claimOf(postgres))) return { settings: null, collections: [] };
  const [row] = await query<{ settings: Settings | null; collections: string[] }>(
    postgres,
    'reading what it was started with',
    `select settings, array(select distinct mapping from migration_control.collections order by 1) as collections from migration_control.migration`,
  );
  return row ?? { settings: null, collections: [] };
}
