// The side of a conflict that was not kept, encrypted for its place, and read again by whoever has to look at it.
import type pg from 'pg';
import { query } from '../stores/postgres/connection.ts';
import { ownVault } from './vault.ts';

export interface LostSide {
  readonly source: string;
  readonly sourceId: string;
  readonly kept: 'new' | 'old';
  readonly at: Date;
  /** BSON; null: it had been deleted there. */
  readonly document: Buffer | null;
}

const place = (source: string, id: string): string => `conflict ${source} ${id}`;

export const sealLost = (source: string, id: string, document: Uint8Array): Buffer =>
  ownVault().sealBytes(place(source, id), document);

/** Of one document, newest first. `collection`: the mapping's name, or the source collection's. Throws VaultError. */
export async function lostSidesOf(pool: pg.Pool, collection: string, ids: readonly string[]): Promise<LostSide[]> {
  const rows = await query<{ [Key in keyof LostSide]: LostSide[Key] }>(
    pool,
    'reading conflicts',
    `select source_collection as source, source_id as "sourceId", kept, at, document from migration_control.reverse_conflicts
     where (collection = $1 or source_collection = $1) and source_id = any($2) order by id desc`,
    [collection, ids],
  );
  return rows.map((row) => ({
    ...row,
    document: row.document && ownVault().openBytes(place(row.source, row.sourceId), row.document),
  }));
}
