// What PostgreSQL holds of single keys while they are judged: ledger, rows, and what is still to come of them.
import { atOneMoment, query } from '../../stores/postgres/connection.ts';
import { groupBy } from './group.ts';
import { ledgerRows, rowItems, type Ground, type LedgerRow } from './read-back.ts';
import type { Verifier } from './verifier.ts';

/** What stands in PostgreSQL of some ids, at one moment. */
export interface Held {
  readonly ledger: ReadonlyMap<string, readonly LedgerRow[]>;
  readonly rows: ReadonlyMap<string, readonly string[]>;
  /** Documents that are to be read again. */
  readonly waiting: ReadonlySet<string>;
  /** Documents that refer to a row which was not there when they were written; they are read again when it comes. */
  readonly unresolved: ReadonlySet<string>;
}

export async function readHeld(verifier: Verifier, ground: Ground, ids: readonly string[], now: bigint): Promise<Held> {
  const { mapping } = ground;
  const siblings = verifier.grounds.filter((one) => one.mapping === mapping).map((one) => one.collectionId);
  return atOneMoment(verifier.resources.postgres, `looking at ${ground.source} again`, async (client) => {
    const ledger = await ledgerRows(client, siblings, ids, now);
    const rows = await rowItems(client, ground, ids);
    const waiting = await query<{ source_id: string }>(
      client,
      'looking at what waits to be read again',
      `select source_id from migration_control.redo where collection_id = any($2) and source_id = any($1) and reason <> 'lost key'`,
      [ids, siblings],
    );
    const unresolved = await query<{ source_id: string }>(
      client,
      'looking at references that found no row',
      'select distinct source_id from migration_control.unresolved where collection_id = $2 and source_id = any($1)',
      [ids, ground.collectionId],
    );
    const items = new Map<string, string[]>();
    for (const { source_id, item } of rows) items.set(source_id, [...(items.get(source_id) ?? []), item]);
    return {
      ledger: groupBy(ledger, (row) => row.source_id),
      rows: items,
      waiting: new Set(waiting.map((row) => row.source_id)),
      unresolved: new Set(unresolved.map((row) => row.source_id)),
    };
  });
}

/** Of `ids`, those of which the ledger holds another version by now. */
export async function writtenSince(
  { resources }: Verifier,
  ground: Ground,
  held: Held,
  ids: readonly string[],
): Promise<string[]> {
  const rows = await query<{ source_id: string; version: string }>(
    resources.postgres,
    'looking at versions again',
    'select source_id, version from migration_control.ledger where collection_id = $1 and source_id = any($2)',
    [ground.collectionId, ids],
  );
  return rows.filter((row) => row.version !== ownRow(held, ground, row.source_id)?.version).map((row) => row.source_id);
}

export const ownRow = (held: Held, ground: Ground, id: string): LedgerRow | undefined =>
  held.ledger.get(id)?.find((row) => row.collection_id === ground.collectionId);

const isLoaded = (row: LedgerRow | undefined): boolean => row !== undefined && !row.deleted && row.state === 'l';

/** Two source collections of a mapping may hold one id; its rows are the document's that is loaded. */
export function ownedElsewhere(held: Held, ground: Ground, id: string): boolean {
  const rows = held.ledger.get(id) ?? [];
  return (
    !isLoaded(ownRow(held, ground, id)) &&
    rows.some((row) => row.collection_id !== ground.collectionId && isLoaded(row))
  );
}
