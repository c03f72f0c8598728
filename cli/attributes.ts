// The search attributes that a command gives a workflow it starts: whoever searches for a migration finds all of it.
import { registerAttributes } from '../workers/temporal.ts';
import { migrationName } from '../workflows/lib/attributes.ts';
import type { TemporalSession } from './connect.ts';

/** Nothing where the server does not know them, and they cannot be registered: setting one would fail. */
export async function namedAfter({ connection, settings }: TemporalSession, migration: string) {
  if (await registerAttributes(connection, settings)) return {};
  return { typedSearchAttributes: [{ key: migrationName, value: migration }] };
}
