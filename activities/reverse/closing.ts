// Old collections closed to writers past the library, and opened again with the validation they had. A closing has a token: only who knows it opens.
import type pg from 'pg';
import { holdRoutes, routeRows, takeRoutes } from '../../control/routing.ts';
import { KnownFailure } from '../../core/failures.ts';
import { mayClose, mayReopen } from '../../core/routes.ts';
import {
  closeCollection,
  closingOf,
  isClosed,
  isHeldName,
  keptForm,
  readKept,
  reopenCollection,
  validationsOf,
  type Validation,
} from '../../stores/mongodb/close.ts';
import { inTransaction, query } from '../../stores/postgres/connection.ts';
import type { Resources } from '../resources.ts';
import { lowerUnderLock, type Fence } from './fence.ts';

export interface Closed {
  readonly closed: readonly string[];
  readonly notClosed: readonly string[];
}

/**
 * What a collection's validation was is kept before it is changed. One that somebody else has closed is closed anew, under this token. A server or a
 * user that cannot do this is told of, and writes past the library are noticed by capture.
 */
export async function close(
  { postgres, source }: Resources,
  collections: readonly string[],
  token: string,
): Promise<Closed> {
  const before = await validationsOf(source.db, collections);
  const kept = await keptOf(postgres, [...before.keys()]);
  // The name of a collection taken out of use is closed for good.
  const closable = [...before].filter(([, validation]) => !isHeldName(validation));
  const closings = closable.map(([collection, validation]) => {
    const held = closingOf(validation);
    const own = isClosed(validation) ? (held?.before ?? kept.get(collection)?.before ?? {}) : validation;
    return { collection, before: own, isOurs: held?.token === token && kept.get(collection)?.token === token };
  });
  const due = closings.filter((one) => !one.isOurs);
  await query(
    postgres,
    'keeping the validation of the old collections',
    `insert into migration_control.closed_collections (collection, options, token)
     select c, o, $3 from unnest($1::text[], $2::jsonb[]) k(c, o)
     on conflict (collection) do update set options = excluded.options, token = excluded.token, closed_at = clock_timestamp()`,
    [due.map((one) => one.collection), due.map((one) => JSON.stringify(keptForm(one.before))), token],
  );
  const refused = new Set<string>();
  await Promise.all(
    due.map((one) =>
      closeCollection(source.db, one.collection, { token, before: one.before }).catch((error: unknown) => {
        if (error instanceof KnownFailure && error.type === 'StoreUnreachable') throw error;
        refused.add(one.collection);
      }),
    ),
  );
  const there = [...before.keys()];
  return {
    closed: there.filter((collection) => !refused.has(collection)),
    notClosed: there.filter((collection) => refused.has(collection)),
  };
}

/** Only while its own fence stands, which nobody ends meanwhile. Throws SwitchRefused. */
export async function closeBehind(
  resources: Resources,
  fence: Fence,
  collections: readonly string[],
  token: string,
): Promise<Closed> {
  return inTransaction(resources.postgres, 'closing the old collections', async (client) => {
    await client.query(holdRoutes);
    const routes = await routeRows(client, [...fence.epochs.keys()]);
    const isOurs = [...fence.epochs].every(([collection, epoch]) => mayClose(routes.get(collection)!, epoch));
    if (!isOurs || performance.now() > fence.until)
      throw new KnownFailure(
        'SwitchRefused',
        'The fence passed before the old collections were closed. Nothing was moved.',
      );
    return close(resources, collections, token);
  });
}

/** Of those that this token has closed, the ones that somebody has opened since. */
export async function openedMeanwhile(
  { source }: Pick<Resources, 'source'>,
  closed: readonly string[],
  token: string,
): Promise<string[]> {
  const now = await validationsOf(source.db, closed);
  return closed.filter((collection) => closingOf(now.get(collection))?.token !== token);
}

interface Kept {
  readonly token: string;
  readonly before: Validation;
}

async function keptOf(on: pg.Pool | pg.ClientBase, collections: readonly string[]): Promise<ReadonlyMap<string, Kept>> {
  const rows = await query<{ collection: string; options: string; token: string }>(
    on,
    'reading which old collections are closed',
    'select collection, options, token from migration_control.closed_collections where collection = any($1)',
    [collections],
  );
  return new Map(rows.map(({ collection, options, token }) => [collection, { token, before: readKept(options) }]));
}

/**
 * Closed by a switch that died before it had moved anything: its fence has passed, and the old system's writers must not stay shut out. The other way
 * round, a collection whose writes have moved and that is open, though a switch had closed it, is closed again.
 */
