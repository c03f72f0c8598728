// Configuration files are rendered whole from their table, later and together: whoever changes the table says so in the same transaction.
import type pg from 'pg';
import { markStale } from '../control/stale-files.ts';
import type { Resources } from './resources.ts';

export async function markFiles(
  client: pg.ClientBase,
  resources: Pick<Resources, 'mappings'>,
  touched: ReadonlySet<string>,
): Promise<void> {
  const stale = [...touched].filter((collection) =>
    resources.mappings.get(collection)?.targets.some((target) => target.store === 'files'),
  );
  await markStale(client, stale);
}
