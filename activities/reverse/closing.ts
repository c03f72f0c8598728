// Old collections closed to writers past the library, and opened again with the validation they had.
import { KnownFailure } from '../../core/failures.ts';
import {
  closeCollection,
  isClosed,
  keptForm,
  readKept,
  reopenCollection,
  validationOf,
  validationsOf,
  type Validation,
} from '../../stores/mongodb/close.ts';
import { query } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';

export interface Closed {
  readonly closed: readonly string[];
  readonly notClosed: readonly string[];
}

/** What a collection's validation was is kept before it is changed. A server or a user that cannot do this is told of, and writes past the library are noticed by capture. */
export async function close({ postgres, source }: Resources, collections: readonly string[]): Promise<Closed> {
  const before = await validationsOf(source.db, collections);
  const open = [...before].filter(([, validation]) => !isClosed(validation));
  await query(
    postgres,
    'keeping the validation of the old collections',
    `insert into migration_control.closed_collections (collection, options) select * from unnest($1::text[], $2::jsonb[])
     on conflict (collection) do update set options = excluded.options`,
    [open.map(([collection]) => collection), open.map(([, validation]) => JSON.stringify(keptForm(validation)))],
  );
  const refused = new Set<string>();
  await Promise.all(
    open.map(([collection]) =>
      closeCollection(source.db, collection).catch((error: unknown) => {
        if (error instanceof KnownFailure && error.type === 'StoreUnreachable') throw error;
        refused.add(collection);
      }),
    ),
  );
  const there = [...before.keys()];
  return {
    closed: there.filter((collection) => !refused.has(collection)),
    notClosed: there.filter((collection) => refused.has(collection)),
  };
}

/** Closed by a switch that died before it had moved anything: its fence has passed, and the old system's writers must not stay shut out. */
export async function reopenAbandoned(resources: Resources): Promise<void> {
  const rows = await query<{ collection: string }>(
    resources.postgres,
    'looking for collections that were left closed',
    `select cc.collection from migration_control.closed_collections cc join migration_control.collections c on c.source = cc.collection
     join migration_control.routing r on r.collection = c.mapping
     where r.write_mode <> 'new_system' and (r.fenced_until is null or r.fenced_until < clock_timestamp())`,
  );
  if (rows.length > 0)
    await reopen(
      resources,
      rows.map((row) => row.collection),
    );
}

/** Old collections accept writers again, with the validation they had. Safe to repeat. */
export async function reopen({ postgres, source }: Resources, collections: readonly string[]): Promise<void> {
  const rows = await query<{ collection: string; options: string | Validation }>(
    postgres,
    'reading which old collections are closed',
    'select collection, options from migration_control.closed_collections where collection = any($1)',
    [collections],
  );
  await Promise.all(
    rows.map(async ({ collection, options }) => {
      if (isClosed(await validationOf(source.db, collection)))
        await reopenCollection(source.db, collection, readKept(options));
      await query(
        postgres,
        'forgetting closed collections',
        'delete from migration_control.closed_collections where collection = $1',
        [collection],
      );
    }),
  );
}