export async function settleClosings(resources: Resources): Promise<void> {
  const rows = await query<{ collection: string; token: string; moved: boolean }>(
    resources.postgres,
    'looking for collections that were left closed',
    `select cc.collection, cc.token, r.write_mode = 'new_system' as moved
     from migration_control.closed_collections cc join migration_control.collections c on c.source = cc.collection
     join migration_control.routing r on r.collection = c.mapping
     where r.write_mode = 'new_system' or r.fenced_until is null or r.fenced_until < clock_timestamp()`,
  );
  const abandoned = rows.filter((row) => !row.moved).map((row) => row.collection);
  // Whoever waits for the routes makes all writers behind it wait: one that hangs is met again at the next look.
  if (abandoned.length > 0) await reopen(resources, abandoned, { patienceMs: 200 });
  const moved = rows.filter((row) => row.moved);
  const now = await validationsOf(
    resources.source.db,
    moved.map((row) => row.collection),
  );
  const open = moved.filter(({ collection }) => {
    const validation = now.get(collection);
    return now.has(collection) && !isClosed(validation) && !isHeldName(validation);
  });
  for (const { collection, token } of open) await closeAgain(resources, collection, token);
}

async function closeAgain(resources: Resources, collection: string, token: string): Promise<void> {
  await inTransaction(resources.postgres, 'closing an old collection again', async (client) => {
    // Whoever moves the writes back opens it under the same lock.
    await client.query(holdRoutes);
    const { rowCount } = await client.query(
      `select 1 from migration_control.closed_collections cc join migration_control.collections c on c.source = cc.collection
       join migration_control.routing r on r.collection = c.mapping where cc.collection = $1 and cc.token = $2 and r.write_mode = 'new_system'`,
      [collection, token],
    );
    if (rowCount === 0) return;
    const { closed } = await close(resources, [collection], token);
    if (closed.length > 0)
      await client.query(
        `insert into migration_control.audit_log (action, detail) values ('old collection closed again', $1)`,
        [JSON.stringify({ collection })],
      );
  });
}

export interface Reopening {
  /** Of whoever asks: its fence does not keep it from opening, and is lowered with it. */
  readonly fence?: Fence;
  /** How long the routes' lock may be waited for. Default 3000. */
  readonly patienceMs?: number;
}

/**
 * Old collections accept writers again, with the validation they had: those whose writes have not moved, and that nobody is about to move. Looked at
 * under the routes' lock, which is held until they are open. Safe to repeat.
 */
export async function reopen(
  resources: Resources,
  collections: readonly string[],
  { fence, patienceMs = 3000 }: Reopening = {},
): Promise<void> {
  await inTransaction(resources.postgres, 'opening old collections', async (client) => {
    await takeRoutes(client, { patienceMs, as: 'StoreBusy' });
    const lockedAt = performance.now();
    const { rows } = await client.query<{ source: string; mapping: string | null }>(
      'select source, c.mapping from unnest($1::text[]) source left join migration_control.collections c using (source)',
      [collections],
    );
    const routes = await routeRows(
      client,
      rows.flatMap((row) => row.mapping ?? []),
    );
    const free = rows.filter(({ mapping }) => {
      const route = mapping === null ? undefined : routes.get(mapping);
      return !route || mayReopen(route, fence?.epochs.get(mapping!));
    });
    await reopenUnderLock(
      client,
      resources,
      free.map((row) => row.source),
      lockedAt,
    );
    if (fence) await lowerUnderLock(client, fence);
  });
}

/** The lock is the server's: it ends the transaction of a process that hangs for so long that it may be open to others, and so much earlier it is given up here, ms. */
const lockedMs = 8000;

/** In a transaction that has the routes' lock since `lockedAt` (`performance.now()`). A closing that the control schema does not know, as that of a decommission, is left alone. */
export async function reopenUnderLock(
  client: pg.ClientBase,
  { source }: Pick<Resources, 'source'>,
  collections: readonly string[],
  lockedAt: number,
): Promise<void> {
  const kept = await keptOf(client, collections);
  const now = await validationsOf(source.db, [...kept.keys()]);
  // Once more, after everything else: the server ends the transaction of a process that hung, and others have gone on.
  const still = await keptOf(client, collections);
  await Promise.all(
    [...kept].map(async ([collection, { token, before }]) => {
      const validation = now.get(collection);
      if (!isClosed(validation)) return;
      if (still.get(collection)?.token !== token || performance.now() - lockedAt > lockedMs)
        throw new KnownFailure('StoreBusy', `Opening ${collection} took too long; it is tried again.`);
      await reopenCollection(source.db, collection, closingOf(validation)?.before ?? before);
    }),
  );
  await client.query(
    `delete from migration_control.closed_collections where (collection, token) in (select * from unnest($1::text[], $2::uuid[]))`,
    [[...kept.keys()], [...kept.values()].map((one) => one.token)],
  );
}

/** From memory, for who has closed them, has moved nothing, and cannot ask PostgreSQL: the closings of others stay. */
export async function reopenOwn(
  { source }: Pick<Resources, 'source'>,
  collections: readonly string[],
  token: string,
): Promise<void> {
  const now = await validationsOf(source.db, collections);
  await Promise.all(
    [...now].map(async ([collection, validation]) => {
      const held = closingOf(validation);
      if (held?.token === token) await reopenCollection(source.db, collection, held.before);
    }),
  );
}
